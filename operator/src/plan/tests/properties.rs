//! What holds after any sequence of changes.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use proptest::prelude::*;
use proptest::sample::select;
use tombolo_catalog::ServiceName;
use tombolo_crds::ClusterExport;
use tombolo_crds::mcs::{ServiceExport, ServiceImport};

use super::world::{World, copy, derived_name, export, gateway, namespace, service, slice};

const PORTS: [&[(&str, i32)]; 3] = [
    &[("http", 80)],
    &[("http", 80), ("admin", 81)],
    &[("http", 8)],
];
const CLUSTERS: [&str; 2] = ["west", "north"];

#[derive(Clone, Copy, Debug)]
enum Change {
    Export(bool),
    Service(Option<usize>),
    Endpoints(usize),
    Copy(usize, Option<usize>),
    Gateways(usize),
    Namespace(bool),
    /// Somebody deletes what is ours.
    Vandal(Kind),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Import,
    Derived,
    Slices,
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Every change comes to rest, a second look writes nothing, and what there is at the end
    /// depends on what users and other clusters want at the end, not on how it came about.
    #[test]
    fn history_does_not_matter(changes in prop::collection::vec(change(), 1..20)) {
        let mut world = World::new();
        for change in &changes {
            make(&mut world, *change);
            world.settle();
            prop_assert_eq!(world.settle(), Vec::<String>::new());
        }

        let mut fresh = World::new();
        for change in changes.iter().filter(|change| !matches!(change, Change::Vandal(_))) {
            make(&mut fresh, *change);
        }
        fresh.settle();

        prop_assert_eq!(outcome(&world), outcome(&fresh));
    }
}

fn change() -> impl Strategy<Value = Change> {
    let variant = || prop::option::of(0..PORTS.len());
    prop_oneof![
        any::<bool>().prop_map(Change::Export),
        variant().prop_map(Change::Service),
        (0..3_usize).prop_map(Change::Endpoints),
        (0..CLUSTERS.len(), variant()).prop_map(|(cluster, ports)| Change::Copy(cluster, ports)),
        (0..4_usize).prop_map(Change::Gateways),
        any::<bool>().prop_map(Change::Namespace),
        select(vec![Kind::Import, Kind::Derived, Kind::Slices]).prop_map(Change::Vandal),
    ]
}

fn make(world: &mut World, change: Change) {
    match change {
        Change::Export(true) => world.put(export()),
        Change::Export(false) => world.remove::<ServiceExport>("demo", "web"),
        Change::Service(Some(ports)) => world.put(service(PORTS[ports])),
        Change::Service(None) => world.remove::<Service>("demo", "web"),
        Change::Endpoints(0) => world.remove::<EndpointSlice>("demo", "web-1"),
        Change::Endpoints(count) => {
            let addresses = &["10.0.0.1", "10.0.0.2"][..count];
            world.put(slice(
                "web-1",
                &[("http", 8080), ("admin", 8081)],
                addresses,
            ));
        }
        Change::Copy(cluster, Some(ports)) => world.put(copy(CLUSTERS[cluster], PORTS[ports])),
        Change::Copy(cluster, None) => {
            let name = format!("web.demo.{}", CLUSTERS[cluster]);
            world.remove::<ClusterExport>("tombolo-system", &name);
        }
        Change::Gateways(links) => {
            let replicas = CLUSTERS.iter().take(links).enumerate();
            let replicas = replicas.map(|(n, cluster)| gateway(&format!("10.1.0.{n}"), &[cluster]));
            world.index.set_gateways(replicas, &BTreeSet::new());
        }
        Change::Namespace(true) => world.put(namespace("demo")),
        Change::Namespace(false) => {
            // With a namespace goes what is in it.
            world.remove::<Namespace>("", "demo");
            world.remove::<ServiceExport>("demo", "web");
            world.remove::<Service>("demo", "web");
            world.remove::<EndpointSlice>("demo", "web-1");
            for kind in [Kind::Import, Kind::Derived, Kind::Slices] {
                make(world, Change::Vandal(kind));
            }
        }
        Change::Vandal(Kind::Import) => world.remove::<ServiceImport>("demo", "web"),
        Change::Vandal(Kind::Derived) => world.remove::<Service>("demo", &derived_name()),
        Change::Vandal(Kind::Slices) => {
            for slice in world.view().slices {
                let name = slice.metadata.name.clone().unwrap_or_default();
                world
                    .index
                    .delete::<EndpointSlice>(&ServiceName::new("demo", name));
            }
        }
    }
}

/// All that clients and users see of it.
fn outcome(world: &World) -> impl PartialEq + std::fmt::Debug {
    (
        world
            .import()
            .map(|import| (import.spec.clone(), import.metadata.labels.clone())),
        ["east", "west", "north"].map(|cluster| world.endpoints(cluster)),
        world.own_export(),
        ["Valid", "Ready", "Conflict"].map(|type_| world.export_condition(type_)),
        world.import_condition("Ready"),
        world.allotted.ports.len(),
    )
}
