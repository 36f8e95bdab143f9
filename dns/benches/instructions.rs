//! Instructions from the octets of a question to those of its answer: `bench/instructions.sh`.
//!
//! Each question has been asked once before what is counted, so that what is made at the first one
//! (metrics, the place of a thread) is there.
//!
//! What does not exist is asked for among many imports only: among a few, chance has it whether its
//! part of the snapshot is empty, which costs less.

#![allow(
    missing_docs,
    unused_qualifications,
    reason = "of what gungraun's macros make"
)]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::FutureExt;
use gungraun::prelude::*;
use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RecordType};
use hickory_server::net::xfer::Protocol;
use hickory_server::server::Request;
use prometheus_client::registry::Registry;
use tombolo_dns::{ChainHandler, DnsMetrics, FastPath, Handler, Published, SlowPath, Verdict};
use tombolo_dns_corefile::parse;
use tombolo_dns_zone::{Import, ImportKind, Port, Service, Snapshot, Zone};

const A: RecordType = RecordType::A;
const SRV: RecordType = RecordType::SRV;

const SERVICE: &str = "service-7.demo.svc.clusterset.local.";
const PORT: &str = "_http._tcp.service-7.demo.svc.clusterset.local.";
const NOBODY: &str = "nobody.demo.svc.clusterset.local.";
const ELSEWHERE: &str = "service-7.demo.example.com.";

const USUAL: &str = "errors\n prometheus\n loadbalance\n multicluster clusterset.local";
const CACHED: &str = "cache 30\n multicluster clusterset.local";
const REWRITTEN: &str = "rewrite name suffix .example.com. .svc.clusterset.local. answer auto\n \
                         multicluster clusterset.local";

/// A question, and room for its answer, as a thread that answers has it.
struct Asked<H> {
    handler: H,
    question: Vec<u8>,
    answer: Vec<u8>,
}

// === impl Asked ===

impl<H: FastPath> Asked<H> {
    fn at_once(handler: H, question: Vec<u8>) -> Self {
        let mut asked = Self {
            handler,
            question,
            answer: Vec::with_capacity(1_232),
        };
        assert_eq!(asked.answer(), Verdict::Answered);
        asked
    }

    fn answer(&mut self) -> Verdict {
        let Self {
            handler,
            question,
            answer,
        } = self;
        answer.clear();
        handler.answer(question, client(), answer)
    }
}

impl<H: FastPath + SlowPath> Asked<H> {
    fn handed_on(handler: H, question: Vec<u8>) -> Self {
        let mut asked = Self {
            handler,
            question,
            answer: Vec::with_capacity(1_232),
        };
        assert_eq!(asked.answer(), Verdict::HandOn);
        assert!(asked.answer_as_request().is_some());
        asked
    }

    /// As what the fast path has handed on; nobody else is asked, so there is nothing to wait for.
    fn answer_as_request(&self) -> Option<Vec<u8>> {
        let question = self.question.clone();
        let request = Request::from_bytes(question, client(), Protocol::Udp).ok()?;
        self.handler.respond(&request).now_or_never()?
    }
}

fn client() -> SocketAddr {
    (Ipv4Addr::new(10, 244, 1, 17), 41_234).into()
}

fn without_corefile(imports: u32, name: &str, record_type: RecordType) -> Asked<Handler> {
    let handler = Handler::new(published(imports), metrics());
    Asked::at_once(handler, question(name, record_type, Some(&Edns::new())))
}

fn without_edns(imports: u32, name: &str, record_type: RecordType) -> Asked<Handler> {
    let handler = Handler::new(published(imports), metrics());
    Asked::at_once(handler, question(name, record_type, None))
}

fn with_cookie(imports: u32, name: &str, record_type: RecordType) -> Asked<Handler> {
    let mut edns = Edns::new();
    edns.options_mut()
        .insert(EdnsOption::Unknown(10, vec![1, 2, 3, 4, 5, 6, 7, 8]));
    let handler = Handler::new(published(imports), metrics());
    Asked::at_once(handler, question(name, record_type, Some(&edns)))
}

