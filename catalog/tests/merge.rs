//! Properties of the merge, for any exports that pass validation.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tombolo_catalog::{Import, merge, validate};
use tombolo_crds::ClusterExportSpec;
use tombolo_crds::mcs::{ServiceImportType, ServicePort};

proptest! {
    #[test]
    fn the_order_of_arrival_does_not_matter(
        (exports, shuffled) in exports().prop_flat_map(|e| (Just(e.clone()), Just(e).prop_shuffle()))
    ) {
        prop_assert_eq!(merged(&exports), merged(&shuffled));
    }

    #[test]
    fn twice_is_once(exports in exports(), again in any::<prop::sample::Index>()) {
        let mut repeated = exports.clone();
        repeated.push(again.get(&exports).clone());
        prop_assert_eq!(merged(&exports), merged(&repeated));
    }

    #[test]
    fn two_exports_of_one_cluster_count_as_one_in_any_order(
        exports in exports(),
        other in export("c0"),
    ) {
        let mut first = exports.clone();
        first.insert(0, other.clone());
        let mut last = exports;
        last.push(other);
        prop_assert_eq!(merged(&first), merged(&last));
    }

    #[test]
    fn names_and_numbers_of_ports_are_unique(exports in exports()) {
        let import = merged(&exports);
        let names: BTreeSet<_> = import.ports.iter().map(|p| &p.port.name).collect();
        let numbers: BTreeSet<_> =
            import.ports.iter().map(|p| (&p.port.protocol, p.port.port)).collect();
        prop_assert_eq!(names.len(), import.ports.len());
        prop_assert_eq!(numbers.len(), import.ports.len());

        let derived = import.derived_port_names();
        prop_assert_eq!(derived.len(), import.ports.len());
        if derived.len() > 1 {
            let named: BTreeSet<_> = derived.iter().flatten().collect();
            prop_assert_eq!(named.len(), derived.len());
        }
    }

    #[test]
    fn a_cluster_serves_exactly_the_ports_that_it_exports(exports in exports()) {
        let import = merged(&exports);
        for port in &import.ports {
            for export in &exports {
                let exposes = export.ports.iter().any(|p| identity(p) == identity(&port.port));
                prop_assert_eq!(port.is_served_by(&export.cluster), exposes);
            }
            prop_assert!(!port.clusters.is_empty());
            prop_assert!(port.clusters.is_sorted());
        }
    }

    #[test]
    fn no_port_is_lost_but_to_an_older_one(exports in exports()) {
        let import = merged(&exports);
        for port in exports.iter().flat_map(|export| &export.ports) {
            let kept_or_taken = import.ports.iter().any(|kept| {
                kept.port.name == port.name
                    || (&kept.port.protocol, kept.port.port) == (&port.protocol, port.port)
            });
            prop_assert!(kept_or_taken, "{port:?} is missing in {:?}", import.ports);
        }
        let oldest = exports.iter().find(|e| e.cluster == import.oldest).unwrap();
        let first: Vec<_> =
            import.ports.iter().take(oldest.ports.len()).map(|p| p.port.clone()).collect();
        prop_assert_eq!(&first, &oldest.ports);
    }

    #[test]
    fn conflicts_are_raised_exactly_if_something_differs(exports in exports()) {
        let import = merged(&exports);
        let first = &exports[0];
        let ports = |e: &ClusterExportSpec| e.ports.iter().cloned().collect::<BTreeSet<_>>();
        let families = |e: &ClusterExportSpec| e.ip_families.iter().cloned().collect::<BTreeSet<_>>();
        let expected = [
            ("PortConflict", exports.iter().any(|e| ports(e) != ports(first))),
            ("TypeConflict", exports.iter().any(|e| e.type_ != first.type_)),
            ("LabelsConflict", exports.iter().any(|e| e.exported_labels != first.exported_labels)),
            (
                "TrafficDistributionConflict",
                exports.iter().any(|e| e.traffic_distribution != first.traffic_distribution),
            ),
            ("IPFamilyConflict", exports.iter().any(|e| families(e) != families(first))),
        ];
        let reasons: Vec<&str> = expected.iter().filter(|(_, d)| *d).map(|(r, _)| *r).collect();
        let expected = if reasons.is_empty() { "NoConflicts".to_owned() } else { reasons.join(",") };
        prop_assert_eq!(import.conflicts.reason(), expected);
    }

    #[test]
    fn a_conflict_says_who_wins_and_how_many_disagree(exports in exports()) {
        let import = merged(&exports);
        for conflict in import.conflicts.iter() {
            let of_all = format!("/{} clusters disagree.", exports.len());
            let winner = format!("oldest service export in {:?}", import.oldest);
            prop_assert!(conflict.message.ends_with(&of_all), "{}", conflict.message);
            prop_assert!(conflict.message.contains(&winner), "{}", conflict.message);
        }
    }
}

fn merged(exports: &[ClusterExportSpec]) -> Import {
    merge(&exports.iter().collect::<Vec<_>>()).expect("there is an export")
}

fn identity(port: &ServicePort) -> (Option<&str>, &str, i32) {
    (port.name.as_deref(), &port.protocol, port.port)
}

/// One to five clusters with one export each. Few distinct values, so that they often agree.
fn exports() -> impl Strategy<Value = Vec<ClusterExportSpec>> {
    let clusters = vec!["c0", "c1", "c2", "c3", "c4"];
    subsequence(clusters, 1..=5)
        .prop_flat_map(|clusters| clusters.into_iter().map(export).collect::<Vec<_>>())
}

fn export(cluster: &'static str) -> impl Strategy<Value = ClusterExportSpec> {
    let type_ = select(vec![
        ServiceImportType::ClusterSetIP,
        ServiceImportType::Headless,
    ]);
    let families = select(vec![
        vec!["IPv4"],
        vec!["IPv6", "IPv4"],
        vec!["IPv4", "IPv6"],
    ]);
    let distribution = option::of(Just("PreferClose".to_owned()));
    let label = option::of(select(vec!["blue", "green"]));
    (
        0_i64..3,
        type_,
        vec(port(), 1..4),
        families,
        distribution,
        label,
    )
        .prop_map(
            move |(age, type_, ports, families, traffic_distribution, label)| ClusterExportSpec {
                cluster: cluster.to_owned(),
                namespace: "demo".to_owned(),
                name: "hello".to_owned(),
                created_at: Time(Timestamp::from_second(age).expect("it is small")),
                type_,
                ports,
                session_affinity: None,
                session_affinity_config: None,
                internal_traffic_policy: None,
                traffic_distribution,
                ip_families: families.into_iter().map(str::to_owned).collect(),
                exported_labels: label
                    .map(|value| ("team".to_owned(), value.to_owned()))
                    .into_iter()
                    .collect(),
                exported_annotations: Default::default(),
                ready: true,
                endpoints: Vec::new(),
                proxy_protocol: None,
            },
        )
        .prop_filter("two ports of an export are alike", |export| {
            validate(export).is_ok()
        })
}

fn port() -> impl Strategy<Value = ServicePort> {
    let name = select(vec![None, Some("http"), Some("dns"), Some("tcp-80")]);
    let protocol = select(vec!["TCP", "UDP", "SCTP"]);
    (name, protocol, select(vec![53, 80, 8080])).prop_map(|(name, protocol, port)| ServicePort {
        name: name.map(str::to_owned),
        protocol: protocol.to_owned(),
        app_protocol: None,
        port,
    })
}
