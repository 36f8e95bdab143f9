//! What holds for every question to every zone.

#![allow(clippy::unwrap_used, reason = "a test's helpers are test code")]

#[path = "../fuzz/check.rs"]
mod check;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{DNSClass, Name, RecordType};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tombolo_dns_zone::{
    Change, Endpoint, Import, ImportKind, Port, Question, Service, Snapshot, Zone,
};

const ORIGIN: &str = "clusterset.local.";

/// Few words, so that questions and imports meet.
fn word() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "svc", "dns", "ns"]).prop_map(str::to_owned)
}

fn protocol() -> impl Strategy<Value = String> {
    select(vec!["TCP", "UDP"]).prop_map(str::to_owned)
}

fn ports() -> impl Strategy<Value = Vec<Port>> {
    let port = (proptest::option::of(word()), protocol(), 1..3_u16);
    vec(
        port.prop_map(|(name, protocol, number)| Port {
            name,
            protocol,
            number,
        }),
        0..3,
    )
}

fn addresses() -> impl Strategy<Value = Vec<IpAddr>> {
    let v4 = (0..3_u8).prop_map(|n| IpAddr::from([10, 0, 0, n]));
    let v6 = (0..3_u8).prop_map(|n| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n.into()]));
    vec(prop_oneof![v4, v6], 0..3)
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let cluster = prop_oneof![
        word(),
        Just("a.b".to_owned()),
        Just("not a name".to_owned())
    ];
    (
        cluster,
        proptest::option::of(word()),
        addresses(),
        ports(),
        any::<bool>(),
    )
        .prop_map(|(cluster, hostname, addresses, ports, ready)| Endpoint {
            cluster: cluster.into(),
            hostname,
            addresses,
            ports: ports.into(),
            ready,
        })
}

fn import() -> impl Strategy<Value = Import> {
    let kind = prop_oneof![
        (addresses(), ports())
            .prop_map(|(addresses, ports)| ImportKind::ClusterSetIp { addresses, ports }),
        vec(endpoint(), 0..3).prop_map(|endpoints| ImportKind::Headless { endpoints }),
    ];
    (word(), word(), kind).prop_map(|(namespace, name, kind)| Import {
        namespace,
        name,
        kind,
    })
}

/// Each namespace and name once.
fn imports() -> impl Strategy<Value = Vec<Import>> {
    vec(import(), 0..6).prop_map(|mut imports| {
        let mut seen = BTreeSet::new();
        imports.retain(|import| seen.insert((import.namespace.clone(), import.name.clone())));
        imports
    })
}

fn snapshot(imports: &[Import]) -> Snapshot {
    let zone = Arc::new(Zone::new(ORIGIN, 5, 0).unwrap());
    let services = imports
        .iter()
        .cloned()
        .map(|import| Arc::new(Service::new(import).unwrap()));
    Snapshot::new(zone, 1, services)
}

/// A name near the zone's own ones, or any at all.
fn question_name() -> impl Strategy<Value = Name> {
    let label = prop_oneof![
        8 => word().prop_map(String::into_bytes),
        2 => word().prop_map(|word| format!("_{word}").into_bytes()),
        2 => select(vec!["_tcp", "_UDP", "A", "Svc", "dns-version", "10-0-0-1"])
            .prop_map(|label| label.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..64),
    ];
    let below = vec(label, 0..8).prop_map(|labels| {
        let relative = Name::from_labels(labels).ok()?;
        relative
            .append_domain(&Name::from_ascii(ORIGIN).unwrap())
            .ok()
    });
    let anything =
        vec(vec(any::<u8>(), 1..64), 0..5).prop_map(|labels| Name::from_labels(labels).ok());
    let reverse = addresses().prop_map(|addresses| addresses.first().copied().map(Name::from));
    prop_oneof![9 => below, 1 => anything, 1 => reverse].prop_filter_map("no name", |name| name)
}

fn record_type() -> impl Strategy<Value = RecordType> {
    prop_oneof![
        3 => select(vec![RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::PTR]),
        1 => any::<u16>().prop_map(RecordType::from),
    ]
}

/// A message that asks, with what a client may say beside.
fn message(name: Name) -> impl Strategy<Value = Message> {
    let edns = (
        any::<u16>(),
        any::<bool>(),
        proptest::option::of(vec(any::<u8>(), 0..42)),
    );
    let flags = (any::<bool>(), any::<bool>());
    (record_type(), flags, proptest::option::of(edns)).prop_map(move |(of, flags, edns)| {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = flags.0;
        message.metadata.checking_disabled = flags.1;
        message.add_query(Query::query(name.clone(), of));
        message.edns = edns.map(|(payload, dnssec_ok, cookie)| {
            let mut edns = Edns::new();
            edns.set_max_payload(payload).set_dnssec_ok(dnssec_ok);
            if let Some(cookie) = cookie {
                edns.options_mut().insert(EdnsOption::Unknown(10, cookie));
            }
            edns
        });
        message
    })
}