fn in_block(imports: u32, name: &str, record_type: RecordType) -> Asked<ChainHandler> {
    let edns = Edns::new();
    Asked::at_once(
        block(USUAL, imports),
        question(name, record_type, Some(&edns)),
    )
}

fn through(directives: &str, name: &str) -> Asked<ChainHandler> {
    let edns = Edns::new();
    Asked::handed_on(block(directives, 10), question(name, A, Some(&edns)))
}

/// The server block of `.` with these `directives`.
fn block(directives: &str, imports: u32) -> ChainHandler {
    let corefile = format!(". {{\n {directives}\n}}\n");
    let config = parse("Corefile", &corefile, &()).expect("a Corefile");
    ChainHandler::of_one_place(&config, published(imports), metrics()).expect("a handler")
}

fn metrics() -> DnsMetrics {
    DnsMetrics::register(&mut Registry::default())
}

fn published(imports: u32) -> Published {
    let zone = Zone::new("clusterset.local", 5, 5).expect("a zone's name");
    let services = (0..imports).map(|number| Arc::new(service(number)));
    Arc::new(ArcSwap::from_pointee(Snapshot::new(
        Arc::new(zone),
        1,
        services,
    )))
}

fn service(number: u32) -> Service {
    let import = Import {
        namespace: "demo".to_owned(),
        name: format!("service-{number}"),
        kind: ImportKind::ClusterSetIp {
            addresses: vec![Ipv4Addr::from_bits(0x0a60_0000 + number).into()],
            ports: vec![Port {
                name: Some("http".to_owned()),
                protocol: "TCP".to_owned(),
                number: 80,
            }],
        },
    };
    Service::new(import).expect("labels")
}

fn question(name: &str, record_type: RecordType, edns: Option<&Edns>) -> Vec<u8> {
    let name = Name::from_ascii(name).expect("a name");
    let mut message = Message::query();
    message.add_query(Query::query(name, record_type));
    if let Some(edns) = edns {
        message.set_edns(edns.clone());
    }
    message.to_vec().expect("a message")
}

#[library_benchmark(setup = without_corefile)]
#[bench::a_of_10(10, SERVICE, A)]
#[bench::a_of_100000(100_000, SERVICE, A)]
#[bench::srv_of_10(10, PORT, SRV)]
#[bench::nxdomain_of_100000(100_000, NOBODY, A)]
#[bench::a_without_edns(args = (10, SERVICE, A), setup = without_edns)]
#[bench::a_with_cookie(args = (10, SERVICE, A), setup = with_cookie)]
fn answer(mut asked: Asked<Handler>) -> (Asked<Handler>, Verdict) {
    let verdict = black_box(&mut asked).answer();
    (asked, verdict)
}

#[library_benchmark(setup = in_block)]
#[bench::a_of_10(10, SERVICE, A)]
#[bench::a_of_100000(100_000, SERVICE, A)]
#[bench::srv_of_10(10, PORT, SRV)]
#[bench::nxdomain_of_100000(100_000, NOBODY, A)]
fn answer_in_block(mut asked: Asked<ChainHandler>) -> (Asked<ChainHandler>, Verdict) {
    let verdict = black_box(&mut asked).answer();
    (asked, verdict)
}

#[library_benchmark(setup = through)]
#[bench::cache(CACHED, SERVICE)]
#[bench::rewrite(REWRITTEN, ELSEWHERE)]
fn answer_through(asked: Asked<ChainHandler>) -> (Asked<ChainHandler>, Option<Vec<u8>>) {
    let answer = black_box(&asked).answer_as_request();
    (asked, answer)
}

library_benchmark_group!(
    name = questions,
    benchmarks = [answer, answer_in_block, answer_through]
);

main!(library_benchmark_groups = [questions]);
