//! The EndpointSlices of a derived Service: one set a source cluster.
//!
//! This cluster's own pods are in copies of their Service's slices, with their own ports. Another
//! cluster's are behind the gateways here: the addresses of the replicas that are linked to it and
//! listen on the import's gateway ports. kube-proxy merges equal addresses and ports of several
//! slices in no certain order, so a gateway's endpoint is the same in each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use data_encoding::BASE32HEX_NOPAD;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use sha2::{Digest, Sha256};
use tombolo_catalog::Import;
use tombolo_crds::ClusterExportSpec;
use tombolo_crds::well_known::{
    KUBE_SERVICE_NAME_LABEL, MANAGED_BY_LABEL, MANAGER, MANAGER_LABEL, SERVICE_NAME_LABEL,
    SLICE_MANAGER, SOURCE_CLUSTER_LABEL,
};

use super::action::{Action, DeletedKind};
use super::derived::{self, GatewayPorts};
use super::view::View;
use super::{import, ownership};

pub(super) mod gateways;
mod hints;
pub(super) mod local;

pub(super) struct Slices {
    pub(super) actions: Vec<Action>,
    /// Somebody else's slice where one of ours should be.
    pub(super) foreign: Option<String>,
}

/// Whether any endpoint of a Service takes new connections. kube-proxy and the gateways give them to
/// ready ones (discovery/v1: one that does not say is ready), and if there is none, to those that
/// are about to end but still serve.
pub(super) fn any_takes_traffic(slices: &[Arc<EndpointSlice>]) -> bool {
    let slices = slices.iter().filter(|slice| is_of_addresses(slice));
    let slices = slices.filter(|slice| !ownership::is_our_slice(slice));
    let mut endpoints = slices.flat_map(|slice| &slice.endpoints);
    endpoints.any(|endpoint| {
        let Some(conditions) = &endpoint.conditions else {
            return true;
        };
        let ready = conditions.ready.unwrap_or(true);
        ready || conditions.terminating == Some(true) && conditions.serving == Some(true)
    })
}

/// Whether an endpoint takes new connections.
pub(super) fn is_ready(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions
        .and_then(|conditions| conditions.ready)
        .unwrap_or(true)
}

pub(super) fn plan(
    view: &View,
    import: &Import,
    exports: &[&ClusterExportSpec],
    ports: &GatewayPorts,
    derived: &Service,
    owner: &OwnerReference,
) -> Slices {
    let families: Vec<&str> = derived
        .spec
        .iter()
        .flat_map(|spec| spec.ip_families.iter().flatten())
        .map(String::as_str)
        .collect();
    let mut parts = Vec::new();
    for export in exports
        .iter()
        .filter(|export| import.clusters.contains(&export.cluster))
    {
        if *export.cluster == *view.cluster {
            parts.extend(own_parts(view, import, ports, derived));
        } else if export.ready {
            parts.extend(gateways::parts(
                view,
                import,
                ports,
                derived,
                &export.cluster,
            ));
        }
    }
    parts.retain(|part| families.contains(&part.address_type.as_str()));
    hints::set(import, &view.cluster, &mut parts);
    let derived = derived::name(view);
    let desired = parts.into_iter().map(|part| {
        let mut slice = slice(view, owner, part);
        let labels = slice.metadata.labels.get_or_insert_default();
        labels.insert(KUBE_SERVICE_NAME_LABEL.to_owned(), derived.clone());
        slice
    });
    compare(&view.slices, desired.collect())
}

/// This cluster's own pods; or the gateways before them, where these split all traffic. While no
/// gateway listens, the pods are better than nothing; and what is to stay on the node, stays.
fn own_parts(view: &View, import: &Import, ports: &GatewayPorts, derived: &Service) -> Vec<Part> {
    let stays_on_node = import.internal_traffic_policy.as_deref() == Some("Local");
    if view.exact && !stays_on_node && any_takes_traffic(&view.service_slices) {
        let parts = gateways::parts(view, import, ports, derived, &view.cluster);
        if !parts.is_empty() {
            return parts;
        }
    }
    let names: Vec<_> = ports.iter().map(|(name, place, _)| (name, place)).collect();
    local::parts(view, import, &names)
}

/// The families of the endpoints of this cluster's own Service, which may have more: one without a
/// selector has both in a cluster of one.
pub(super) fn own_families(view: &View) -> BTreeSet<&str> {
    let slices = view.service_slices.iter();
    let slices = slices.filter(|slice| is_of_addresses(slice) && !slice.endpoints.is_empty());
    slices.map(|slice| slice.address_type.as_str()).collect()
}

