//! IP families of the clusterset IPs, and of headless imports' addresses.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use tombolo_crds::ClusterExport;

use super::headless::headless;
use super::world::{ADDRESS_REST, SYSTEM, World, copy, export, gateway, service, slice};

const V4: &str = "IPv4";
const V6: &str = "IPv6";

#[test]
fn clusterset_ips_have_the_families_of_the_importing_cluster() {
    for (cluster, exported, expected) in [
        (&[V4][..], &[V4][..], &[V4][..]),
        (&[V4], &[V6], &[V4]),
        (&[V6], &[V4], &[V6]),
        (&[V4], &[V4, V6], &[V4]),
        (&[V6, V4], &[V4, V6], &[V6, V4]),
        (&[V4, V6], &[V6, V4], &[V4, V6]),
        (&[V4, V6], &[V4], &[V4]),
    ] {
        let mut world = importing(cluster, exported);

        world.settle();

        let import = world.import().unwrap();
        assert_eq!(
            import.spec.ip_families, expected,
            "{exported:?} in {cluster:?}"
        );
        let families: Vec<_> = import.spec.ips.iter().map(|ip| family(ip)).collect();
        assert_eq!(families, expected, "{:?}", import.spec.ips);
        let ready = world.import_condition("Ready");
        assert_eq!(ready, Some(("True".to_owned(), "Ready".to_owned())));
        assert!(
            !world.endpoints("west").is_empty(),
            "{exported:?} in {cluster:?}"
        );
    }
}

#[test]
fn own_pods_of_one_family_are_reached_in_a_cluster_of_both() {
    let mut world = exporting(&[V4, V6], &[V6]);

    world.settle();

    assert_eq!(world.import().unwrap().spec.ip_families, [V6]);
    assert_eq!(world.endpoints("east")["http"].len(), 1);
}

#[test]
fn the_first_family_of_a_clusterset_ip_stays_when_this_cluster_exports_too() {
    let mut world = importing(&[V4, V6], &[V4]);
    world.settle();
    let before = world.import().unwrap().spec.ips.clone();

    world.put(own_service(&[V6]));
    world.put(own_slice(V6));
    world.put(export());
    world.settle();

    let import = world.import().unwrap();
    assert_eq!(import.spec.ip_families, [V4, V6]);
    assert_eq!(import.spec.ips[0], before[0]);
    assert_eq!(world.endpoints("east")["http"].len(), 1);
}

#[test]
fn a_family_that_only_another_clusters_service_had_goes_with_it() {
    let mut world = importing(&[V4, V6], &[V4, V6]);
    world.settle();
    assert_eq!(world.import().unwrap().spec.ip_families, [V4, V6]);

    let mut single = copy("west", &[("http", 80)]);
    single.spec.ip_families = vec![V4.to_owned()];
    world.put(single);
    world.settle();

    assert_eq!(world.import().unwrap().spec.ip_families, [V4]);
    assert_eq!(world.settle(), Vec::<String>::new());
}

#[test]
fn a_headless_import_has_the_families_of_its_addresses_in_the_importing_cluster() {
    for (cluster, exported, expected) in [
        (&[V4][..], &[V4][..], &[V4][..]),
        (&[V4], &[V6], &[V4]),
        (&[V6], &[V4], &[V6]),
        (&[V6, V4], &[V4, V6], &[V6, V4]),
        (&[V4, V6], &[V6], &[V4]),
    ] {
        let mut world = importing_headless(cluster, exported);

        world.settle();

        let spec = world.import().unwrap().spec.clone();
        assert_eq!(spec.ip_families, expected, "{exported:?} in {cluster:?}");
        assert!(spec.ips.is_empty());
        let slices = world.view().slices;
        let listed: BTreeSet<_> = slices.iter().map(|slice| &*slice.address_type).collect();
        assert_eq!(listed, expected.iter().copied().collect());
        assert_eq!(world.settle(), Vec::<String>::new());
    }
}

#[test]
fn own_pods_are_the_first_in_a_headless_import() {
    let mut world = importing_headless(&[V4, V6], &[V4]);
    // As every headless Service without a selector has both.
    let mut own = own_service(&[V4, V6]);
    own.spec.as_mut().unwrap().cluster_ip = Some("None".to_owned());
    world.put(own);
    world.put(own_slice(V6));
    world.put(export());

    world.settle();

    assert_eq!(world.import().unwrap().spec.ip_families, [V6, V4]);
    world.remove::<ClusterExport>(SYSTEM, "web.demo.west");
    world.settle();
    assert_eq!(world.import().unwrap().spec.ip_families, [V6]);
    world.put(own_slice(V4));
    world.settle();
    assert_eq!(world.import().unwrap().spec.ip_families, [V4, V6]);
}

#[test]
fn a_headless_import_keeps_its_families_while_it_has_no_endpoints() {
    let mut world = importing_headless(&[V6], &[V6]);
    world.settle();

    world.put(headless("west", &[]));
    world.settle();
    world.monotonic += ADDRESS_REST;
    world.settle();

    assert!(world.view().endpoints.is_empty());
    assert_eq!(world.import().unwrap().spec.ip_families, [V6]);
    assert_eq!(world.settle(), Vec::<String>::new());
}

/// `west` exports `web` as headless, with one endpoint.
fn importing_headless(cluster: &'static [&'static str], exported: &[&str]) -> World {
    let mut world = importing(cluster, exported);
    let mut west = headless("west", &["web-0"]);
    west.spec.ip_families = exported.iter().map(|family| (*family).to_owned()).collect();
    world.put(west);
    world
}

fn importing(cluster: &'static [&'static str], exported: &[&str]) -> World {
    let mut world = World::new();
    world.families = cluster;
    let mut replica = gateway("10.1.0.1", &["west"]);
    replica.addresses = cluster.iter().map(|family| address(family)).collect();
    world
        .index
        .set_gateways([replica], &[crate::gateways::Change::Replicas].into());
    let mut west = copy("west", &[("http", 80)]);
    west.spec.ip_families = exported.iter().map(|family| (*family).to_owned()).collect();
    world.put(west);
    world
}

fn exporting(cluster: &'static [&'static str], own: &[&str]) -> World {
    let mut world = World::new();
    world.families = cluster;
    world.put(own_service(own));
    for family in own {
        world.put(own_slice(family));
    }
    world.put(export());
    world
}

fn own_service(families: &[&str]) -> Service {
    let mut service = service(&[("http", 80)]);
    let spec = service.spec.as_mut().unwrap();
    spec.ip_families = Some(families.iter().map(|family| (*family).to_owned()).collect());
    service
}

fn own_slice(family: &str) -> EndpointSlice {
    let address = match family {
        V6 => "fd00::5",
        _ => "10.0.0.5",
    };
    let mut slice = slice(&format!("web-{family}"), &[("http", 8080)], &[address]);
    slice.address_type = family.to_owned();
    slice
}

fn address(family: &str) -> std::net::IpAddr {
    match family {
        V6 => "fd00:1::1".parse().unwrap(),
        _ => "10.1.0.1".parse().unwrap(),
    }
}

fn family(ip: &str) -> &'static str {
    if ip.contains(':') { V6 } else { V4 }
}
