//! What is answered, over UDP and TCP.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::op::{MessageType, ResponseCode};
use hickory_proto::rr::RecordType;
use tombolo_dns::{ImportState, SliceState};
use tombolo_runtime::watch::{Index, Key};

use crate::client::{ask_tcp, ask_udp, data, query};
use crate::server::{Server, WEB, poll};

#[test]
fn every_type_is_answered_over_udp_and_tcp() {
    let server = Server::synced();
    for (name, record_type, expected) in [
        (WEB, RecordType::A, "10.96.0.1"),
        (WEB, RecordType::AAAA, "fd00::1"),
        (
            WEB,
            RecordType::SRV,
            "0 100 80 web.shop.svc.clusterset.local.",
        ),
        (
            "_http3._udp.web.shop.svc.clusterset.local.",
            RecordType::SRV,
            "0 100 80 web.shop.svc.clusterset.local.",
        ),
        (
            "big-7.east.big.shop.svc.clusterset.local.",
            RecordType::A,
            "10.0.0.7",
        ),
        ("1.0.96.10.in-addr.arpa.", RecordType::PTR, WEB),
        ("dns-version.clusterset.local.", RecordType::TXT, "1.0.0"),
        (
            "clusterset.local.",
            RecordType::NS,
            "ns.dns.clusterset.local.",
        ),
    ] {
        let query = query(name, record_type);
        let (over_udp, _) = ask_udp(server.address, &query);
        let over_tcp = ask_tcp(server.address, std::slice::from_ref(&query));
        for answer in [&over_udp, &over_tcp[0]] {
            let metadata = answer.metadata;
            assert_eq!(metadata.id, query.metadata.id);
            assert_eq!(metadata.message_type, MessageType::Response);
            assert_eq!(metadata.response_code, ResponseCode::NoError);
            assert!(metadata.authoritative && metadata.recursion_desired);
            assert!(!metadata.recursion_available && !metadata.truncation);
            assert_eq!(answer.queries, query.queries);
            assert_eq!(answer.edns, None);
            assert_eq!(data(answer), [expected], "{name} {record_type}");
        }
    }
}

#[test]
fn a_denial_has_the_soa() {
    let server = Server::synced();
    for (name, code) in [
        ("none.shop.svc.clusterset.local.", ResponseCode::NXDomain),
        (WEB, ResponseCode::NoError),
    ] {
        let (answer, _) = ask_udp(server.address, &query(name, RecordType::TXT));

        assert_eq!(answer.metadata.response_code, code, "{name}");
        assert!(answer.answers.is_empty());
        assert_eq!(answer.authorities[0].record_type(), RecordType::SOA);
    }
    let (answer, _) = ask_udp(server.address, &query("example.com.", RecordType::A));
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
}

#[test]
fn nothing_is_denied_before_the_lists_are_complete() {
    let server = Server::unsynced();
    for name in [WEB, "none.clusterset.local.", "clusterset.local."] {
        let (answer, _) = ask_udp(server.address, &query(name, RecordType::A));
        assert_eq!(
            answer.metadata.response_code,
            ResponseCode::ServFail,
            "{name}"
        );
    }
    assert!(!server.is_ready());

    Index::<ImportState>::reset(&mut *server.index.lock(), &BTreeMap::new());
    Index::<SliceState>::reset(&mut *server.index.lock(), &BTreeMap::new());
    server.wait_until_ready();

    let (answer, _) = ask_udp(server.address, &query(WEB, RecordType::A));
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn a_change_is_answered_soon_after() {
    let server = Server::synced();
    let key = Key::new("shop", "web");
    let moved = ImportState {
        headless: false,
        addresses: ["10.96.0.2".parse().unwrap()].into(),
        ports: [].into(),
    };

    server.index.lock().apply(&key, &Arc::new(moved));
    poll(&server, &query(WEB, RecordType::A), |answer| {
        data(answer) == ["10.96.0.2"]
    });

    Index::<ImportState>::delete(&mut *server.index.lock(), &key);
    poll(&server, &query(WEB, RecordType::A), |answer| {
        answer.metadata.response_code == ResponseCode::NXDomain
    });
}

#[test]
fn questions_are_counted_by_bounded_words() {
    let server = Server::synced();
    ask_udp(server.address, &query(WEB, RecordType::A));
    ask_udp(
        server.address,
        &query("none.clusterset.local.", RecordType::Unknown(4_711)),
    );
    ask_tcp(server.address, &[query(WEB, RecordType::SRV)]);

    let limit = Instant::now() + Duration::from_secs(30);
    for line in [
        r#"dns_requests_total{protocol="udp",type="A",rcode="NOERROR"} 1"#,
        r#"dns_requests_total{protocol="udp",type="other",rcode="NXDOMAIN"} 1"#,
        r#"dns_requests_total{protocol="tcp",type="SRV",rcode="NOERROR"} 1"#,
        "dns_request_duration_seconds_count 3",
        "dns_services 2",
    ] {
        // An answer is counted just after it was sent.
        while !server.metrics().lines().any(|counted| counted == line) {
            assert!(Instant::now() < limit, "{line} in\n{}", server.metrics());
            thread::sleep(Duration::from_millis(1));
        }
    }
}