/// Why nothing of an import can be reached by addresses of these `families`: there are endpoints,
/// but of other families only.
pub(super) fn unusable_families(
    view: &View,
    import: &Import,
    families: &[String],
) -> Option<String> {
    let exports_here = super::exports_here(view, import);
    let own = own_families(view).into_iter().filter(|_| exports_here);
    let has_peers = import.clusters.len() > usize::from(exports_here);
    let gateways = view.gateways.iter().filter(|_| has_peers);
    let gateways = gateways.flat_map(|replica| &replica.addresses);
    let found: BTreeSet<&str> = own
        .chain(gateways.map(|address| gateways::family(*address)))
        .collect();
    let is_usable = found.is_empty() || families.iter().any(|f| found.contains(f.as_str()));
    (!is_usable).then(|| {
        let found: Vec<&str> = found.into_iter().collect();
        format!(
            "Its clusterset IPs are {}, and what is behind them has {} only",
            families.join(", "),
            found.join(", ")
        )
    })
}

/// What is particular about one slice.
pub(super) struct Part {
    pub(super) cluster: String,
    /// What tells it from other slices of the same cluster.
    pub(super) suffix: String,
    pub(super) address_type: String,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) ports: Vec<EndpointPort>,
}

/// A slice of the import, but of no Service: kube-proxy passes it by.
pub(super) fn slice(view: &View, owner: &OwnerReference, part: Part) -> EndpointSlice {
    let derived = derived::name(view);
    let labels = [
        (SERVICE_NAME_LABEL, view.name.name.as_str()),
        (SOURCE_CLUSTER_LABEL, &part.cluster),
        (MANAGED_BY_LABEL, SLICE_MANAGER),
        (MANAGER_LABEL, MANAGER),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(format!("{derived}-{}-{}", part.cluster, part.suffix)),
            namespace: Some(view.name.namespace.clone()),
            labels: Some(labels.into_iter().collect()),
            owner_references: Some(vec![owner.clone()]),
            ..ObjectMeta::default()
        },
        address_type: part.address_type,
        endpoints: part.endpoints,
        ports: Some(part.ports),
    }
}

/// What is to be done that there are the `desired` slices, and no others of ours.
pub(super) fn compare(all: &[Arc<EndpointSlice>], desired: Vec<EndpointSlice>) -> Slices {
    let by_name: BTreeMap<_, _> = all
        .iter()
        .map(|slice| (slice.metadata.name.as_deref(), slice))
        .collect();
    let names: BTreeSet<_> = desired
        .iter()
        .map(|slice| slice.metadata.name.clone())
        .collect();
    let mut slices = Slices {
        actions: Vec::new(),
        foreign: None,
    };
    for slice in desired {
        match by_name.get(&slice.metadata.name.as_deref()) {
            Some(found) if !ownership::is_our_slice(found) => {
                let name = found.metadata.name.as_deref().unwrap_or_default();
                slices.foreign = Some(format!("EndpointSlice {name}"));
            }
            Some(found) if is_settled(found, &slice) => {}
            Some(_) | None => slices.actions.push(Action::ApplySlice(Box::new(slice))),
        }
    }
    let ours = all.iter().filter(|slice| ownership::is_our_slice(slice));
    let gone = ours.filter(|slice| !names.contains(&slice.metadata.name));
    slices.actions.extend(
        gone.filter_map(|slice| import::delete(DeletedKind::EndpointSlice, &slice.metadata)),
    );
    slices
}

fn is_settled(found: &EndpointSlice, desired: &EndpointSlice) -> bool {
    let owners = desired.metadata.owner_references.iter().flatten();
    found.address_type == desired.address_type
        && found.endpoints == desired.endpoints
        && found.ports == desired.ports
        && ownership::is_same_map(
            found.metadata.labels.as_ref(),
            desired.metadata.labels.as_ref(),
        )
        && owners
            .into_iter()
            .all(|owner| ownership::has_owner(&found.metadata, owner))
}

pub(super) fn is_of_addresses(slice: &EndpointSlice) -> bool {
    matches!(slice.address_type.as_str(), "IPv4" | "IPv6")
}

/// A port as the API stores it: nothing is left for it to fill in.
pub(super) fn endpoint_port(
    name: Option<&str>,
    import: &Import,
    place: usize,
    number: Option<i32>,
) -> EndpointPort {
    let port = &import.ports[place].port;
    EndpointPort {
        name: Some(name.unwrap_or_default().to_owned()),
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
        port: number,
    }
}

/// A few characters that stand for a text that may be too long for a name.
fn short_hash(text: &str) -> String {
    const CHARS: usize = 10;
    let mut hash = BASE32HEX_NOPAD
        .encode(&Sha256::digest(text))
        .to_ascii_lowercase();
    hash.truncate(CHARS);
    hash
}
