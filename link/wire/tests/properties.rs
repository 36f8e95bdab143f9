//! What holds for all messages, and for all bytes.

#![allow(
    clippy::unwrap_used,
    reason = "what a test does not expect is its failure"
)]

#[path = "../fuzz/check.rs"]
mod check;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use k8s_openapi::api::core::v1::{ClientIPConfig, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use tombolo_catalog::{Headcount, Headcounts, MAX_ENDPOINTS, MAX_PORTS, Place, ServiceName};
use tombolo_crds::mcs::{ServiceImportType, ServicePort};
use tombolo_crds::{ClusterExportSpec, ExportedEndpoint};
use tombolo_link_wire::{
    Answer, CatalogMessage, Connect, Control, FlowDatagram, FlowId, Hello, Preface, Protocol,
    Refusal, RefusalReason, ServiceHeadcounts, Source, frame_payload, limits,
};

proptest! {
    #[test]
    fn a_hello_means_the_same_at_the_other_end(hello in hello()) {
        prop_assert_eq!(Hello::decode(content(hello.encode(), limits::HELLO)), Ok(hello));
    }

    #[test]
    fn a_control_message_means_the_same_at_the_other_end(seq in any::<u64>()) {
        for control in [Control::Ping(seq), Control::Pong(seq), Control::GoAway] {
            let sent = content(control.encode(), limits::CONTROL);
            prop_assert_eq!(Control::decode(sent), Ok(control));
        }
    }

    #[test]
    fn a_preface_means_the_same_at_the_other_end(connect in connect()) {
        prop_assert_eq!(connect.validate(), Ok(()));
        for preface in [
            Preface::Connect(Box::new(connect)),
            Preface::Catalog,
            Preface::Headcounts,
        ] {
            let sent = content(preface.encode(), limits::PREFACE);
            prop_assert_eq!(Preface::decode(sent), Ok(preface));
        }
    }

    #[test]
    fn an_answer_means_the_same_at_the_other_end(reason in reason(), message in ".{0,2000}") {
        for answer in [Answer::Opened, Answer::Refused(Refusal::new(reason, message))] {
            let sent = content(answer.encode(), limits::ANSWER);
            prop_assert_eq!(Answer::decode(sent), Ok(answer));
        }
    }

    #[test]
    fn an_export_is_replicated_unchanged(export in export()) {
        prop_assert_eq!(tombolo_catalog::validate(&export), Ok(()));
        let message = CatalogMessage::Upsert(Box::new(export));
        let sent = content(message.encode(), limits::CATALOG);
        prop_assert_eq!(CatalogMessage::decode(sent), Ok(message));
    }

    #[test]
    fn headcounts_mean_the_same_at_the_other_end(headcounts in headcounts()) {
        let sent = content(headcounts.encode(), limits::HEADCOUNTS);
        prop_assert_eq!(ServiceHeadcounts::decode(sent), Ok(headcounts));
    }

    #[test]
    fn other_catalog_messages_mean_the_same(number in any::<u64>(), ns in label(), name in label()) {
        for message in [
            CatalogMessage::SnapshotBegin { revision: number },
            CatalogMessage::SnapshotEnd { count: number },
            CatalogMessage::Withdraw(ServiceName::new(ns, name)),
        ] {
            let sent = content(message.encode(), limits::CATALOG);
            prop_assert_eq!(CatalogMessage::decode(sent), Ok(message));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(content in vec(any::<u8>(), 0..4096)) {
        check::messages(&content);
    }

    /// Most arbitrary bytes are not even protobuf; these are nearly messages.
    #[test]
    fn nearly_messages_are_read_or_refused(
        export in export(),
        connect in connect(),
        hello in hello(),
        headcounts in headcounts(),
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        for frame in [
            hello.encode(),
            headcounts.encode(),
            Preface::Connect(Box::new(connect)).encode(),
            CatalogMessage::Upsert(Box::new(export)).encode(),
        ] {
            let mut content = frame[4..].to_vec();
            let at = position.index(content.len());
            content[at] = byte;
            check::messages(&content);
            check::messages(&content[..cut.index(content.len())]);
        }
    }

    #[test]
    fn a_payload_arrives_unchanged_in_the_flow_of_its_own(
        stream in 0..(1_u64 << 62),
        payload in vec(any::<u8>(), 0..2000),
    ) {
        let flow = FlowId::of_stream(stream);
        let sent = FlowDatagram::encode(flow, &payload);
        prop_assert!(sent.len() <= payload.len() + 8);
        let arrived = FlowDatagram { flow, payload: payload.clone().into() };
        prop_assert_eq!(FlowDatagram::decode(sent), Ok(arrived));
        prop_assert_eq!(content(frame_payload(&payload), limits::PAYLOAD), payload);
    }

    #[test]
    fn any_datagram_is_read_or_refused(bytes in vec(any::<u8>(), 0..64)) {
        check::datagram(&bytes);
    }

    #[test]
    fn any_stream_is_cut_the_same_in_any_pieces(
        bytes in vec(prop_oneof![3 => Just(0_u8), 1 => 1..32_u8], 0..512),
        limit in 0..64_usize,
        piece in 1..40_usize,
    ) {
        check::frames(&bytes, limit, piece);
    }
}

/// The largest export that is valid fits into a frame.
#[test]
fn the_largest_export_fits() {
    let port = |number: i32| ServicePort {
        name: Some(format!("{number:063}")),
        protocol: "SCTP".to_owned(),
        app_protocol: Some(format!("{}/{}", "d".repeat(253), "n".repeat(63))),
        port: number,
    };
    let metadata = 64 * 1024 - 316;
    let mut largest = ClusterExportSpec {
        cluster: "c".repeat(63),
        namespace: "n".repeat(63),
        name: "s".repeat(63),
        created_at: Time(Timestamp::MAX),
        type_: ServiceImportType::Headless,
        ports: (1..).map(port).take(MAX_PORTS).collect(),
        session_affinity: Some("ClientIP".to_owned()),
        session_affinity_config: Some(SessionAffinityConfig {
            client_ip: Some(ClientIPConfig {
                timeout_seconds: Some(86_400),
            }),
        }),
        internal_traffic_policy: Some("Cluster".to_owned()),
        traffic_distribution: Some("PreferSameZone".to_owned()),
        ip_families: vec!["IPv4".to_owned(), "IPv6".to_owned()],
        exported_labels: BTreeMap::new(),
        exported_annotations: BTreeMap::from([("a".to_owned(), "v".repeat(metadata))]),
        ready: true,
        endpoints: (0..MAX_ENDPOINTS)
            .map(|number| ExportedEndpoint {
                id: format!("{number:063}"),
                ready: true,
            })
            .collect(),
        proxy_protocol: Some("v2".to_owned()),
    };
    assert_eq!(tombolo_catalog::validate(&largest), Ok(()));
    let length = CatalogMessage::Upsert(Box::new(largest.clone()))
        .encode()
        .len();
    assert!(length <= limits::CATALOG, "{length}");

    // Many short keys take more than one long value: each has a few bytes of its own.
    largest.exported_annotations = (0..16_384)
        .map(|n| (format!("{n:04x}"), String::new()))
        .collect();
    assert_eq!(tombolo_catalog::validate(&largest), Ok(()));
    let length = CatalogMessage::Upsert(Box::new(largest)).encode().len();
    assert!(length <= limits::CATALOG + 4, "{length}");
}

/// Places beyond the limit are told as if they were nowhere, and no endpoint is lost by it.
#[test]
fn headcounts_of_too_many_places_fit() {
    let place = |zone: usize| Place {
        region: "r".repeat(63).into(),
        zone: format!("{zone:063}").into(),
    };
    let count = Headcount { ready: 1, total: 2 };
    let many = 2 * limits::PLACES;
    let sent = ServiceHeadcounts {
        service: ServiceName::new("n".repeat(63), "s".repeat(63)),
        headcounts: Some((0..many).map(|zone| (place(zone), count)).collect()),
    };

    let received = ServiceHeadcounts::decode(content(sent.encode(), limits::HEADCOUNTS)).unwrap();

    let received = received.headcounts.unwrap();
    assert_eq!(received.len(), limits::PLACES);
    let ready: u32 = received.values().map(|count| count.ready).sum();
    assert_eq!(usize::try_from(ready).unwrap(), many);
}

fn content(frame: bytes::Bytes, limit: usize) -> bytes::Bytes {
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
    assert_eq!(frame.len(), 4 + length);
    assert!(length <= limit, "{length}");
    frame.slice(4..)
}

fn label() -> impl Strategy<Value = String> {
    "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
}

fn subdomain() -> impl Strategy<Value = String> {
    vec("[a-z0-9]{1,20}", 1..5).prop_map(|labels| labels.join("."))
}

fn or_empty(strategy: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), strategy]
}

fn hello() -> impl Strategy<Value = Hello> {
    (
        any::<[u32; 3]>(),
        subdomain(),
        label(),
        subdomain(),
        "[!-~]{0,64}",
    )
        .prop_map(
            |([protocol_version, merge_version, siblings], clusterset, cluster, replica, uid)| {
                Hello {
                    protocol_version,
                    merge_version,
                    clusterset,
                    cluster,
                    replica,
                    siblings,
                    incarnation: uid,
                }
            },
        )
}

fn connect() -> impl Strategy<Value = Connect> {
    (
        (label(), label()),
        prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)],
        1..=u16::MAX,
        option::of(label()),
        source(),
        vec(label(), 0..=limits::PATH),
        "[!-~]{0,128}",
        btree_map(
            "([a-z]{1,9}[.]io/)?[a-zA-Z0-9]{1,63}",
            or_empty(label()),
            0..limits::SELECTOR,
        ),
        (or_empty(label()), any::<Option<bool>>()),
    )
        .prop_map(
            |(
                (namespace, name),
                protocol,
                port,
                endpoint,
                source,
                path,
                traceparent,
                selector,
                (zone, affinity),
            )| {
                Connect {
                    service: ServiceName::new(namespace, name),
                    protocol,
                    port,
                    endpoint,
                    source,
                    path,
                    traceparent,
                    selector,
                    zone,
                    affinity,
                }
            },
        )
}

