//! The multi-cluster DNS specification (KEP-1645, specification.md) and the RFCs below it, question
//! by question.

#![allow(clippy::unwrap_used, reason = "a test's helpers are test code")]

use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, Name, RecordType};
use tombolo_dns_zone::{
    Answer, Endpoint, Import, ImportKind, MAX_RECORDS, Port, Question, Service, Snapshot, Zone,
};

/// The SOA that goes with every denial.
const DENIAL: &str = "authority clusterset.local. 0 IN SOA ns.dns.clusterset.local. \
                      hostmaster.clusterset.local. 7 7200 1800 86400 0";

fn zone() -> Arc<Zone> {
    Arc::new(
        Zone::new("clusterset.local", 5, 0)
            .unwrap()
            .with_nameserver_addresses(vec!["10.96.0.53".parse().unwrap()]),
    )
}

fn port(name: &str, protocol: &str, number: u16) -> Port {
    let name = (!name.is_empty()).then(|| name.to_owned());
    Port {
        name,
        protocol: protocol.to_owned(),
        number,
    }
}

fn cluster_set_ip(namespace: &str, name: &str, addresses: &[&str], ports: Vec<Port>) -> Import {
    let addresses = addresses
        .iter()
        .map(|address| address.parse().unwrap())
        .collect();
    Import {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        kind: ImportKind::ClusterSetIp { addresses, ports },
    }
}

fn headless(namespace: &str, name: &str, endpoints: Vec<Endpoint>) -> Import {
    Import {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        kind: ImportKind::Headless { endpoints },
    }
}

fn endpoint(cluster: &str, hostname: &str, addresses: &[&str]) -> Endpoint {
    Endpoint {
        cluster: cluster.into(),
        hostname: (!hostname.is_empty()).then(|| hostname.to_owned()),
        addresses: addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect(),
        ports: [port("sql", "TCP", 5432), port("sql-udp", "UDP", 5432)].into(),
        ready: true,
    }
}

fn snapshot(imports: Vec<Import>) -> Snapshot {
    let services = imports
        .into_iter()
        .map(|import| Arc::new(Service::new(import).unwrap()));
    Snapshot::new(zone(), 7, services)
}

fn example() -> Snapshot {
    let unready = Endpoint {
        ready: false,
        ..endpoint("east", "late", &["10.1.0.9"])
    };
    snapshot(vec![
        cluster_set_ip(
            "shop",
            "web",
            &["10.96.7.1", "fd00::7:1"],
            vec![
                port("http", "TCP", 80),
                port("http3", "UDP", 80),
                port("admin", "TCP", 81),
            ],
        ),
        cluster_set_ip(
            "shop",
            "nameless",
            &["10.96.7.2"],
            vec![port("", "TCP", 70)],
        ),
        cluster_set_ip("shop", "pending", &[], vec![port("http", "TCP", 80)]),
        headless(
            "shop",
            "db",
            vec![
                endpoint("east", "db-0", &["10.1.0.1"]),
                endpoint("east", "db-0", &["fd00::1"]),
                endpoint("west", "db-0", &["10.2.0.1"]),
                endpoint("west.eu", "", &["10.3.0.1"]),
                unready,
            ],
        ),
        headless(
            "sleeping",
            "db",
            vec![Endpoint {
                ready: false,
                ..endpoint("east", "db-0", &["10.1.0.1"])
            }],
        ),
    ])
}

fn ask(snapshot: &Snapshot, name: &str, record_type: RecordType) -> Answer {
    let name = Name::from_ascii(name).unwrap();
    snapshot.answer(
        &Question {
            name: &name,
            record_type,
            class: DNSClass::IN,
        },
        0,
    )
}

fn show(answer: &Answer) -> Vec<String> {
    let sections = [
        ("answer", &answer.answers),
        ("authority", &answer.authorities),
        ("additional", &answer.additionals),
    ];
    sections
        .iter()
        .flat_map(|(section, records)| {
            records
                .iter()
                .map(move |record| format!("{section} {record}"))
        })
        .collect()
}

fn assert_answer(name: &str, record_type: RecordType, expected: &[&str]) {
    let answer = ask(&example(), name, record_type);
    assert_eq!(answer.code, ResponseCode::NoError, "{name} {record_type}");
    assert!(answer.authoritative, "{name} {record_type}");
    assert_eq!(show(&answer), expected, "{name} {record_type}");
}

fn assert_denied(code: ResponseCode, name: &str, record_type: RecordType) {
    let answer = ask(&example(), name, record_type);
    assert_eq!(answer.code, code, "{name} {record_type}");
    assert!(answer.authoritative, "{name} {record_type}");
    assert_eq!(show(&answer), [DENIAL], "{name} {record_type}");
}

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
fn an_existing_name_without_the_type_has_no_data() {
    for (name, record_type) in [
        ("clusterset.local.", RecordType::A),
        ("clusterset.local.", RecordType::DS),
        ("ns.dns.clusterset.local.", RecordType::AAAA),
        ("nameless.shop.svc.clusterset.local.", RecordType::AAAA),
        ("web.shop.svc.clusterset.local.", RecordType::TXT),
        (
            "web.shop.svc.clusterset.local.",
            RecordType::Unknown(65_400),
        ),
        ("_http._tcp.web.shop.svc.clusterset.local.", RecordType::A),
        ("db-0.west.db.shop.svc.clusterset.local.", RecordType::SRV),
        ("db-0.west.db.shop.svc.clusterset.local.", RecordType::AAAA),
    ] {
        assert_denied(ResponseCode::NoError, name, record_type);
    }
}

