//! Addresses, Services and slices for the endpoints of other clusters.

use super::*;

#[test]
fn a_headless_import_has_its_own_pods_with_their_own_addresses_and_no_service() {
    let mut world = exporting();

    world.settle();

    let import = world.import().unwrap();
    assert_eq!(import.spec.type_, ServiceImportType::Headless);
    assert!(import.spec.ips.is_empty());
    assert!(world.view().derived.is_none() && world.view().endpoints.is_empty());
    assert_eq!(world.import_condition("Ready"), told("True", "Ready"));
    let status = import.status.clone().unwrap();
    assert_eq!(status.endpoint_slice_objects.as_deref(), Some("Present"));
    assert_eq!(
        world.endpoints("east")["http"],
        set(&["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.9:8080"])
    );
    for slice in world.view().slices {
        let labels = slice.metadata.labels.as_ref().unwrap();
        assert!(!labels.contains_key(KUBE_SERVICE_NAME_LABEL));
    }
}

#[test]
fn each_endpoint_of_another_cluster_has_a_service_and_gateway_ports_of_its_own() {
    let mut world = importing(&["web-0", "web-1", "web-2"]);

    world.settle();

    let listed = listed(&world, "west");
    assert_eq!(listed.len(), 3);
    let addresses: BTreeSet<_> = listed.values().map(|e| &e.addresses[0]).collect();
    assert_eq!(addresses.len(), 3);
    assert!(listed.values().all(is_ready));
    assert_eq!(world.allotted.ports.len(), 3);
    for found in world.view().endpoints {
        let service = &found.service;
        assert_eq!(service.metadata.namespace.as_deref(), Some(SYSTEM));
        let spec = service.spec.as_ref().unwrap();
        assert!(spec.selector.is_none());
        assert_eq!(spec.ports.as_ref().unwrap()[0].port, 80);
    }
    let behind = world.view().endpoint_slices;
    assert_eq!(behind.len(), 3);
    let ports: BTreeSet<_> = behind
        .iter()
        .map(|slice| slice.ports.as_ref().unwrap()[0].port)
        .collect();
    assert_eq!(ports.len(), 3);
    assert_eq!(world.import_condition("Ready"), told("True", "Ready"));
}

/// Clients connect to the Service's port, whatever the gateway's is.
#[test]
fn an_endpoint_is_listed_with_the_ports_of_the_service() {
    let mut world = World::new();
    world.index.set_gateways(gateways(2), &BTreeSet::new());
    let mut export = headless("west", &["web-0"]);
    export.spec.ports = copy("west", &[("http", 80), ("admin", 81)]).spec.ports;
    world.put(export);

    world.settle();

    let ports: Vec<_> = world.endpoints("west").into_keys().collect();
    assert_eq!(ports, ["admin", "http"]);
    let of_port = |name: &str| world.endpoints("west")[name].clone();
    assert!(of_port("http").iter().all(|at| at.ends_with(":80")));
    assert!(of_port("admin").iter().all(|at| at.ends_with(":81")));
    assert_eq!(world.allotted.ports.len(), 2);
}

#[test]
fn readiness_of_one_endpoint_costs_one_slice() {
    let names = names(300);
    let mut world = importing(&names);
    world.settle();
    let mut changed = headless("west", &names);
    changed.spec.endpoints[7].ready = false;

    world.put(changed);

    assert_eq!(world.settle(), ["EndpointSlice"]);
    let id = names[7];
    assert!(!is_ready(&listed(&world, "west")[id]));
}

#[test]
fn a_hundred_endpoints_share_a_slice_and_more_are_spread() {
    let names = names(101);
    let mut world = importing(&names[..100]);
    let mut slices = Vec::new();

    for count in [100, 101, 3] {
        world.put(headless("west", &names[..count]));
        world.settle();
        assert_eq!(listed(&world, "west").len(), count);
        slices.push(world.view().slices.len());
    }

    assert_eq!(slices, [1, 8, 1]);
}

#[test]
fn a_new_endpoint_leaves_the_others_as_they_are() {
    let names = names(300);
    let mut world = importing(&names[..299]);
    world.settle();

    world.put(headless("west", &names));

    assert_eq!(
        world.settle(),
        ["Service", "EndpointSlice", "EndpointSlice"],
        "its Service, the slice behind it, and then the one that it is in"
    );
}

#[test]
fn a_pod_that_restarts_keeps_its_address() {
    let mut world = importing(&["web-0", "web-1"]);
    world.settle();
    let before = listed(&world, "west")["web-1"].addresses.clone();

    world.put(headless("west", &["web-0"]));
    let written = world.settle();
    assert_eq!(written.len(), 1, "a slice of the import: {written:?}");
    assert!(!listed(&world, "west").contains_key("web-1"));
    world.monotonic += ADDRESS_REST - Duration::from_secs(1);
    world.put(headless("west", &["web-0", "web-1"]));
    world.settle();

    assert_eq!(listed(&world, "west")["web-1"].addresses, before);
}