fn headcounts() -> impl Strategy<Value = ServiceHeadcounts> {
    let place = (or_empty(label()), or_empty(label())).prop_map(|(region, zone)| Place {
        region: region.into(),
        zone: zone.into(),
    });
    let count = any::<[u32; 2]>().prop_map(|[ready, total]| Headcount { ready, total });
    let headcounts = option::of(btree_map(place, count, 0..5).prop_map(Headcounts::from));
    (label(), label(), headcounts).prop_map(|(namespace, name, headcounts)| ServiceHeadcounts {
        service: ServiceName::new(namespace, name),
        headcounts,
    })
}

fn source() -> impl Strategy<Value = Source> {
    (
        or_empty(label()),
        or_empty(label()),
        or_empty(subdomain()),
        or_empty(subdomain()),
        option::of(any::<SocketAddr>()),
    )
        .prop_map(
            |(cluster, namespace, pod, service_account, address)| Source {
                cluster,
                namespace,
                pod,
                service_account,
                // Flow information is of one host only, and is not written.
                address: address.map(|address| SocketAddr::new(address.ip(), address.port())),
            },
        )
}

fn reason() -> impl Strategy<Value = RefusalReason> {
    prop::sample::select(vec![
        RefusalReason::NotExported,
        RefusalReason::PortNotExported,
        RefusalReason::NoReadyEndpoint,
        RefusalReason::EndpointRefused,
        RefusalReason::DialFailed,
        RefusalReason::Loop,
        RefusalReason::Draining,
        RefusalReason::Overloaded,
        RefusalReason::Malformed,
        RefusalReason::Other,
    ])
}

