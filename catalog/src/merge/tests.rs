use k8s_openapi::api::core::v1::ClientIPConfig;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::*;

#[test]
fn nothing_merges_into_nothing() {
    assert_eq!(merge(&[]), None);
}

#[test]
fn one_export_is_the_import() {
    let east = export("east", 1, &[("http", "TCP", 80)]);

    let import = merge(&[&east]).unwrap();

    assert_eq!(import.service, ServiceName::new("demo", "hello"));
    assert_eq!(import.clusters, ["east"]);
    assert_eq!(import.oldest, "east");
    assert_eq!(import.conflicts.reason(), "NoConflicts");
    assert_eq!(import.conflicts.message(), "");
    let spec = import.spec(vec!["10.0.0.1".to_owned()], vec!["IPv4".to_owned()]);
    assert_eq!(spec.ports, east.ports);
    assert_eq!(spec.ips, ["10.0.0.1"]);
    assert_eq!(spec.ip_families, ["IPv4"]);
}

#[test]
fn the_oldest_decides() {
    let old = ClusterExportSpec {
        type_: ServiceImportType::ClusterSetIP,
        session_affinity: Some("ClientIP".to_owned()),
        session_affinity_config: Some(affinity(60)),
        internal_traffic_policy: Some("Local".to_owned()),
        traffic_distribution: Some("PreferClose".to_owned()),
        ip_families: vec!["IPv4".to_owned()],
        exported_labels: [("a".to_owned(), "old".to_owned())].into(),
        exported_annotations: [("b".to_owned(), "old".to_owned())].into(),
        ..export("west", 1, &[("http", "TCP", 80)])
    };
    let young = ClusterExportSpec {
        type_: ServiceImportType::Headless,
        session_affinity: None,
        session_affinity_config: Some(affinity(90)),
        internal_traffic_policy: None,
        traffic_distribution: None,
        ip_families: vec!["IPv4".to_owned(), "IPv6".to_owned()],
        exported_labels: [("c".to_owned(), "young".to_owned())].into(),
        exported_annotations: BTreeMap::new(),
        ..export("east", 2, &[("http", "TCP", 80), ("metrics", "TCP", 9090)])
    };

    let import = merge(&[&young, &old]).unwrap();

    assert_eq!(import.oldest, "west");
    assert_eq!(import.clusters, ["east", "west"]);
    assert_eq!(import.type_, old.type_);
    assert_eq!(import.session_affinity, old.session_affinity);
    assert_eq!(import.session_affinity_config, old.session_affinity_config);
    assert_eq!(import.internal_traffic_policy, old.internal_traffic_policy);
    assert_eq!(import.traffic_distribution, old.traffic_distribution);
    assert_eq!(import.ip_families, old.ip_families);
    assert_eq!(import.labels, old.exported_labels);
    assert_eq!(import.annotations, old.exported_annotations);
    assert_eq!(
        import.conflicts.reason(),
        "PortConflict,TypeConflict,SessionAffinityConflict,SessionAffinityConfigConflict,\
         LabelsConflict,AnnotationsConflict,InternalTrafficPolicyConflict,\
         TrafficDistributionConflict,IPFamilyConflict"
    );
}

#[test]
fn the_cluster_id_breaks_a_tie() {
    let east = ClusterExportSpec {
        type_: ServiceImportType::Headless,
        ..export("east", 1, &[])
    };
    let west = export("west", 1, &[]);
    assert_eq!(merge(&[&west, &east]).unwrap().oldest, "east");
}

#[test]
fn fractions_of_a_second_do_not_count() {
    let mut east = export("east", 1, &[]);
    let west = export("west", 1, &[]);
    east.created_at = Time(Timestamp::new(1, 999_999_999).unwrap());
    assert_eq!(merge(&[&west, &east]).unwrap().oldest, "east");
}

