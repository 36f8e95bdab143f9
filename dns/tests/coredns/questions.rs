//! What is asked.

use std::fmt;

use hickory_proto::rr::RecordType;

use crate::ask::{Question, Transport};
use crate::objects::{IDLE, Import};

const IN: u16 = 1;
const CHAOS: u16 = 3;

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Apex,
    /// `svc`
    Services,
    /// `pod`, and names below it
    Pods,
    /// Of a service that leads somewhere
    Namespace,
    /// Of none
    IdleNamespace,
    Service,
    /// A ClusterSetIP service without ports
    Portless,
    /// A service without an address, and what would be below it
    Nothing,
    /// `_<proto>`, of which there is a named port
    Protocol,
    /// `_<port>._<proto>`, which exists
    Port,
    /// The same without one of the underscores
    HalfPort,
    Host,
    /// Of a cluster with a dotted ID
    DottedHost,
    /// Of a ClusterSetIP service
    HostOfService,
    /// `<cluster>`, or the end of a dotted one
    AboveHosts,
    SchemaVersion,
    /// `dns`
    Dns,
    /// `ns.dns`
    Nameserver,
    /// The reverse name of an address of the clusterset
    Reverse,
    Outside,
    /// Nothing that anyone would know
    Missing,
}

/// A question, and what its name is.
pub(crate) struct Asked {
    pub(crate) question: Question,
    pub(crate) place: Place,
}

const TYPES: [RecordType; 15] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::SRV,
    RecordType::TXT,
    RecordType::NS,
    RecordType::SOA,
    RecordType::PTR,
    RecordType::MX,
    RecordType::CNAME,
    RecordType::ANY,
    RecordType::HTTPS,
    RecordType::CAA,
    RecordType::DS,
    RecordType::AXFR,
    RecordType::Unknown(65_280),
];

/// Every name of every type, in two cases, and in two of the ways to ask.
pub(crate) fn questions(imports: &[Import]) -> Vec<Asked> {
    let mut asked = Vec::new();
    let ways = [
        Transport::Tcp,
        Transport::Edns(512),
        Transport::Edns(1_232),
        Transport::Dnssec(1_400),
        Transport::Edns(4_096),
        Transport::Edns(100),
    ];
    let mut turn = 0;
    for (name, place) in names(imports) {
        for record_type in TYPES {
            for name in [name.clone(), mangled(&name)] {
                turn += 1;
                for transport in [Transport::Udp, ways[turn % ways.len()]] {
                    let question = Question {
                        name: name.clone(),
                        record_type,
                        class: IN,
                        transport,
                    };
                    asked.push(Asked { question, place });
                }
            }
        }
        // Thus the next name's types have other ways.
        turn += 1;
        let question = Question {
            name,
            record_type: RecordType::A,
            class: CHAOS,
            transport: Transport::Udp,
        };
        asked.push(Asked { question, place });
    }
    asked
}

fn names(imports: &[Import]) -> Vec<(String, Place)> {
    let mut relative: Vec<(String, Place)> = [
        ("svc", Place::Services),
        ("pod", Place::Pods),
        ("shop.pod", Place::Pods),
        ("10-0-0-1.shop.pod", Place::Pods),
        ("dns-version", Place::SchemaVersion),
        ("x.dns-version", Place::Missing),
        ("dns", Place::Dns),
        ("ns.dns", Place::Nameserver),
        ("x.ns.dns", Place::Missing),
        ("x", Place::Missing),
        ("x.x", Place::Missing),
        ("*", Place::Missing),
        ("*.svc", Place::Missing),
        ("any.any.svc", Place::Missing),
        ("nowhere.svc", Place::Missing),
        ("web.nowhere.svc", Place::Missing),
        ("svc.clusterset.local", Place::Missing),
        ("web.shop.svc.clusterset.local", Place::Missing),
        ("web.shop", Place::Missing),
        ("a.b.c.d.e.f.g.h.i.j.k.svc", Place::Missing),
    ]
    .map(|(name, place)| (name.to_owned(), place))
    .into();
    let mut namespaces: Vec<&str> = imports.iter().map(|import| import.namespace).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    for namespace in namespaces.into_iter().chain([IDLE[0]]) {
        let place = if IDLE.contains(&namespace) {
            Place::IdleNamespace
        } else {
            Place::Namespace
        };
        relative.push((format!("{namespace}.svc"), place));
        for name in ["missing", "*", "_http", "_tcp", "we", "webb", "1"] {
            relative.push((format!("{name}.{namespace}.svc"), Place::Missing));
        }
    }
    for import in imports {
        relative.extend(below(import));
    }
    let mut names = vec![("clusterset.local.".to_owned(), Place::Apex)];
    let whole = |(name, place)| (format!("{name}.clusterset.local."), place);
    names.extend(relative.into_iter().map(whole));
    names.extend(reverse(imports));
    for name in [
        ".",
        "local.",
        "xclusterset.local.",
        "example.com.",
        "web.shop.svc.cluster.local.",
    ] {
        names.push((name.to_owned(), Place::Outside));
    }
    names
}