fn export() -> impl Strategy<Value = ClusterExportSpec> {
    let names = (label(), label(), label());
    let time = (0..4_000_000_000_i64, 0..1_000_000_000_i32)
        .prop_map(|(second, nanosecond)| Timestamp::new(second, nanosecond).unwrap());
    let kind = prop_oneof![
        Just(ServiceImportType::ClusterSetIP),
        Just(ServiceImportType::Headless)
    ];
    let affinity = option::of(option::of(option::of(1..=86_400_i32))).prop_map(|config| {
        config.map(|client_ip| SessionAffinityConfig {
            client_ip: client_ip.map(|timeout_seconds| ClientIPConfig { timeout_seconds }),
        })
    });
    let traffic = (
        option::of(prop::sample::select(vec!["None", "ClientIP"])),
        affinity,
        option::of(prop::sample::select(vec!["Cluster", "Local"])),
        option::of("[A-Z][a-zA-Z]{0,20}"),
        prop::sample::select(vec![vec![], vec!["IPv4"], vec!["IPv6", "IPv4"]]),
    );
    let metadata = (
        btree_map("[a-z.]{0,0}[a-z0-9]{1,20}", "([a-zA-Z0-9]{1,20})?", 0..4),
        btree_map("[a-z0-9]{1,20}", ".{0,50}", 0..4),
        any::<bool>(),
        btree_map(label(), any::<bool>(), 0..20),
        option::of("v[0-9]"),
    );
    (names, time, kind, ports(), traffic, metadata).prop_map(
        |(names, time, type_, ports, traffic, metadata)| {
            let (cluster, namespace, name) = names;
            let (affinity, session_affinity_config, policy, traffic_distribution, families) =
                traffic;
            let (exported_labels, exported_annotations, ready, endpoints, proxy_protocol) =
                metadata;
            let endpoints = endpoints
                .into_iter()
                .map(|(id, ready)| ExportedEndpoint { id, ready });
            ClusterExportSpec {
                cluster,
                namespace,
                name,
                created_at: Time(time),
                type_,
                ports,
                session_affinity: affinity.map(str::to_owned),
                session_affinity_config,
                internal_traffic_policy: policy.map(str::to_owned),
                traffic_distribution,
                ip_families: families.into_iter().map(str::to_owned).collect(),
                exported_labels,
                exported_annotations,
                ready,
                endpoints: endpoints.collect(),
                proxy_protocol,
            }
        },
    )
}

/// Ports whose numbers and names are all different.
fn ports() -> impl Strategy<Value = Vec<ServicePort>> {
    let port = (
        prop::sample::select(vec!["TCP", "UDP", "SCTP"]),
        option::of("[a-z]{1,10}(/[a-z]{1,10})?"),
    );
    btree_map(1..=i32::from(u16::MAX), port, 1..8).prop_map(|ports| {
        let port =
            |(number, (protocol, app_protocol)): (i32, (&str, Option<String>))| ServicePort {
                name: Some(format!("p{number}")),
                protocol: protocol.to_owned(),
                app_protocol,
                port: number,
            };
        ports.into_iter().map(port).collect()
    })
}
