use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use proptest::prelude::*;
use tombolo_catalog::MAX_ENDPOINTS;
use tombolo_crds::mcs::{ServiceExport, ServiceImportType};
use tombolo_crds::well_known::{KUBE_SERVICE_NAME_LABEL, SOURCE_CLUSTER_LABEL};
use tombolo_crds::{ClusterExport, ExportedEndpoint};

use super::world::{
    ADDRESS_CAP, ADDRESS_REST, SYSTEM, World, copy, endpoint, export, gateway, service, slice,
};
use super::{set, told};

#[test]
fn a_headless_service_tells_its_endpoints() {
    let mut world = exporting();

    world.settle();

    let own = world.own_export().unwrap();
    assert_eq!(own.type_, ServiceImportType::Headless);
    let told: Vec<_> = own.endpoints.iter().map(|e| (&*e.id, e.ready)).collect();
    assert_eq!(
        told,
        [("10-0-0-9", true), ("web-0", true), ("web-1", false)]
    );
}

#[test]
fn pods_of_one_hostname_are_one_endpoint() {
    let mut world = exporting();
    let mut leaving = slice("web-2", &[("http", 8080)], &[]);
    leaving.endpoints = vec![named("web-1", "10.0.0.7", true)];
    world.put(leaving);

    world.settle();

    let own = world.own_export().unwrap();
    assert_eq!(own.endpoints.len(), 3);
    assert!(own.endpoints[2].ready, "one of the two is");
}

#[test]
fn a_dual_stack_pod_is_one_endpoint_with_the_name_of_its_first_family() {
    let mut world = exporting();
    let mut second = slice("web-6", &[("http", 8080)], &["fd00::9"]);
    second.address_type = "IPv6".to_owned();
    world.put(second);

    world.settle();

    assert_eq!(ids(&world), ["10-0-0-9", "web-0", "web-1"]);
}

