//! The EndpointSlices of a derived Service: one set a source cluster.
//!
//! This cluster's own pods are in copies of their Service's slices, with their own ports. Another
//! cluster's are behind the gateways here: the addresses of the replicas that are linked to it and
//! listen on the import's gateway ports. kube-proxy merges equal addresses and ports of several
//! slices in no certain order, so a gateway's endpoint is the same in each of them.

use std::collections::BTreeSet;
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

mod gateways;
mod hints;
mod local;

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
            parts.extend(local::parts(view, import, ports));
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
    let desired: Vec<_> = parts
        .into_iter()
        .map(|part| slice(view, owner, part))
        .collect();
    compare(view, desired)
}

/// Why nothing of an import can be reached by addresses of these `families`: there are endpoints,
/// but of other families only.
pub(super) fn unusable_families(
    view: &View,
    import: &Import,
    families: &[String],
) -> Option<String> {
    let exports_here = super::exports_here(view, import);
    let own = view
        .service_slices
        .iter()
        .filter(|slice| exports_here && is_of_addresses(slice) && !slice.endpoints.is_empty())
        .map(|slice| slice.address_type.as_str());
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
struct Part {
    cluster: String,
    /// What tells it from other slices of the same cluster.
    suffix: String,
    address_type: String,
    endpoints: Vec<Endpoint>,
    ports: Vec<EndpointPort>,
}

fn slice(view: &View, owner: &OwnerReference, part: Part) -> EndpointSlice {
    let derived = derived::name(view);
    let labels = [
        (KUBE_SERVICE_NAME_LABEL, derived.as_str()),
        (SERVICE_NAME_LABEL, &view.name.name),
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

fn compare(view: &View, desired: Vec<EndpointSlice>) -> Slices {
    let names: BTreeSet<_> = desired
        .iter()
        .map(|slice| slice.metadata.name.clone())
        .collect();
    let mut slices = Slices {
        actions: Vec::new(),
        foreign: None,
    };
    for slice in desired {
        let mut found = view
            .slices
            .iter()
            .filter(|s| s.metadata.name == slice.metadata.name);
        match found.next() {
            Some(found) if !ownership::is_our_slice(found) => {
                let name = found.metadata.name.as_deref().unwrap_or_default();
                slices.foreign = Some(format!("EndpointSlice {name}"));
            }
            Some(found) if is_settled(found, &slice) => {}
            Some(_) | None => slices.actions.push(Action::ApplySlice(Box::new(slice))),
        }
    }
    let ours = view
        .slices
        .iter()
        .filter(|slice| ownership::is_our_slice(slice));
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

fn is_of_addresses(slice: &EndpointSlice) -> bool {
    matches!(slice.address_type.as_str(), "IPv4" | "IPv6")
}

/// A port as the API stores it: nothing is left for it to fill in.
fn endpoint_port(
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
