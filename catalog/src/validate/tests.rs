use k8s_openapi::api::core::v1::{ClientIPConfig, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tombolo_crds::mcs::ServiceImportType;

use super::*;

#[test]
fn a_good_export_is_accepted() {
    assert_eq!(validate(&good()), Ok(()));

    let largest = ClusterExportSpec {
        cluster: "c".repeat(63),
        namespace: "n".repeat(63),
        name: "s".repeat(63),
        ports: (1..=256)
            .map(|n| port(Some(&format!("p{n}")), "SCTP", n))
            .collect(),
        exported_labels: BTreeMap::new(),
        exported_annotations: map("a", &"x".repeat(MAX_METADATA_BYTES - 1)),
        ..good()
    };
    assert_eq!(validate(&largest), Ok(()));
}

#[test]
fn every_rule_is_checked() {
    let cases: Vec<(&str, Break)> = vec![
        ("InvalidName", Box::new(|e| e.cluster = String::new())),
        ("InvalidName", Box::new(|e| e.cluster = "East".to_owned())),
        ("InvalidName", Box::new(|e| e.namespace = "a.b".to_owned())),
        (
            "InvalidName",
            Box::new(|e| e.namespace = "../kube-system".to_owned()),
        ),
        ("InvalidName", Box::new(|e| e.name = "x".repeat(64))),
        ("InvalidName", Box::new(|e| e.name = "a\nb".to_owned())),
        (
            "InvalidCreationTime",
            Box::new(|e| e.created_at = Time(Timestamp::MIN)),
        ),
        ("NoPorts", Box::new(|e| e.ports.clear())),
        (
            "TooManyPorts",
            Box::new(|e| e.ports = vec![port(None, "TCP", 80); 1_000_000]),
        ),
        ("InvalidPort", Box::new(|e| e.ports[0].port = 0)),
        ("InvalidPort", Box::new(|e| e.ports[0].port = -1)),
        ("InvalidPort", Box::new(|e| e.ports[0].port = 65_536)),
        (
            "InvalidPort",
            Box::new(|e| e.ports[0].protocol = "tcp".to_owned()),
        ),
        (
            "InvalidPort",
            Box::new(|e| e.ports[0].protocol = "ICMP".to_owned()),
        ),
        (
            "InvalidPort",
            Box::new(|e| e.ports[0].name = Some("HTTP".to_owned())),
        ),
        (
            "InvalidPort",
            Box::new(|e| e.ports[0].name = Some(String::new())),
        ),
        (
            "InvalidPort",
            Box::new(|e| e.ports[0].app_protocol = Some("a b".to_owned())),
        ),
        (
            "DuplicatePort",
            Box::new(|e| e.ports.push(port(Some("http"), "TCP", 81))),
        ),
        (
            "DuplicatePort",
            Box::new(|e| e.ports.push(port(Some("web"), "TCP", 80))),
        ),
        (
            "DuplicatePort",
            Box::new(|e| e.ports = vec![port(None, "TCP", 1), port(None, "UDP", 1)]),
        ),
        (
            "InvalidField",
            Box::new(|e| e.session_affinity = Some("Cookie".to_owned())),
        ),
        (
            "InvalidField",
            Box::new(|e| e.session_affinity_config = Some(affinity(0))),
        ),
        (
            "InvalidField",
            Box::new(|e| e.session_affinity_config = Some(affinity(86_401))),
        ),
        (
            "InvalidField",
            Box::new(|e| e.internal_traffic_policy = Some("Node".to_owned())),
        ),
        (
            "InvalidField",
            Box::new(|e| e.traffic_distribution = Some("a b".to_owned())),
        ),
        (
            "InvalidField",
            Box::new(|e| e.ip_families = strings(&["IPv4", "IPv4"])),
        ),
        (
            "InvalidField",
            Box::new(|e| e.ip_families = strings(&["IPv5"])),
        ),
        (
            "InvalidField",
            Box::new(|e| e.ip_families = strings(&["IPv4", "IPv6", "IPv4"])),
        ),
        (
            "InvalidExportedLabel",
            Box::new(|e| e.exported_labels = map("a b", "c")),
        ),
        (
            "InvalidExportedLabel",
            Box::new(|e| e.exported_labels = map("a", "b c")),
        ),
        (
            "InvalidExportedAnnotation",
            Box::new(|e| e.exported_annotations = map("a/b/c", "")),
        ),
        (
            "ReservedKey",
            Box::new(|e| e.exported_labels = map("tombolo.io/cluster", "west")),
        ),
        (
            "ReservedKey",
            Box::new(|e| e.exported_annotations = map("x.tombolo.io/y", "")),
        ),
        (
            "ReservedKey",
            Box::new(|e| {
                e.exported_annotations = map("multicluster.kubernetes.io/derived-service", "x");
            }),
        ),
        (
            "TooManyEndpoints",
            Box::new(|e| e.endpoints = (0..=MAX_ENDPOINTS).map(endpoint).collect()),
        ),
        (
            "InvalidEndpoint",
            Box::new(|e| e.endpoints[0].id = "web.0".to_owned()),
        ),
        (
            "InvalidEndpoint",
            Box::new(|e| e.endpoints[0].id = "x".repeat(100_000)),
        ),
        (
            "DuplicateEndpoint",
            Box::new(|e| e.endpoints = vec![endpoint(0), endpoint(1), endpoint(0)]),
        ),
        (
            "ExportedMetadataTooLarge",
            Box::new(|e| e.exported_annotations = map("a", &"x".repeat(MAX_METADATA_BYTES))),
        ),
    ];
    for (index, (reason, break_it)) in cases.iter().enumerate() {
        let mut export = good();
        break_it(&mut export);
        let malformed = validate(&export).expect_err(&format!("case {index}: {reason}"));
        assert_eq!(malformed.reason(), *reason, "case {index}: {malformed}");
        assert!(
            malformed.to_string().len() < 512,
            "case {index}: the message is short"
        );
    }
}

#[test]
fn a_domain_that_ends_like_a_reserved_one_is_another() {
    let export = ClusterExportSpec {
        exported_labels: map("mytombolo.io/x", "y"),
        ..good()
    };
    assert_eq!(validate(&export), Ok(()));
}

#[test]
fn a_traffic_distribution_of_the_future_is_accepted() {
    let export = ClusterExportSpec {
        traffic_distribution: Some("PreferSameRack".to_owned()),
        ..good()
    };
    assert_eq!(validate(&export), Ok(()));
}

type Break = Box<dyn Fn(&mut ClusterExportSpec)>;

fn good() -> ClusterExportSpec {
    ClusterExportSpec {
        cluster: "east".to_owned(),
        namespace: "demo".to_owned(),
        name: "hello".to_owned(),
        created_at: Time(Timestamp::UNIX_EPOCH),
        type_: ServiceImportType::ClusterSetIP,
        ports: vec![port(Some("http"), "TCP", 80)],
        session_affinity: Some("None".to_owned()),
        session_affinity_config: Some(affinity(86_400)),
        internal_traffic_policy: Some("Cluster".to_owned()),
        traffic_distribution: None,
        ip_families: strings(&["IPv4", "IPv6"]),
        exported_labels: map("app.example.com/part", "web"),
        exported_annotations: map("note", "any text"),
        ready: true,
        endpoints: vec![endpoint(0), endpoint(1)],
        proxy_protocol: Some("v2".to_owned()),
    }
}

fn port(name: Option<&str>, protocol: &str, port: i32) -> ServicePort {
    ServicePort {
        name: name.map(str::to_owned),
        protocol: protocol.to_owned(),
        app_protocol: Some("kubernetes.io/h2c".to_owned()),
        port,
    }
}

fn endpoint(number: usize) -> ExportedEndpoint {
    ExportedEndpoint {
        id: format!("hello-{number}"),
        ready: true,
    }
}

fn affinity(seconds: i32) -> SessionAffinityConfig {
    SessionAffinityConfig {
        client_ip: Some(ClientIPConfig {
            timeout_seconds: Some(seconds),
        }),
    }
}

fn map(key: &str, value: &str) -> BTreeMap<String, String> {
    [(key.to_owned(), value.to_owned())].into()
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}
