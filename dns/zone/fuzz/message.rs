//! A zone of each kind of import, and DNS messages put to it.

use std::sync::{Arc, OnceLock};

use hickory_proto::op::Message;
use tombolo_dns_zone::{Endpoint, Import, ImportKind, Port, Question, Service, Snapshot, Zone};

use crate::check;

/// Puts the questions of a DNS message to the zone.
pub(crate) fn put(bytes: &[u8]) {
    static SNAPSHOT: OnceLock<Snapshot> = OnceLock::new();
    let snapshot = SNAPSHOT.get_or_init(snapshot);
    check::same_in_octets(snapshot, bytes, bytes.len());
    let Ok(message) = Message::from_vec(bytes) else {
        return;
    };
    for query in &message.queries {
        let question = Question {
            name: query.name(),
            record_type: query.query_type(),
            class: query.query_class(),
        };
        check::well_formed(snapshot, &question, message.metadata.id.into());
    }
}

fn snapshot() -> Snapshot {
    let ports = vec![
        Port {
            name: Some("http".to_owned()),
            protocol: "TCP".to_owned(),
            number: 80,
        },
        Port {
            name: Some("http3".to_owned()),
            protocol: "UDP".to_owned(),
            number: 80,
        },
    ];
    let endpoint = |cluster: &str, hostname: Option<&str>, last: u8| Endpoint {
        cluster: cluster.into(),
        hostname: hostname.map(str::to_owned),
        addresses: vec![
            [10, 0, 0, last].into(),
            [0xfd00, 0, 0, 0, 0, 0, 0, last.into()].into(),
        ],
        ports: ports.as_slice().into(),
        ready: true,
    };
    let web = Import {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        kind: ImportKind::ClusterSetIp {
            addresses: vec![[10, 96, 0, 1].into()],
            ports: ports.clone(),
        },
    };
    let db = Import {
        namespace: "shop".to_owned(),
        name: "db".to_owned(),
        kind: ImportKind::Headless {
            endpoints: vec![
                endpoint("east", Some("db-0"), 1),
                endpoint("east", None, 2),
                endpoint("west.eu", Some("db-0"), 3),
            ],
        },
    };
    let zone = Arc::new(Zone::new("clusterset.local", 5, 0).expect("a DNS name"));
    let services = [web, db].map(|import| Arc::new(Service::new(import).expect("DNS labels")));
    Snapshot::new(zone, 1, services)
}