/// The names of an import, and some that it might have.
fn below(import: &Import) -> Vec<(String, Place)> {
    let key = format!("{}.{}.svc", import.name, import.namespace);
    let alive = import.leads_somewhere();
    let place_if_alive = |place| if alive { place } else { Place::Nothing };
    let portless = !import.headless && import.ports.is_empty();
    let mut names = vec![(
        key.clone(),
        place_if_alive(if portless {
            Place::Portless
        } else {
            Place::Service
        }),
    )];
    let mut add = |prefix: String, place: Place| {
        let name = format!("{prefix}.{key}");
        if !names.iter().any(|(known, _)| *known == name) {
            names.push((name, place));
        }
    };
    let of_slices = import
        .slices
        .iter()
        .filter(|slice| slice.endpoints.iter().any(|endpoint| endpoint.is_ready()))
        .flat_map(|slice| &slice.ports);
    let ports: Vec<_> = if import.headless {
        of_slices.collect()
    } else {
        import.ports.iter().collect()
    };
    for (name, protocol, _) in ports {
        if name.is_empty() {
            continue;
        }
        let protocol = protocol.to_lowercase();
        add(format!("_{name}._{protocol}"), place_if_alive(Place::Port));
        add(format!("_{protocol}"), place_if_alive(Place::Protocol));
        add(
            format!("{name}._{protocol}"),
            place_if_alive(Place::HalfPort),
        );
        add(
            format!("_{name}.{protocol}"),
            place_if_alive(Place::HalfPort),
        );
        add(format!("x._{name}._{protocol}"), Place::Missing);
        add(format!("{name}.{protocol}"), Place::Missing);
    }
    for slice in &import.slices {
        let dotted = slice.cluster.contains('.');
        // A few of many are enough.
        for endpoint in slice.endpoints.iter().take(8) {
            let place = match (endpoint.is_ready(), import.headless, dotted) {
                (false, ..) => Place::Missing,
                (true, false, _) => Place::HostOfService,
                (true, true, false) => Place::Host,
                (true, true, true) => Place::DottedHost,
            };
            let label = endpoint.label();
            add(format!("{label}.{}", slice.cluster), place);
            add(format!("x.{label}.{}", slice.cluster), Place::Missing);
            add(format!("{label}.nowhere"), Place::Missing);
            add(label, Place::Missing);
        }
        let above = if alive && import.headless {
            Place::AboveHosts
        } else {
            Place::Missing
        };
        let mut cluster = slice.cluster;
        add(cluster.to_owned(), above);
        while let Some((_, rest)) = cluster.split_once('.') {
            add(rest.to_owned(), above);
            cluster = rest;
        }
    }
    for name in [
        "x",
        "*",
        "_x._tcp",
        "_http._x",
        "_tcp",
        "_udp",
        "_sctp",
        "_x",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "_http._tcp.x",
    ] {
        add(name.to_owned(), Place::Missing);
    }
    names
}

/// The reverse names of all addresses, and one of none.
fn reverse(imports: &[Import]) -> Vec<(String, Place)> {
    let mut names = vec![(reverse_name("10.96.255.255"), Place::Outside)];
    for import in imports {
        let of_slices = import.slices.iter().flat_map(|slice| &slice.endpoints);
        let addresses = if import.headless {
            let ready = of_slices.filter(|endpoint| endpoint.is_ready()).take(4);
            ready.map(|endpoint| endpoint.address.as_str()).collect()
        } else {
            import.addresses.to_vec()
        };
        names.extend(
            addresses
                .into_iter()
                .map(|address| (reverse_name(address), Place::Reverse)),
        );
    }
    names
}

fn reverse_name(address: &str) -> String {
    let address: std::net::IpAddr = address.parse().unwrap();
    hickory_proto::rr::Name::from(address).to_ascii()
}

/// In capitals and small letters as nobody would write it (0x20).
fn mangled(name: &str) -> String {
    let mut state = name.len();
    let letters = name.chars().map(|letter| {
        state = state.wrapping_mul(31).wrapping_add(letter as usize);
        match (state >> 3) % 2 {
            0 => letter.to_ascii_uppercase(),
            _ => letter,
        }
    });
    letters.collect()
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Question {
            name,
            record_type,
            class,
            transport,
        } = &self.question;
        write!(
            f,
            "{name} {record_type} class {class} by {transport:?} ({:?})",
            self.place
        )
    }
}