/// The names that own records, written down from the specification.
fn names(imports: &[Import]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = ["", "dns-version.", "ns.dns.", "svc."]
        .map(|name| format!("{name}{ORIGIN}"))
        .into();
    for Import {
        namespace,
        name,
        kind,
    } in imports
    {
        let service = format!("{name}.{namespace}.svc.{ORIGIN}");
        let mut own = BTreeSet::new();
        let (leads_somewhere, ports): (bool, Vec<&Port>) = match kind {
            ImportKind::ClusterSetIp { addresses, ports } => {
                (!addresses.is_empty(), ports.iter().collect())
            }
            ImportKind::Headless { endpoints } => {
                let answered: Vec<&Endpoint> = endpoints
                    .iter()
                    .filter(|endpoint| {
                        endpoint.ready
                            && endpoint.cluster.as_ref() != "not a name"
                            && !endpoint.addresses.is_empty()
                    })
                    .collect();
                for endpoint in &answered {
                    for address in &endpoint.addresses {
                        let dashed = address.to_string().replace(['.', ':'], "-");
                        let hostname = endpoint.hostname.clone().unwrap_or(dashed);
                        own.insert(format!("{hostname}.{}.{service}", endpoint.cluster));
                    }
                }
                let ports = answered.iter().flat_map(|endpoint| endpoint.ports.iter());
                (!answered.is_empty(), ports.collect())
            }
        };
        if !leads_somewhere {
            continue;
        }
        for port in ports {
            if let Some(name) = &port.name {
                own.insert(format!(
                    "_{name}._{}.{service}",
                    port.protocol.to_lowercase()
                ));
            }
        }
        own.insert(service);
        names.extend(own);
    }
    names
}

proptest! {
    /// RFC 8020: a name that is denied has nothing below it; KEP-1645 says which names there are.
    #[test]
    fn a_name_is_denied_if_and_only_if_nothing_is_at_or_below_it(
        imports in imports(),
        name in question_name(),
        record_type in any::<u16>().prop_map(RecordType::from),
    ) {
        let snapshot = snapshot(&imports);
        let question = Question { name: &name, record_type, class: DNSClass::IN };
        let answer = snapshot.answer(&question, 0);

        let exists = names(&imports).iter().any(|existing| {
            name.zone_of(&Name::from_ascii(existing).unwrap())
        });
        let inside = snapshot.zone().origin().zone_of(&name);
        let transfer = matches!(record_type, RecordType::AXFR | RecordType::IXFR);
        prop_assert_eq!(
            answer.code == ResponseCode::NXDomain,
            inside && !transfer && !exists,
            "{} {}", name, record_type
        );
    }

    #[test]
    fn answers_are_well_formed(
        imports in imports(),
        name in question_name(),
        record_type in prop_oneof![
            3 => select(vec![RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::ANY]),
            1 => any::<u16>().prop_map(RecordType::from),
        ],
        class in prop_oneof![3 => Just(DNSClass::IN), 1 => any::<u16>().prop_map(DNSClass::from)],
        rotation in any::<usize>(),
    ) {
        let question = Question { name: &name, record_type, class };
        let snapshot = snapshot(&imports);

        check::well_formed(&snapshot, &question, rotation);
        check::well_formed(&Snapshot::incomplete(Arc::new(snapshot.zone().clone())), &question, rotation);
    }

    #[test]
    fn every_srv_target_has_an_address(imports in imports(), name in question_name()) {
        let snapshot = snapshot(&imports);
        let ask = |name: &Name, record_type| {
            snapshot.answer(&Question { name, record_type, class: DNSClass::IN }, 0).answers
        };
        for record in ask(&name, RecordType::SRV) {
            let hickory_proto::rr::RData::SRV(srv) = &record.data else { panic!("{record}") };
            let addresses = ask(&srv.target, RecordType::A).len() + ask(&srv.target, RecordType::AAAA).len();
            prop_assert!(addresses > 0, "{}", record);
        }
    }

    #[test]
    fn octets_say_what_records_say(
        imports in imports(),
        message in question_name().prop_flat_map(message),
        rotation in any::<usize>(),
    ) {
        let octets = message.to_vec().unwrap();

        check::same_in_octets(&snapshot(&imports), &octets, rotation);
    }

    /// Else the test above would compare nothing.
    #[test]
    fn a_plain_question_about_a_service_is_answered_in_octets(imports in imports(), v6 in any::<bool>()) {
        let snapshot = snapshot(&imports);
        for import in &imports {
            let name = format!("{}.{}.svc.{ORIGIN}", import.name, import.namespace);
            let mut message = Message::new(7, MessageType::Query, OpCode::Query);
            let record_type = if v6 { RecordType::AAAA } else { RecordType::A };
            message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
            prop_assert!(check::same_in_octets(&snapshot, &message.to_vec().unwrap(), 0));
        }
    }

    #[test]
    fn a_snapshot_made_by_changes_is_like_one_made_anew(
        before in imports(),
        after in imports(),
        name in question_name(),
        record_type in record_type(),
    ) {
        let removed = before.iter().map(|import| Change::Remove {
            namespace: import.namespace.clone(),
            name: import.name.clone(),
        });
        let put = after
            .iter()
            .map(|import| Change::Put(Arc::new(Service::new(import.clone()).unwrap())));
        let changed = snapshot(&before).with(1, removed.chain(put));
        let anew = snapshot(&after);

        let question = Question { name: &name, record_type, class: DNSClass::IN };
        prop_assert_eq!(changed.answer(&question, 0), anew.answer(&question, 0));
        prop_assert_eq!(changed.len(), anew.len());
    }
}