#[test]
fn the_message_says_who_wins_and_how_many_disagree() {
    let headless = |cluster, age| ClusterExportSpec {
        type_: ServiceImportType::Headless,
        ..export(cluster, age, &[])
    };
    let exports = [
        export("cluster-1", 1, &[]),
        headless("cluster-2", 2),
        export("cluster-3", 2, &[]),
        headless("cluster-4", 3),
        export("cluster-5", 4, &[]),
    ];
    let import = merge(&exports.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(import.conflicts.reason(), "TypeConflict");
    assert_eq!(
        import.conflicts.message(),
        "Conflicting type. Using \"ClusterSetIP\" from oldest service export in \"cluster-1\". \
         2/5 clusters disagree."
    );
}

#[test]
fn a_long_message_is_cut() {
    let annotated = ClusterExportSpec {
        exported_annotations: [("a".to_owned(), "é".repeat(60_000))].into(),
        ..export("east", 1, &[])
    };
    let import = merge(&[&annotated, &export("west", 2, &[])]).unwrap();
    assert!(
        import.conflicts.message().len() < 1024,
        "{}",
        import.conflicts.message()
    );
}

#[test]
fn a_default_that_is_written_out_is_no_conflict() {
    let written = ClusterExportSpec {
        session_affinity: Some("None".to_owned()),
        internal_traffic_policy: Some("Cluster".to_owned()),
        ..export("east", 1, &[])
    };
    assert!(
        merge(&[&written, &export("west", 2, &[])])
            .unwrap()
            .conflicts
            .is_empty()
    );
}

#[test]
fn readiness_and_the_order_of_ports_and_families_are_no_conflict() {
    let east = ClusterExportSpec {
        ready: true,
        ip_families: vec!["IPv4".to_owned(), "IPv6".to_owned()],
        ..export("east", 1, &[("a", "TCP", 1), ("b", "TCP", 2)])
    };
    let west = ClusterExportSpec {
        ip_families: vec!["IPv6".to_owned(), "IPv4".to_owned()],
        ..export("west", 2, &[("b", "TCP", 2), ("a", "TCP", 1)])
    };
    assert!(merge(&[&east, &west]).unwrap().conflicts.is_empty());
}

#[test]
fn a_family_that_not_all_have_is_a_conflict() {
    let with = |cluster, age, families: &[&str]| ClusterExportSpec {
        ip_families: families.iter().map(|family| (*family).to_owned()).collect(),
        ..export(cluster, age, &[])
    };
    let both = with("east", 1, &["IPv6", "IPv4"]);
    let one = with("west", 2, &["IPv4"]);

    let import = merge(&[&one, &both]).unwrap();

    assert_eq!(import.conflicts.reason(), "IPFamilyConflict");
    assert_eq!(
        import.conflicts.message(),
        "Conflicting IP families. Using \"IPv6,IPv4\" from oldest service export in \"east\". 1/2 \
         clusters disagree."
    );
    assert_eq!(import.ip_families, ["IPv6", "IPv4"]);
}

#[test]
fn a_headless_import_has_no_affinity_to_disagree_about() {
    let east = ClusterExportSpec {
        type_: ServiceImportType::Headless,
        session_affinity: Some("ClientIP".to_owned()),
        ..export("east", 1, &[])
    };
    let west = ClusterExportSpec {
        type_: ServiceImportType::Headless,
        ..export("west", 2, &[])
    };
    assert!(merge(&[&east, &west]).unwrap().conflicts.is_empty());
}

#[test]
fn ports_are_a_union_and_each_goes_to_those_who_have_it() {
    let east = export("east", 1, &[("http", "TCP", 80), ("stcp", "SCTP", 142)]);
    let west = export(
        "west",
        2,
        &[
            ("http", "TCP", 80),
            ("dns", "UDP", 53),
            ("dns-tcp", "TCP", 53),
        ],
    );

    let import = merge(&[&west, &east]).unwrap();

    let found: Vec<(&str, Vec<&str>)> = import.ports.iter().map(shown).collect();
    assert_eq!(
        found,
        [
            ("http", vec!["east", "west"]),
            ("stcp", vec!["east"]),
            ("dns", vec!["west"]),
            ("dns-tcp", vec!["west"]),
        ]
    );
    assert_eq!(import.conflicts.reason(), "PortConflict");
    assert_eq!(
        import.conflicts.message(),
        "Conflicting ports. Using \"http:80/TCP, stcp:142/SCTP\" from oldest service export in \
         \"east\" and what only others expose. 1/2 clusters disagree."
    );
    assert_eq!(
        import.ports_of("east").map(|p| p.port).collect::<Vec<_>>(),
        [80, 142]
    );
}

#[test]
fn a_port_that_is_taken_by_name_or_number_goes_to_the_older_alone() {
    // (the younger's port, whether it is dropped)
    let cases = [
        (("http", "TCP", 8080), true),
        (("http", "UDP", 80), true),
        (("web", "TCP", 80), true),
        (("web", "UDP", 80), false),
        (("web", "TCP", 8080), false),
    ];
    for (port, dropped) in cases {
        let east = export("east", 1, &[("http", "TCP", 80)]);
        let west = export("west", 2, &[port]);
        let import = merge(&[&west, &east]).unwrap();
        assert_eq!(import.ports.len(), if dropped { 1 } else { 2 }, "{port:?}");
        assert_eq!(shown(&import.ports[0]), ("http", vec!["east"]), "{port:?}");
        assert_eq!(import.conflicts.reason(), "PortConflict", "{port:?}");
    }
}

#[test]
fn a_younger_port_may_take_what_a_dropped_one_left() {
    let first = export("a", 1, &[("http", "TCP", 80)]);
    let second = export("b", 2, &[("http", "TCP", 8080)]);
    let third = export("c", 3, &[("alt", "TCP", 8080)]);
    let import = merge(&[&first, &second, &third]).unwrap();
    let found: Vec<(&str, Vec<&str>)> = import.ports.iter().map(shown).collect();
    assert_eq!(found, [("http", vec!["a"]), ("alt", vec!["c"])]);
}

#[test]
fn another_application_protocol_is_a_conflict_that_keeps_nobody_out() {
    let east = export("east", 1, &[("http", "TCP", 80)]);
    let mut west = export("west", 2, &[("http", "TCP", 80)]);
    west.ports[0].app_protocol = Some("http".to_owned());
    let import = merge(&[&east, &west]).unwrap();
    assert_eq!(shown(&import.ports[0]), ("http", vec!["east", "west"]));
    assert_eq!(import.conflicts.reason(), "PortConflict");
}

#[test]
fn several_derived_ports_all_have_a_name() {
    let names = |ports: &[(&str, &str, i32)]| {
        let exports: Vec<_> = ports
            .iter()
            .enumerate()
            .map(|(n, port)| export(&format!("c{n}"), 1, &[*port]))
            .collect();
        merge(&exports.iter().collect::<Vec<_>>())
            .unwrap()
            .derived_port_names()
    };
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(names(&[("", "TCP", 80)]), [None]);
    assert_eq!(names(&[("http", "TCP", 80)]), [some("http")]);
    assert_eq!(
        names(&[("", "TCP", 80), ("dns", "UDP", 53)]),
        [some("tcp-80"), some("dns")]
    );
    assert_eq!(
        names(&[("", "TCP", 80), ("tcp-80", "TCP", 81)]),
        [some("tcp-80-x"), some("tcp-80")]
    );
}

fn shown(port: &ImportPort) -> (&str, Vec<&str>) {
    let name = port.port.name.as_deref().unwrap_or_default();
    (name, port.clusters.iter().map(String::as_str).collect())
}

fn export(cluster: &str, created_at: i64, ports: &[(&str, &str, i32)]) -> ClusterExportSpec {
    ClusterExportSpec {
        cluster: cluster.to_owned(),
        namespace: "demo".to_owned(),
        name: "hello".to_owned(),
        created_at: Time(Timestamp::from_second(created_at).unwrap()),
        type_: ServiceImportType::ClusterSetIP,
        ports: ports
            .iter()
            .map(|&(name, protocol, port)| ServicePort {
                name: (!name.is_empty()).then(|| name.to_owned()),
                protocol: protocol.to_owned(),
                app_protocol: None,
                port,
            })
            .collect(),
        session_affinity: None,
        session_affinity_config: None,
        internal_traffic_policy: None,
        traffic_distribution: None,
        ip_families: Vec::new(),
        exported_labels: BTreeMap::new(),
        exported_annotations: BTreeMap::new(),
        ready: false,
        endpoints: Vec::new(),
        proxy_protocol: None,
    }
}

fn affinity(seconds: i32) -> SessionAffinityConfig {
    SessionAffinityConfig {
        client_ip: Some(ClientIPConfig {
            timeout_seconds: Some(seconds),
        }),
    }
}
