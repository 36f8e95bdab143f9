//! Which records a name has.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, Name, RecordType};
use tombolo_dns_zone::{MAX_RECORDS, Question};

use crate::fixture::{
    DENIAL, ask, assert_answer, assert_denied, endpoint, example, headless, snapshot,
};

#[test]
fn addresses_of_a_cluster_set_ip() {
    let web = "web.shop.svc.clusterset.local.";

    assert_answer(
        web,
        RecordType::A,
        &[&format!("answer {web} 5 IN A 10.96.7.1")],
    );
    assert_answer(
        web,
        RecordType::AAAA,
        &[&format!("answer {web} 5 IN AAAA fd00::7:1")],
    );
}

#[test]
fn the_case_of_the_question_is_repeated() {
    let name = "wEB.Shop.SVC.clusterSET.local.";

    assert_answer(
        name,
        RecordType::A,
        &[&format!("answer {name} 5 IN A 10.96.7.1")],
    );
}

#[test]
fn srv_of_a_port_leads_to_the_service() {
    let name = "_http._tcp.web.shop.svc.clusterset.local.";
    assert_answer(
        name,
        RecordType::SRV,
        &[
            &format!("answer {name} 5 IN SRV 0 100 80 web.shop.svc.clusterset.local."),
            "additional web.shop.svc.clusterset.local. 5 IN A 10.96.7.1",
            "additional web.shop.svc.clusterset.local. 5 IN AAAA fd00::7:1",
        ],
    );
}

/// The conformance suite of the MCS-API asks so, with TCP and UDP on one port number.
#[test]
fn srv_of_the_service_has_each_port_number_once() {
    let name = "web.shop.svc.clusterset.local.";
    assert_answer(
        name,
        RecordType::SRV,
        &[
            &format!("answer {name} 5 IN SRV 0 100 80 {name}"),
            &format!("answer {name} 5 IN SRV 0 100 81 {name}"),
            &format!("additional {name} 5 IN A 10.96.7.1"),
            &format!("additional {name} 5 IN AAAA fd00::7:1"),
        ],
    );
}

#[test]
fn a_port_without_name_has_no_name_of_its_own() {
    let name = "nameless.shop.svc.clusterset.local.";

    assert_eq!(ask(&example(), name, RecordType::SRV).answers.len(), 1);
    assert_denied(
        ResponseCode::NXDomain,
        &format!("_tcp.{name}"),
        RecordType::SRV,
    );
    assert_denied(
        ResponseCode::NXDomain,
        &format!("_._tcp.{name}"),
        RecordType::SRV,
    );
}

#[test]
fn addresses_of_a_headless_service_are_those_of_its_ready_endpoints() {
    let db = "db.shop.svc.clusterset.local.";

    assert_answer(
        db,
        RecordType::A,
        &[
            &format!("answer {db} 5 IN A 10.1.0.1"),
            &format!("answer {db} 5 IN A 10.2.0.1"),
            &format!("answer {db} 5 IN A 10.3.0.1"),
        ],
    );
    assert_answer(
        db,
        RecordType::AAAA,
        &[&format!("answer {db} 5 IN AAAA fd00::1")],
    );
}

#[test]
fn hosts_of_a_headless_service() {
    for (host, record_type, address) in [
        ("db-0.east", RecordType::A, "10.1.0.1"),
        ("db-0.east", RecordType::AAAA, "fd00::1"),
        ("db-0.west", RecordType::A, "10.2.0.1"),
        ("10-3-0-1.west.eu", RecordType::A, "10.3.0.1"),
    ] {
        let name = format!("{host}.db.shop.svc.clusterset.local.");
        assert_answer(
            &name,
            record_type,
            &[&format!("answer {name} 5 IN {record_type} {address}")],
        );
    }
}

