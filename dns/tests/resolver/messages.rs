//! DNS messages as such: sizes, EDNS, what is no question.

use std::sync::Arc;

use hickory_proto::op::{MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};
use tombolo_dns::{EndpointState, SliceState};
use tombolo_runtime::watch::{Index, Key};

use crate::client::{ask_tcp, ask_udp, data, query, receive, udp, with_edns};
use crate::server::{BIG, HOSTS, Server, WEB, poll, port};

#[test]
fn the_case_of_the_question_comes_back() {
    let server = Server::synced();
    let mixed = "wEb.SHop.sVc.cLUSTERset.LoCaL.";

    let (answer, _) = ask_udp(server.address, &query(mixed, RecordType::A));

    assert_eq!(answer.queries[0].name().to_ascii(), mixed);
    assert_eq!(answer.answers[0].name.to_ascii(), mixed);
}

#[test]
fn what_does_not_fit_is_cut_and_comes_whole_over_tcp() {
    let server = Server::synced();
    for (name, record_type) in [(BIG, RecordType::A), (BIG, RecordType::SRV)] {
        for (client_takes, limit) in [
            (None, 512),
            (Some(0), 512),
            (Some(512), 512),
            (Some(1_000), 1_000),
            (Some(65_535), 1_232),
        ] {
            let query = query(name, record_type);
            let query = match client_takes {
                Some(max_payload) => with_edns(query, max_payload),
                None => query,
            };
            let (answer, length) = ask_udp(server.address, &query);

            assert!(answer.metadata.truncation);
            assert!(length <= limit, "{length} octets for {client_takes:?}");
            // Not less than what fits, for clients that know no TCP.
            assert!(length + 150 > limit, "{length} octets for {client_takes:?}");
            assert_eq!(
                answer.edns.is_some(),
                client_takes.is_some(),
                "{client_takes:?}"
            );

            let whole = ask_tcp(server.address, &[query]).remove(0);
            assert!(!whole.metadata.truncation);
            assert_eq!(whole.answers.len(), usize::from(HOSTS));
            assert_eq!(
                whole.edns.is_some(),
                client_takes.is_some(),
                "{client_takes:?}"
            );
        }
    }
}

#[test]
fn additional_records_that_do_not_fit_are_no_truncation() {
    let server = Server::synced();
    let name = format!("{}.{WEB}", "_http._tcp");

    let (answer, _) = ask_udp(server.address, &query(&name, RecordType::SRV));
    assert_eq!((answer.answers.len(), answer.additionals.len()), (1, 2));
    assert!(!answer.metadata.truncation);

    // Many hosts whose SRV records just fit without the addresses that go with them.
    let mut lost_some = false;
    for hosts in 1..30 {
        let slice = SliceState {
            service: "big".into(),
            cluster: "east".into(),
            endpoints: (0..hosts)
                .map(|n| EndpointState {
                    hostname: None,
                    addresses: [[10, 0, 0, n].into()].into(),
                })
                .collect(),
            ports: [port("sql", "TCP", 5432)].into(),
        };
        server
            .index
            .lock()
            .apply(&Key::new("shop", "big-east"), &Arc::new(slice));
        let answer = poll(
            &server,
            &with_edns(query(BIG, RecordType::SRV), 1_232),
            |answer| answer.metadata.truncation || answer.answers.len() == usize::from(hosts),
        );
        lost_some |= !answer.metadata.truncation && answer.additionals.len() < hosts.into();
    }
    assert!(lost_some);
}

#[test]
fn edns_is_answered_with_edns() {
    let server = Server::synced();
    let mut asked = with_edns(query(WEB, RecordType::A), 4_096);
    asked.edns.as_mut().unwrap().set_dnssec_ok(true);

    let (answer, _) = ask_udp(server.address, &asked);
    let edns = answer.edns.unwrap();
    assert_eq!((edns.version(), edns.max_payload()), (0, 1_232));
    assert!(edns.flags().dnssec_ok);

    asked.edns.as_mut().unwrap().set_version(1);
    let (answer, _) = ask_udp(server.address, &asked);
    // hickory reads 16, which is BADVERS here, as the BADSIG of a signed message.
    assert_eq!(
        u16::from(answer.metadata.response_code),
        u16::from(ResponseCode::BADVERS)
    );
    assert_eq!(answer.edns.unwrap().version(), 0);
    assert!(answer.answers.is_empty());
}

#[test]
fn what_is_no_single_question_is_refused_by_its_own_code() {
    let server = Server::synced();
    let mut two = query(WEB, RecordType::A);
    two.add_query(two.queries[0].clone());
    let mut none = query(WEB, RecordType::A);
    none.queries.clear();
    let mut notify = query(WEB, RecordType::A);
    notify.metadata.op_code = OpCode::Notify;
    let mut chaos = query(WEB, RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    let transfer = query("clusterset.local.", RecordType::AXFR);

    for (asked, code) in [
        (two, ResponseCode::FormErr),
        (none, ResponseCode::FormErr),
        (notify, ResponseCode::NotImp),
        (chaos, ResponseCode::Refused),
        (transfer, ResponseCode::Refused),
    ] {
        let (answer, _) = ask_udp(server.address, &asked);
        assert_eq!(answer.metadata.response_code, code);
        assert!(answer.answers.is_empty());
    }
}

#[test]
fn garbage_stops_nothing() {
    let server = Server::synced();
    let socket = udp(server.address);
    let mut response = query(WEB, RecordType::A);
    response.metadata.message_type = MessageType::Response;
    let good = query(WEB, RecordType::A).to_vec().unwrap();

    socket.send(b"").unwrap();
    socket.send(b"short").unwrap();
    socket.send(&response.to_vec().unwrap()).unwrap();
    socket.send(&[0xff; 1_400]).unwrap();
    socket.send(&good[..good.len() - 2]).unwrap();
    socket.send(&good).unwrap();

    // A malformed question may be told so; the good one's answer comes in any case.
    let answer = loop {
        let (answer, _) = receive(&socket);
        if answer.metadata.response_code != ResponseCode::FormErr {
            break answer;
        }
    };
    assert_eq!(data(&answer), ["10.96.0.1"]);
}

#[test]
fn one_tcp_connection_carries_several_questions() {
    let server = Server::synced();
    let questions = [
        (WEB, RecordType::A),
        (WEB, RecordType::AAAA),
        (BIG, RecordType::A),
    ]
    .map(|(name, record_type)| query(name, record_type));

    let answers = ask_tcp(server.address, &questions);

    assert_eq!(data(&answers[0]), ["10.96.0.1"]);
    assert_eq!(data(&answers[1]), ["fd00::1"]);
    assert_eq!(answers[2].answers.len(), usize::from(HOSTS));
}
