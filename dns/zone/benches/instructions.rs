//! Instructions for an answer without the program around it: `bench/instructions.sh`.

#![allow(
    missing_docs,
    unused_qualifications,
    reason = "of what gungraun's macros make"
)]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;

use gungraun::prelude::*;
use hickory_proto::rr::{DNSClass, Name, RecordType};
use tombolo_dns_zone::{
    Answer, Endpoint, Import, ImportKind, Port, Question, Service, Snapshot, Zone,
};

/// So many that no part of the snapshot is empty, which would make a name that does not exist cheaper.
const IMPORTS: u32 = 10_000;

struct Asked {
    snapshot: Snapshot,
    name: Name,
    record_type: RecordType,
}

// === impl Asked ===

impl Asked {
    fn answer(&self) -> Answer {
        let question = Question {
            name: &self.name,
            record_type: self.record_type,
            class: DNSClass::IN,
        };
        self.snapshot.answer(&question, 1)
    }
}

/// A question of `name`, of which the zone has many. It has been asked before: the first answer pays
/// for tidying up what the set-up has freed.
fn asked(name: &str, record_type: RecordType) -> Asked {
    let zone = Zone::new("clusterset.local", 5, 5).expect("a zone's name");
    let services = (0..IMPORTS).map(|number| Arc::new(service(number)));
    let asked = Asked {
        snapshot: Snapshot::new(Arc::new(zone), 1, services),
        name: Name::from_ascii(name).expect("a name"),
        record_type,
    };
    black_box(asked.answer());
    asked
}

/// Every tenth is headless, with three endpoints in each of two clusters.
fn service(number: u32) -> Service {
    let port = Port {
        name: Some("http".to_owned()),
        protocol: "TCP".to_owned(),
        number: 80,
    };
    let address = |offset| Ipv4Addr::from_bits(0x0a60_0000 + number * 8 + offset).into();
    let kind = if number.is_multiple_of(10) {
        let endpoints = (0..6).map(|place| Endpoint {
            cluster: ["north", "south"][place as usize % 2].into(),
            hostname: Some(format!("web-{}", place / 2)),
            addresses: vec![address(place)],
            ports: [port.clone()].into(),
            ready: true,
        });
        ImportKind::Headless {
            endpoints: endpoints.collect(),
        }
    } else {
        ImportKind::ClusterSetIp {
            addresses: vec![address(0)],
            ports: vec![port.clone()],
        }
    };
    let import = Import {
        namespace: format!("team-{}", number % 10),
        name: format!("service-{number}"),
        kind,
    };
    Service::new(import).expect("labels")
}

#[library_benchmark(setup = asked)]
#[bench::a("service-77.team-7.svc.clusterset.local.", RecordType::A)]
#[bench::srv("_http._tcp.service-77.team-7.svc.clusterset.local.", RecordType::SRV)]
#[bench::headless_a("service-70.team-0.svc.clusterset.local.", RecordType::A)]
#[bench::headless_srv("service-70.team-0.svc.clusterset.local.", RecordType::SRV)]
#[bench::ptr("104.2.96.10.in-addr.arpa.", RecordType::PTR)]
#[bench::nxdomain("service-77.team-8.svc.clusterset.local.", RecordType::A)]
fn lookup(asked: Asked) -> (Asked, Answer) {
    let answer = black_box(&asked).answer();
    (asked, answer)
}

library_benchmark_group!(name = answers, benchmarks = [lookup]);

main!(library_benchmark_groups = [answers]);