#[test]
fn more_endpoints_than_fit_are_not_told_and_a_condition_says_so() {
    let mut world = exporting();
    let mut many = slice("web-2", &[("http", 8080)], &[]);
    many.endpoints = (0..MAX_ENDPOINTS)
        .map(|n| named(&format!("web-{n}"), "10.0.0.7", true))
        .collect();
    world.put(many);

    world.settle();

    assert_eq!(world.own_export().unwrap().endpoints.len(), MAX_ENDPOINTS);
    let export = world.view().export.unwrap();
    let conditions = &export.status.as_ref().unwrap().conditions;
    let ready = conditions.iter().find(|c| c.type_ == "Ready").unwrap();
    assert_eq!(ready.status, "True");
    assert!(ready.message.contains("1000"), "{}", ready.message);
}

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
    let names: Vec<String> = (0..300).map(|n| format!("web-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
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
fn a_new_endpoint_leaves_the_others_as_they_are() {
    let names: Vec<String> = (0..300).map(|n| format!("web-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
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
    let names: Vec<String> = (0..300).map(|n| format!("web-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
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

#[test]
fn beyond_the_cap_endpoints_have_no_address_and_a_condition_says_so() {
    let names: Vec<String> = (0..ADDRESS_CAP + 20).map(|n| format!("web-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = importing(&names);

    world.settle();

    assert_eq!(listed(&world, "west").len(), ADDRESS_CAP);
    assert_eq!(world.import_condition("Ready"), told("False", "Pending"));
    assert!(
        message(&world).starts_with("20 endpoints"),
        "{}",
        message(&world)
    );
    assert!(world.notices.contains(&"EndpointAddressesExhausted"));
    assert!(world.look_again.is_some());

    world.put(headless("west", &names[..ADDRESS_CAP]));
    world.settle();
    assert_eq!(world.import_condition("Ready"), told("True", "Ready"));
}

#[test]
fn addresses_that_rest_are_given_up_when_others_need_one() {
    let all: Vec<String> = (0..2 * ADDRESS_CAP)
        .map(|n| format!("web-{n:03}"))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut world = importing(&all[..ADDRESS_CAP]);
    world.settle();

    world.put(headless("west", &all[ADDRESS_CAP..]));
    world.settle();
    world.settle();

    let listed = listed(&world, "west");
    assert_eq!(listed.len(), ADDRESS_CAP);
    assert!(listed.contains_key(all[ADDRESS_CAP]));
    assert_eq!(world.import_condition("Ready"), told("True", "Ready"));
}

#[test]
fn a_full_service_range_is_a_condition_and_the_others_go_on() {
    let mut world = importing(&["web-0", "web-1", "web-2"]);
    world.addresses = 2;

    world.settle();

    assert_eq!(listed(&world, "west").len(), 2);
    assert!(listed(&world, "west").values().all(is_ready));
    assert_eq!(world.import_condition("Ready"), told("False", "Pending"));
    assert!(
        message(&world).contains("range is full"),
        "{}",
        message(&world)
    );

    world.addresses = 1;
    world.settle();
    assert_eq!(listed(&world, "west").len(), 3);
    assert_eq!(world.import_condition("Ready"), told("True", "Ready"));
}

#[test]
fn running_out_of_gateway_ports_leaves_the_other_endpoints_alone() {
    let mut world = importing(&["web-0"]);
    world.settle();
    super::exhaust(&mut world);

    world.put(headless("west", &["web-0", "web-1"]));
    world.settle();

    assert_eq!(listed(&world, "west").len(), 1);
    assert_eq!(world.import_condition("Ready"), told("False", "Pending"));
    assert!(world.notices.contains(&"GatewayPortsExhausted"));
}

/// Only Tombolo's own namespace is looked at: a user's Service must not become the address of an
/// endpoint of somebody else's service.
#[test]
fn a_users_service_is_no_endpoint_whatever_its_labels() {
    let mut world = importing(&["web-0"]);
    world.settle();
    let ours = world.view().endpoints[0].service.clone();
    let mut liar = (*ours).clone();
    liar.metadata.namespace = Some("mallory".to_owned());
    liar.metadata.uid = None;

    world.put(liar);

    assert_eq!(world.settle(), [] as [&str; 0]);
    assert_eq!(world.view().endpoints.len(), 1);
}

#[test]
fn what_is_deleted_by_hand_is_made_again() {
    let mut world = importing(&["web-0", "web-1"]);
    world.settle();
    let name = world.view().endpoints[0].service.metadata.name.clone();

    world.remove::<Service>(SYSTEM, &name.unwrap());
    world.settle();
    assert_eq!(listed(&world, "west").len(), 2);
    assert!(listed(&world, "west").values().all(is_ready));

    let slice = world.view().endpoint_slices[0].metadata.name.clone();
    world.remove::<EndpointSlice>(SYSTEM, &slice.unwrap());
    world.settle();
    assert_eq!(world.view().endpoint_slices.len(), 2);
    assert_eq!(listed(&world, "west").len(), 2);
}

#[derive(Clone, Debug)]
enum Change {
    /// `west` exports `web` as headless with these endpoints, each ready or not.
    Headless(BTreeMap<&'static str, bool>),
    /// `west` exports it with a clusterset IP.
    Whole,
    Unexported,
    Gateways(u8),
    /// Somebody deletes the first Service of an endpoint.
    Vandal,
    Wait(u64),
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Every change comes to rest, a second look writes nothing, and once all has rested there is
    /// what the last state asks for, and nothing else.
    #[test]
    fn history_does_not_matter(changes in prop::collection::vec(change(), 1..12)) {
        let mut world = importing(&[]);
        for change in &changes {
            make(&mut world, change);
            world.settle();
            prop_assert_eq!(world.settle(), Vec::<String>::new());
        }
        let mut fresh = importing(&[]);
        for change in changes.iter().filter(|change| !matches!(change, Change::Vandal)) {
            make(&mut fresh, change);
        }
        for world in [&mut world, &mut fresh] {
            world.monotonic += ADDRESS_REST;
            world.settle();
        }

        prop_assert_eq!(outcome(&world), outcome(&fresh));
    }
}

fn change() -> impl Strategy<Value = Change> {
    let endpoints = prop::collection::btree_map(
        prop::sample::select(vec!["web-0", "web-1", "web-2", "10-0-0-1"]),
        any::<bool>(),
        0..4,
    );
    prop_oneof![
        4 => endpoints.prop_map(Change::Headless),
        1 => Just(Change::Whole),
        1 => Just(Change::Unexported),
        2 => (0..4_u8).prop_map(Change::Gateways),
        1 => Just(Change::Vandal),
        1 => (0..400_u64).prop_map(Change::Wait),
    ]
}

fn make(world: &mut World, change: &Change) {
    match change {
        Change::Headless(endpoints) => {
            let ids: Vec<&str> = endpoints.keys().copied().collect();
            let mut export = headless("west", &ids);
            for (endpoint, ready) in export.spec.endpoints.iter_mut().zip(endpoints.values()) {
                endpoint.ready = *ready;
            }
            world.put(export);
        }
        Change::Whole => world.put(copy("west", &[("http", 80)])),
        Change::Unexported => world.remove::<ClusterExport>(SYSTEM, "web.demo.west"),
        Change::Gateways(count) => world.index.set_gateways(gateways(*count), &BTreeSet::new()),
        Change::Vandal => {
            if let Some(found) = world.view().endpoints.first() {
                let name = found.service.metadata.name.clone().unwrap_or_default();
                world.remove::<Service>(SYSTEM, &name);
            }
        }
        Change::Wait(seconds) => world.monotonic += Duration::from_secs(*seconds),
    }
}

/// What there is, but for the addresses, which are the API server's to choose.
fn outcome(world: &World) -> impl PartialEq + std::fmt::Debug {
    let view = world.view();
    let ready = |slice: &EndpointSlice| {
        let endpoints = slice.endpoints.iter();
        let ready = endpoints.map(|endpoint| (endpoint.hostname.clone(), is_ready(endpoint)));
        ready.collect::<Vec<_>>()
    };
    let services = view.endpoints.iter();
    (
        view.slices
            .iter()
            .map(|slice| ready(slice))
            .collect::<Vec<_>>(),
        services
            .map(|found| found.service.metadata.name.clone())
            .collect::<BTreeSet<_>>(),
        view.endpoint_slices
            .iter()
            .map(|slice| (slice.metadata.name.clone(), slice.endpoints.clone()))
            .collect::<Vec<_>>(),
        world.allotted.ports.len(),
        world.import_condition("Ready"),
        world.look_again,
    )
}

/// `web` is a headless Service here: two pods of a StatefulSet, one of which is not ready, and one
/// pod without a hostname.
fn exporting() -> World {
    let mut world = World::new();
    let mut service = service(&[("http", 80)]);
    service.spec.as_mut().unwrap().cluster_ip = Some("None".to_owned());
    world.put(service);
    world.put(export());
    let mut slice = slice("web-5", &[("http", 8080)], &["10.0.0.9"]);
    slice.endpoints.push(named("web-0", "10.0.0.1", true));
    slice.endpoints.push(named("web-1", "10.0.0.2", false));
    world.put(slice);
    world
}

/// `west` exports `web` as headless with these endpoints; two gateways here are linked to it.
fn importing(endpoints: &[&str]) -> World {
    let mut world = World::new();
    world.index.set_gateways(gateways(2), &BTreeSet::new());
    world.put(headless("west", endpoints));
    world
}

pub(super) fn headless(cluster: &str, endpoints: &[&str]) -> ClusterExport {
    let mut export = copy(cluster, &[("http", 80)]);
    export.spec.type_ = ServiceImportType::Headless;
    let endpoints = endpoints.iter().map(|id| ExportedEndpoint {
        id: (*id).to_owned(),
        ready: true,
    });
    export.spec.endpoints = endpoints.collect();
    export
}

fn gateways(count: u8) -> Vec<crate::gateways::Listing> {
    (0..count)
        .map(|n| gateway(&format!("10.1.0.{n}"), &["west"]))
        .collect()
}

fn named(hostname: &str, address: &str, ready: bool) -> Endpoint {
    Endpoint {
        hostname: Some(hostname.to_owned()),
        ..endpoint(address, ready)
    }
}

fn ids(world: &World) -> Vec<String> {
    let endpoints = world.own_export().unwrap().endpoints;
    endpoints.into_iter().map(|endpoint| endpoint.id).collect()
}

/// The endpoints of a cluster in the import's slices, by hostname.
fn listed(world: &World, cluster: &str) -> BTreeMap<String, Endpoint> {
    let mut listed = BTreeMap::new();
    for slice in world.view().slices {
        let labels = slice.metadata.labels.clone().unwrap();
        if labels[SOURCE_CLUSTER_LABEL] != cluster {
            continue;
        }
        for endpoint in &slice.endpoints {
            let hostname = endpoint.hostname.clone().unwrap();
            assert!(listed.insert(hostname, endpoint.clone()).is_none());
        }
    }
    listed
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().unwrap().ready.unwrap()
}

fn message(world: &World) -> String {
    let import = world.import().unwrap();
    import.status.as_ref().unwrap().conditions[0]
        .message
        .clone()
}

fn nothing_is_left(world: &World) {
    assert!(world.view().endpoints.is_empty());
    assert!(world.view().endpoint_slices.is_empty());
    assert!(world.view().slices.is_empty());
    assert_eq!(world.allotted.ports.len(), 0);
}