#[test]
fn a_name_above_others_exists_without_data() {
    for name in [
        "dns.clusterset.local.",
        "svc.clusterset.local.",
        "shop.svc.clusterset.local.",
        "_tcp.web.shop.svc.clusterset.local.",
        "_udp.db.shop.svc.clusterset.local.",
        "east.db.shop.svc.clusterset.local.",
        "eu.db.shop.svc.clusterset.local.",
        "west.eu.db.shop.svc.clusterset.local.",
    ] {
        for record_type in [RecordType::A, RecordType::SRV, RecordType::ANY] {
            assert_denied(ResponseCode::NoError, name, record_type);
        }
    }
}

#[test]
fn names_that_do_not_exist() {
    for name in [
        "nothing.clusterset.local.",
        "x.dns-version.clusterset.local.",
        "other.svc.clusterset.local.",
        "nothing.shop.svc.clusterset.local.",
        "web.other.svc.clusterset.local.",
        "_https._tcp.web.shop.svc.clusterset.local.",
        "_http._udp.web.shop.svc.clusterset.local.",
        "_sctp.web.shop.svc.clusterset.local.",
        "x._http._tcp.web.shop.svc.clusterset.local.",
        "db-1.east.db.shop.svc.clusterset.local.",
        "late.east.db.shop.svc.clusterset.local.",
        "est.db.shop.svc.clusterset.local.",
        "u.db.shop.svc.clusterset.local.",
        "x.db-0.east.db.shop.svc.clusterset.local.",
        "*.shop.svc.clusterset.local.",
        "a\\.web.shop.svc.clusterset.local.",
    ] {
        for record_type in [RecordType::A, RecordType::SRV, RecordType::ANY] {
            assert_denied(ResponseCode::NXDomain, name, record_type);
        }
    }
}

/// KEP-1645, DNS specification, sections 2.3.4 and 2.4.4.
#[test]
fn no_name_targets_one_cluster() {
    let web = "east.web.shop.svc.clusterset.local.";
    assert_denied(ResponseCode::NXDomain, web, RecordType::A);

    let db = "east.db.shop.svc.clusterset.local.";
    for record_type in [
        RecordType::A,
        RecordType::AAAA,
        RecordType::SRV,
        RecordType::ANY,
    ] {
        assert_eq!(
            ask(&example(), db, record_type).answers,
            [],
            "{record_type}"
        );
    }
}

/// KEP-1645, DNS specification, section 2.4.1.
#[test]
fn an_import_that_leads_nowhere_does_not_exist() {
    for name in [
        "db.sleeping.svc.clusterset.local.",
        "db-0.east.db.sleeping.svc.clusterset.local.",
        "sleeping.svc.clusterset.local.",
        "pending.shop.svc.clusterset.local.",
        "_http._tcp.pending.shop.svc.clusterset.local.",
    ] {
        assert_denied(ResponseCode::NXDomain, name, RecordType::A);
    }
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
fn what_is_not_ours_is_refused() {
    let snapshot = example();
    for name in [".", "local.", "web.shop.svc.cluster.local.", "example.com."] {
        let answer = ask(&snapshot, name, RecordType::A);
        assert_eq!(answer.code, ResponseCode::Refused, "{name}");
        assert!(!answer.authoritative);
        assert_eq!(show(&answer), [] as [&str; 0]);
    }
    let name = Name::from_ascii("web.shop.svc.clusterset.local.").unwrap();
    for class in [
        DNSClass::CH,
        DNSClass::HS,
        DNSClass::ANY,
        DNSClass::Unknown(9),
    ] {
        let question = Question {
            name: &name,
            record_type: RecordType::A,
            class,
        };
        assert_eq!(
            snapshot.answer(&question, 0).code,
            ResponseCode::Refused,
            "{class}"
        );
    }
    for transfer in [RecordType::AXFR, RecordType::IXFR] {
        assert_eq!(
            ask(&snapshot, "clusterset.local.", transfer).code,
            ResponseCode::Refused
        );
    }
}

#[test]
fn an_incomplete_snapshot_denies_nothing() {
    let snapshot = Snapshot::incomplete(zone());

    for name in [
        "clusterset.local.",
        "web.shop.svc.clusterset.local.",
        "x.clusterset.local.",
    ] {
        let answer = ask(&snapshot, name, RecordType::A);
        assert_eq!(answer.code, ResponseCode::ServFail, "{name}");
        assert!(!answer.authoritative);
    }
    assert_eq!(
        ask(&snapshot, "example.com.", RecordType::A).code,
        ResponseCode::Refused
    );
    assert!(!snapshot.is_complete());
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

#[test]
fn imports_without_a_dns_name_are_refused() {
    for (namespace, name, reason) in [
        ("", "web", "InvalidNamespace"),
        ("a.b", "web", "InvalidNamespace"),
        ("shop", "Web", "InvalidName"),
        ("shop", &"x".repeat(64), "InvalidName"),
    ] {
        let import = cluster_set_ip(namespace, name, &["10.96.0.1"], vec![]);
        assert_eq!(
            Service::new(import).unwrap_err().reason(),
            reason,
            "{namespace}/{name}"
        );
    }
}
