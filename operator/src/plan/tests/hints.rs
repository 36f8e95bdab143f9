//! `trafficDistribution` and `internalTrafficPolicy`: what the endpoints say for kube-proxy.

use std::collections::BTreeSet;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice, ForZone};
use tombolo_crds::well_known::SOURCE_CLUSTER_LABEL;

use super::world::{World, copy, endpoint, export, gateway, service, slice};
use crate::gateways::Change;

#[test]
fn pods_are_for_their_zone_and_gateways_for_no_zone_of_this_cluster() {
    for word in ["PreferClose", "PreferSameZone"] {
        let world = preferring(Some(word), |_| {});

        assert_eq!(zones(&world, "east"), set(&["a", "b"]));
        assert_eq!(zones(&world, "west"), set(&["elsewhere.tombolo.io"]));
        assert!(nodes(&world, "east").is_empty());
    }
}

#[test]
fn who_prefers_a_node_prefers_its_zone_next() {
    let world = preferring(Some("PreferSameNode"), |_| {});

    assert_eq!(nodes(&world, "east"), set(&["node-a", "node-b"]));
    assert_eq!(zones(&world, "east"), set(&["a", "b"]));
    assert_eq!(nodes(&world, "west"), set(&["elsewhere.tombolo.io"]));
}

#[test]
fn without_a_preference_there_are_no_hints_whatever_the_services_own_slices_say() {
    for word in [None, Some("example.org/PreferTheCheapest")] {
        let world = preferring(word, |endpoint| {
            let hints = endpoint.hints.get_or_insert_default();
            hints.for_zones = Some(vec![ForZone {
                name: "a".to_owned(),
            }]);
        });

        assert!(all(&world).iter().all(|endpoint| endpoint.hints.is_none()));
    }
}

#[test]
fn a_pod_without_a_zone_leaves_all_endpoints_without_hints() {
    let world = preferring(Some("PreferSameZone"), |endpoint| {
        if endpoint.addresses == ["10.0.0.2"] {
            endpoint.zone = None;
        }
    });

    assert!(all(&world).iter().all(|endpoint| endpoint.hints.is_none()));
}

#[test]
fn where_there_are_only_gateways_there_is_nothing_to_prefer() {
    let mut world = World::new();
    set_gateway(&mut world);
    let mut west = copy("west", &[("http", 80)]);
    west.spec.traffic_distribution = Some("PreferSameZone".to_owned());
    world.put(west);

    world.settle();

    assert_eq!(all(&world).len(), 1);
    assert!(all(&world)[0].hints.is_none());
}

#[test]
fn the_oldest_exports_preference_counts() {
    // Ours is older than the copy.
    let mut world = preferring(None, |_| {});
    let mut west = copy("west", &[("http", 80)]);
    west.spec.traffic_distribution = Some("PreferSameZone".to_owned());
    world.put(west);

    world.settle();

    assert!(all(&world).iter().all(|endpoint| endpoint.hints.is_none()));
}

#[test]
fn local_traffic_is_for_pods_of_the_node_and_never_for_a_gateway() {
    let mut world = World::new();
    set_gateway(&mut world);
    let mut own = service(&[("http", 80)]);
    own.spec.as_mut().unwrap().internal_traffic_policy = Some("Local".to_owned());
    world.put(own);
    world.put(zoned_slice(|_| {}));
    world.put(export());
    world.put(copy("west", &[("http", 80)]));

    world.settle();

    let derived = world.view().derived.unwrap().spec.clone().unwrap();
    assert_eq!(derived.internal_traffic_policy.as_deref(), Some("Local"));
    let names = |cluster| {
        let endpoints = of(&world, cluster);
        endpoints
            .into_iter()
            .map(|endpoint| endpoint.node_name)
            .collect::<BTreeSet<_>>()
    };
    let nodes = ["node-a", "node-b"].map(|node| Some(node.to_owned()));
    assert_eq!(names("east"), nodes.into());
    assert_eq!(names("west"), [None].into());
}

/// `web` of this cluster, in two zones, and of `west`, with what the Service prefers.
fn preferring(distribution: Option<&str>, change: impl Fn(&mut Endpoint)) -> World {
    let mut world = World::new();
    set_gateway(&mut world);
    let mut own = service(&[("http", 80)]);
    own.spec.as_mut().unwrap().traffic_distribution = distribution.map(str::to_owned);
    world.put(own);
    world.put(zoned_slice(change));
    world.put(export());
    world.put(copy("west", &[("http", 80)]));
    world.settle();
    world
}

fn set_gateway(world: &mut World) {
    let replica = gateway("10.1.0.1", &["west"]);
    world
        .index
        .set_gateways([replica], &[Change::Replicas].into());
}

fn zoned_slice(change: impl Fn(&mut Endpoint)) -> EndpointSlice {
    let mut zoned = slice("web-1", &[("http", 8080)], &[]);
    for (address, zone) in [("10.0.0.1", "a"), ("10.0.0.2", "b")] {
        let mut endpoint = Endpoint {
            zone: Some(zone.to_owned()),
            node_name: Some(format!("node-{zone}")),
            ..endpoint(address, true)
        };
        change(&mut endpoint);
        zoned.endpoints.push(endpoint);
    }
    zoned
}

fn zones(world: &World, cluster: &str) -> BTreeSet<String> {
    let hints = of(world, cluster).into_iter().filter_map(|e| e.hints);
    hints
        .flat_map(|hints| hints.for_zones.unwrap_or_default())
        .map(|zone| zone.name)
        .collect()
}

fn nodes(world: &World, cluster: &str) -> BTreeSet<String> {
    let hints = of(world, cluster).into_iter().filter_map(|e| e.hints);
    hints
        .flat_map(|hints| hints.for_nodes.unwrap_or_default())
        .map(|node| node.name)
        .collect()
}

fn all(world: &World) -> Vec<Endpoint> {
    let slices = world.view().slices;
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.clone());
    endpoints.collect()
}

fn of(world: &World, cluster: &str) -> Vec<Endpoint> {
    let slices = world.view().slices;
    let of_cluster = slices.iter().filter(|slice| {
        let labels = slice.metadata.labels.as_ref().unwrap();
        labels[SOURCE_CLUSTER_LABEL] == cluster
    });
    of_cluster
        .flat_map(|slice| slice.endpoints.clone())
        .collect()
}

fn set(members: &[&str]) -> BTreeSet<String> {
    members.iter().map(|member| (*member).to_owned()).collect()
}
