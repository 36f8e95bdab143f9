use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::discovery::v1::Endpoint;
use tombolo_catalog::MAX_ENDPOINTS;
use tombolo_crds::mcs::{ServiceExport, ServiceImportType};
use tombolo_crds::well_known::{KUBE_SERVICE_NAME_LABEL, SOURCE_CLUSTER_LABEL};
use tombolo_crds::{ClusterExport, ExportedEndpoint};

use super::world::{
    ADDRESS_CAP, ADDRESS_REST, SYSTEM, World, copy, endpoint, export, gateway, service, slice,
};
use super::{set, told};

mod caps;
mod changes;
mod exporting;
mod importing;

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

/// As the pods of a StatefulSet are called.
fn names(count: usize) -> Vec<&'static str> {
    let names = (0..count).map(|number| format!("web-{number}"));
    names.map(|name| &*name.leak()).collect()
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