#[test]
fn scaling_up_and_down_leaves_nothing_behind() {
    let names = names(300);
    let mut world = importing(&names[..3]);
    world.settle();
    let before = (world.view().endpoints.len(), world.allotted.ports.len());
    world.put(headless("west", &names));
    world.settle();
    assert_eq!(world.view().endpoints.len(), 300);
    assert_eq!(world.import_condition("Ready"), told("True", "Ready"));

    world.put(headless("west", &names[..3]));
    world.settle();
    assert_eq!(world.view().endpoints.len(), 300, "addresses rest");
    let again = world.look_again.unwrap();
    assert_eq!(again, world.monotonic + ADDRESS_REST);
    world.monotonic = again;
    world.settle();

    assert_eq!(
        (world.view().endpoints.len(), world.allotted.ports.len()),
        before
    );
    assert_eq!(world.view().endpoint_slices.len(), 3);
    assert_eq!(listed(&world, "west").len(), 3);
    assert_eq!(world.look_again, None);
}

#[test]
fn an_export_that_is_withdrawn_leaves_nothing_and_nothing_rests() {
    let mut world = importing(&["web-0", "web-1"]);
    world.settle();

    world.remove::<ClusterExport>(SYSTEM, "web.demo.west");
    world.settle();

    nothing_is_left(&world);
    assert!(world.import().is_none());
}

#[test]
fn an_import_that_is_headless_no_more_has_a_clusterset_ip_and_no_endpoints() {
    let mut world = importing(&["web-0", "web-1"]);
    world.settle();

    world.put(copy("west", &[("http", 80)]));
    world.settle();

    assert!(world.view().endpoints.is_empty() && world.view().endpoint_slices.is_empty());
    assert_eq!(world.allotted.ports.len(), 1);
    assert_eq!(world.import().unwrap().spec.ips.len(), 1);

    world.put(headless("west", &["web-0"]));
    world.settle();
    assert!(world.view().derived.is_none());
    assert!(world.import().unwrap().spec.ips.is_empty());
    assert_eq!(listed(&world, "west").len(), 1);
}

#[test]
fn the_oldest_export_decides_whether_an_import_is_headless() {
    let mut world = exporting();
    world.index.set_gateways(gateways(1), &BTreeSet::new());
    world.put(copy("west", &[("http", 80)]));

    world.settle();

    assert_eq!(
        world.export_condition("Conflict"),
        told("True", "TypeConflict")
    );
    assert_eq!(
        world.import().unwrap().spec.type_,
        ServiceImportType::Headless
    );
    assert!(world.endpoints("west").is_empty(), "it tells no endpoints");
    assert_eq!(world.endpoints("east")["http"].len(), 3);

    world.remove::<ServiceExport>("demo", "web");
    world.settle();
    let mut clusterip = exporting();
    clusterip.put(service(&[("http", 80)]));
    clusterip.index.set_gateways(gateways(1), &BTreeSet::new());
    clusterip.put(headless("west", &["web-0"]));
    clusterip.settle();
    assert!(clusterip.view().endpoints.is_empty());
    assert_eq!(clusterip.endpoints("west")["http"].len(), 1);
}

#[test]
fn endpoints_of_a_cluster_without_a_link_are_not_ready_and_their_services_stay() {
    let mut world = importing(&["web-0", "web-1"]);
    world.settle();
    let unlinked = |n: u8| gateway(&format!("10.1.0.{n}"), &[]);
    world
        .index
        .set_gateways([unlinked(0), unlinked(1)], &BTreeSet::new());

    let written = world.settle();

    assert!(
        written.iter().all(|kind| kind == "EndpointSlice"),
        "{written:?}"
    );
    assert!(written.len() <= 2, "those of the import: {written:?}");
    assert!(!listed(&world, "west").values().any(is_ready));
    world.index.set_gateways(gateways(2), &BTreeSet::new());
    world.settle();
    assert!(listed(&world, "west").values().all(is_ready));
}

#[test]
fn a_replica_that_dies_leaves_the_slices_of_all_endpoints() {
    let mut world = importing(&["web-0", "web-1", "web-2"]);
    world.settle();

    world.index.set_gateways(gateways(1), &BTreeSet::new());

    assert_eq!(world.settle(), ["EndpointSlice"; 3], "one an endpoint");
    for slice in world.view().endpoint_slices {
        assert_eq!(slice.endpoints.len(), 1);
    }
}

#[test]
fn an_endpoint_is_listed_once_a_gateway_listens_for_it() {
    let mut world = importing(&["web-0"]);
    let mut late = gateway("10.1.0.1", &["west"]);
    late.listening = Some(1);
    world.index.set_gateways([late.clone()], &BTreeSet::new());
    world.settle();
    assert!(listed(&world, "west").is_empty());

    late.listening = world.view().endpoints[0].ports_since;
    world.index.set_gateways([late], &BTreeSet::new());
    world.settle();

    assert!(is_ready(&listed(&world, "west")["web-0"]));
}