#[test]
fn srv_of_a_headless_service_leads_to_each_host_once() {
    let db = "db.shop.svc.clusterset.local.";
    for name in [
        db.to_owned(),
        format!("_sql._tcp.{db}"),
        format!("_sql-udp._udp.{db}"),
    ] {
        assert_answer(
            &name,
            RecordType::SRV,
            &[
                &format!("answer {name} 5 IN SRV 0 100 5432 db-0.east.{db}"),
                &format!("answer {name} 5 IN SRV 0 100 5432 db-0.west.{db}"),
                &format!("answer {name} 5 IN SRV 0 100 5432 10-3-0-1.west.eu.{db}"),
                &format!("additional db-0.east.{db} 5 IN A 10.1.0.1"),
                &format!("additional db-0.east.{db} 5 IN AAAA fd00::1"),
                &format!("additional db-0.west.{db} 5 IN A 10.2.0.1"),
                &format!("additional 10-3-0-1.west.eu.{db} 5 IN A 10.3.0.1"),
            ],
        );
    }
}

#[test]
fn the_schema_version_has_the_ttl_of_the_specification() {
    let name = "dns-version.clusterset.local.";

    assert_answer(
        name,
        RecordType::TXT,
        &[&format!("answer {name} 28800 IN TXT 1.0.0")],
    );
    assert_denied(ResponseCode::NoError, name, RecordType::A);
}

#[test]
fn the_apex_has_soa_and_ns() {
    let name = "clusterset.local.";
    assert_answer(
        name,
        RecordType::SOA,
        &[&DENIAL
            .replace("authority", "answer")
            .replace(" 0 IN", " 5 IN")],
    );
    assert_answer(
        name,
        RecordType::NS,
        &[
            "answer clusterset.local. 5 IN NS ns.dns.clusterset.local.",
            "additional ns.dns.clusterset.local. 5 IN A 10.96.0.53",
        ],
    );
    assert_answer(
        "ns.dns.clusterset.local.",
        RecordType::A,
        &["answer ns.dns.clusterset.local. 5 IN A 10.96.0.53"],
    );
}

#[test]
fn any_is_answered_with_one_small_record() {
    let name = "web.shop.svc.clusterset.local.";

    assert_answer(
        name,
        RecordType::ANY,
        &[&format!("answer {name} 5 IN HINFO RFC8482 ")],
    );
}

#[test]
fn each_record_comes_first_equally_often() {
    let snapshot = example();
    let name = Name::from_ascii("db.shop.svc.clusterset.local.").unwrap();
    for record_type in [RecordType::A, RecordType::SRV] {
        let question = Question {
            name: &name,
            record_type,
            class: DNSClass::IN,
        };
        let mut firsts: Vec<String> = (0..6)
            .map(|rotation| {
                snapshot.answer(&question, rotation).answers[0]
                    .data
                    .to_string()
            })
            .collect();
        firsts.sort();

        assert_eq!(firsts[0], firsts[1]);
        assert_eq!(firsts[2], firsts[3]);
        assert_eq!(firsts[4], firsts[5]);
        firsts.dedup();
        assert_eq!(firsts.len(), 3);
    }
}

#[test]
fn a_very_large_headless_service_is_answered_with_a_part_of_it() {
    let address = |n: usize| format!("10.9.{}.{}", n / 256, n % 256);
    let endpoints = (0..2 * MAX_RECORDS).map(|n| endpoint("east", "", &[&address(n)]));
    let snapshot = snapshot(vec![headless("shop", "big", endpoints.collect())]);
    let name = "big.shop.svc.clusterset.local.";

    assert_eq!(
        ask(&snapshot, name, RecordType::A).answers.len(),
        MAX_RECORDS
    );
    let srv = ask(&snapshot, name, RecordType::SRV);
    assert_eq!(
        (srv.answers.len(), srv.additionals.len()),
        (MAX_RECORDS, MAX_RECORDS)
    );
}

#[test]
fn hosts_whose_names_are_too_long_for_dns_keep_their_addresses() {
    let cluster = vec!["x".repeat(62); 4].join(".");
    let far = endpoint(&cluster, "db-0", &["10.5.0.1"]);
    let near = endpoint("east", "db-0", &["10.5.0.2"]);
    let snapshot = snapshot(vec![headless("shop", "far", vec![far, near])]);
    let name = "far.shop.svc.clusterset.local.";

    assert_eq!(ask(&snapshot, name, RecordType::A).answers.len(), 2);
    assert_eq!(ask(&snapshot, name, RecordType::SRV).answers.len(), 1);
}
