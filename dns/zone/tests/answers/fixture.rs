//! A zone with imports of each kind, and how its answers are shown.

use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, Name, RecordType};
use tombolo_dns_zone::{
    Answer, Endpoint, Import, ImportKind, Port, Question, Service, Snapshot, Zone,
};

/// The SOA that goes with every denial.
pub(crate) const DENIAL: &str = "authority clusterset.local. 0 IN SOA ns.dns.clusterset.local. \
                      hostmaster.clusterset.local. 7 7200 1800 86400 0";

pub(crate) fn zone() -> Arc<Zone> {
    Arc::new(
        Zone::new("clusterset.local", 5, 0)
            .unwrap()
            .with_nameserver_addresses(vec!["10.96.0.53".parse().unwrap()]),
    )
}

pub(crate) fn port(name: &str, protocol: &str, number: u16) -> Port {
    let name = (!name.is_empty()).then(|| name.to_owned());
    Port {
        name,
        protocol: protocol.to_owned(),
        number,
    }
}

pub(crate) fn cluster_set_ip(
    namespace: &str,
    name: &str,
    addresses: &[&str],
    ports: Vec<Port>,
) -> Import {
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

pub(crate) fn headless(namespace: &str, name: &str, endpoints: Vec<Endpoint>) -> Import {
    Import {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        kind: ImportKind::Headless { endpoints },
    }
}

pub(crate) fn endpoint(cluster: &str, hostname: &str, addresses: &[&str]) -> Endpoint {
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

pub(crate) fn snapshot(imports: Vec<Import>) -> Snapshot {
    let services = imports
        .into_iter()
        .map(|import| Arc::new(Service::new(import).unwrap()));
    Snapshot::new(zone(), 7, services)
}

pub(crate) fn example() -> Snapshot {
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

pub(crate) fn ask(snapshot: &Snapshot, name: &str, record_type: RecordType) -> Answer {
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

pub(crate) fn show(answer: &Answer) -> Vec<String> {
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

pub(crate) fn assert_answer(name: &str, record_type: RecordType, expected: &[&str]) {
    let answer = ask(&example(), name, record_type);
    assert_eq!(answer.code, ResponseCode::NoError, "{name} {record_type}");
    assert!(answer.authoritative, "{name} {record_type}");
    assert_eq!(show(&answer), expected, "{name} {record_type}");
}

pub(crate) fn assert_denied(code: ResponseCode, name: &str, record_type: RecordType) {
    let answer = ask(&example(), name, record_type);
    assert_eq!(answer.code, code, "{name} {record_type}");
    assert!(answer.authoritative, "{name} {record_type}");
    assert_eq!(show(&answer), [DENIAL], "{name} {record_type}");
}
