use std::collections::BTreeSet;

use tombolo_crds::ClusterExport;

use super::set;
use super::world::{World, copy, derived_name, gateway};
use crate::gateways::Listing;

#[test]
fn another_clusters_endpoints_are_the_gateways_that_are_linked_to_it() {
    let mut world = importing(&[
        gateway("10.1.0.1", &["west"]),
        gateway("10.1.0.2", &["west", "north"]),
        gateway("10.1.0.3", &["north"]),
    ]);
    world.settle();

    let port = world.gateway_port(80);
    let expected = [format!("10.1.0.1:{port}"), format!("10.1.0.2:{port}")];
    assert_eq!(world.endpoints("west")["http"], expected.into());
}

#[test]
fn a_cluster_that_is_not_ready_has_no_endpoints() {
    let mut world = importing(&[gateway("10.1.0.1", &["west"])]);
    world.settle();
    assert!(!world.endpoints("west").is_empty());
    let mut unready = copy("west", &[("http", 80)]);
    unready.spec.ready = false;

    world.put(unready);
    world.settle();

    assert!(world.endpoints("west").is_empty());
    assert!(world.import().is_some());
}

#[test]
fn a_port_goes_only_to_clusters_that_have_it() {
    let mut world = importing(&[gateway("10.1.0.1", &["west", "north"])]);
    let mut north = copy("north", &[("http", 80), ("admin", 81)]);
    north.spec.created_at.0 += std::time::Duration::from_secs(60);
    world.put(north);

    world.settle();

    assert_eq!(world.endpoints("west").keys().collect::<Vec<_>>(), ["http"]);
    assert_eq!(
        world.endpoints("north").keys().collect::<Vec<_>>(),
        ["admin", "http"]
    );
}

#[test]
fn what_gateways_do_not_carry_is_not_listed() {
    let mut world = importing(&[gateway("10.1.0.1", &["west"])]);
    let mut mixed = copy("west", &[("http", 80), ("dns", 53), ("signals", 2905)]);
    mixed.spec.ports[1].protocol = "UDP".to_owned();
    mixed.spec.ports[2].protocol = "SCTP".to_owned();
    world.put(mixed);

    world.settle();

    assert_eq!(
        world.endpoints("west").keys().collect::<Vec<_>>(),
        ["dns", "http"]
    );
    assert_eq!(world.import().unwrap().spec.ports.len(), 3);
}

#[test]
fn a_replica_is_listed_once_it_listens() {
    let mut late = gateway("10.1.0.1", &["west"]);
    late.listening = Some(1);
    let mut world = importing(&[late.clone()]);
    world.settle();
    assert!(world.endpoints("west").is_empty());

    late.listening = world.view().ports_since;
    set_gateways(&mut world, &[late]);
    world.settle();

    assert_eq!(world.endpoints("west")["http"].len(), 1);
}

#[test]
fn a_port_that_is_added_takes_nothing_from_the_others() {
    let mut replica = gateway("10.1.0.1", &["west"]);
    replica.listening = Some(1_000);
    let mut world = importing(&[replica.clone()]);
    world.settle();
    // The Service of the next revision is beyond what the replica has seen.
    replica.listening = world.view().ports_since;
    set_gateways(&mut world, &[replica.clone()]);

    world.put(copy("west", &[("http", 80), ("admin", 81)]));
    world.settle();
    assert_eq!(world.endpoints("west").keys().collect::<Vec<_>>(), ["http"]);

    replica.listening = world.view().ports_since;
    set_gateways(&mut world, &[replica]);
    let written = world.settle();

    assert_eq!(written, ["EndpointSlice", "-EndpointSlice"]);
    assert_eq!(
        world.endpoints("west").keys().collect::<Vec<_>>(),
        ["admin", "http"]
    );
}

#[test]
fn a_replica_that_was_not_heard_yet_keeps_its_place_and_gets_no_new_one() {
    let mut unheard = gateway("10.1.0.1", &["west"]);
    unheard.heard = false;
    let mut world = importing(&[unheard.clone()]);
    world.settle();
    assert!(world.endpoints("west").is_empty());

    set_gateways(&mut world, &[gateway("10.1.0.1", &["west"])]);
    world.settle();
    assert_eq!(world.endpoints("west")["http"].len(), 1);
    set_gateways(&mut world, &[unheard]);

    assert_eq!(world.settle(), [] as [&str; 0]);
}

#[test]
fn a_replica_whose_container_restarted_leaves_until_it_listens() {
    let mut replica = gateway("10.1.0.1", &["west"]);
    let mut world = importing(&[replica.clone()]);
    world.settle();

    replica.listening = None;
    set_gateways(&mut world, &[replica]);
    world.settle();

    assert!(world.endpoints("west").is_empty());
}

#[test]
fn a_replica_is_not_listed_with_ports_that_it_refuses() {
    let mut world = importing(&[gateway("10.1.0.1", &["west"])]);
    world.put(copy("west", &[("http", 80), ("admin", 81)]));
    world.settle();
    let refused = u16::try_from(world.gateway_port(81)).unwrap();
    let mut replica = gateway("10.1.0.1", &["west"]);
    replica.refused.insert(refused);

    set_gateways(&mut world, &[replica, gateway("10.1.0.2", &["west"])]);
    world.settle();

    let admin = world.gateway_port(81);
    assert_eq!(
        world.endpoints("west")["admin"],
        set(&[&format!("10.1.0.2:{admin}")])
    );
    assert_eq!(world.endpoints("west")["http"].len(), 2);
}

#[test]
fn a_gateway_is_the_same_endpoint_in_the_slices_of_all_clusters() {
    let mut world = importing(&[gateway("10.1.0.1", &["west", "north"])]);
    world.put(copy("north", &[("http", 80)]));

    world.settle();

    let slices = world.view().slices;
    assert_eq!(slices.len(), 2);
    assert_eq!(slices[0].endpoints, slices[1].endpoints);
    assert!(slices[0].endpoints[0].hints.is_none());
}

#[test]
fn a_family_that_the_clusterset_ip_has_not_is_not_listed() {
    let mut replica = gateway("10.1.0.1", &["west"]);
    replica.addresses.push("fd00::1".parse().unwrap());
    let mut world = importing(&[replica]);

    world.settle();

    let names: Vec<_> = world
        .view()
        .slices
        .iter()
        .map(|slice| slice.metadata.name.clone().unwrap())
        .collect();
    assert_eq!(names, [format!("{}-west-ipv4", derived_name())]);
}

#[test]
fn the_last_export_gone_takes_the_import_with_it() {
    let mut world = importing(&[gateway("10.1.0.1", &["west"])]);
    world.settle();
    world.remove::<ClusterExport>("tombolo-system", "web.demo.west");

    assert_eq!(
        world.settle(),
        ["-EndpointSlice", "-Service", "-ServiceImport"]
    );
}

/// `west` exports `web`; these are the gateways here.
fn importing(gateways: &[Listing]) -> World {
    let mut world = World::new();
    world.put(copy("west", &[("http", 80)]));
    set_gateways(&mut world, gateways);
    world
}

fn set_gateways(world: &mut World, gateways: &[Listing]) {
    world
        .index
        .set_gateways(gateways.iter().cloned(), &BTreeSet::new());
}
