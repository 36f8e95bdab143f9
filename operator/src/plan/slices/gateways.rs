//! The gateways as the endpoints of another cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
use tombolo_catalog::Import;
use tombolo_crds::well_known::{ENDPOINT_CLUSTER_LABEL, SOURCE_CLUSTER_LABEL};

use super::{Part, endpoint_port, short_hash};
use crate::gateways::Listing;
use crate::plan::derived::{self, GatewayPorts};
use crate::plan::ownership;
use crate::plan::view::View;

/// A set of gateway ports on which a replica listens for a Service.
pub(in crate::plan) type Served = BTreeSet<u16>;

/// Addresses of replicas by family and by what they have in common.
pub(in crate::plan) type Groups = BTreeMap<(&'static str, Served), BTreeSet<IpAddr>>;

/// A Service behind which gateways are to be listed.
#[derive(Clone, Copy)]
pub(in crate::plan) struct Target<'a> {
    /// The gateway ports in question.
    pub(in crate::plan) wanted: &'a Served,
    /// The resourceVersion with which the Service got its gateway ports.
    pub(in crate::plan) ports_since: Option<u64>,
    /// Its slices as they are.
    pub(in crate::plan) slices: &'a [Arc<EndpointSlice>],
}

/// One slice for each family and each set of ports that the replicas have in common. They differ
/// only while a replica catches up or refuses a port.
pub(super) fn parts(
    view: &View,
    import: &Import,
    ports: &GatewayPorts,
    derived: &Service,
    cluster: &str,
) -> Vec<Part> {
    // Nobody can listen yet on what the derived Service does not say yet.
    let recorded = derived::gateway_ports(derived);
    let wanted: Served = ports
        .iter()
        .filter(|(_, place, gateway_port)| {
            let port = &import.ports[*place];
            is_carried(&port.port.protocol)
                && port.is_served_by(cluster)
                && recorded.contains(gateway_port)
        })
        .map(|(_, _, gateway_port)| gateway_port)
        .collect();
    let target = Target {
        wanted: &wanted,
        ports_since: view.ports_since,
        slices: &view.slices,
    };
    // To its own cluster a gateway needs no link.
    let linked = view
        .gateways
        .iter()
        .filter(|replica| *cluster == *view.cluster || replica.linked.contains(cluster));
    let part = |((family, served), addresses): ((&'static str, Served), BTreeSet<IpAddr>)| Part {
        cluster: cluster.to_owned(),
        suffix: suffix(family, &served, &wanted),
        address_type: family.to_owned(),
        endpoints: addresses.into_iter().map(endpoint).collect(),
        ports: ports
            .iter()
            .filter(|(_, _, gateway_port)| served.contains(gateway_port))
            .map(|(name, place, gateway_port)| {
                endpoint_port(name, import, place, Some(i32::from(gateway_port)))
            })
            .collect(),
    };
    groups(linked, target).into_iter().map(part).collect()
}

/// The replicas by what they have in common.
pub(in crate::plan) fn groups<'a>(
    replicas: impl Iterator<Item = &'a Listing>,
    target: Target<'_>,
) -> Groups {
    let mut groups = Groups::new();
    for replica in replicas {
        for address in &replica.addresses {
            let served = served(target, replica, *address);
            if !served.is_empty() {
                groups
                    .entry((family(*address), served))
                    .or_default()
                    .insert(*address);
            }
        }
    }
    groups
}

/// What gateways of this version carry between clusters.
pub(in crate::plan) fn is_carried(protocol: &str) -> bool {
    matches!(protocol, "TCP" | "UDP")
}

fn served(target: Target<'_>, replica: &Listing, address: IpAddr) -> Served {
    let Some(listening) = replica.listening else {
        return Served::new();
    };
    let caught_up = target.ports_since.is_some_and(|since| since <= listening);
    let served: Served = if replica.heard && caught_up {
        target.wanted.clone()
    } else {
        // What it is listed with it listens on: a port that is added to the import, or a restart
        // of this operator, takes nothing from the connections of the others.
        let listed = target
            .slices
            .iter()
            .filter(|slice| ownership::is_our_slice(slice));
        let listed: Served = listed
            .flat_map(|slice| listed_ports(slice, address))
            .collect();
        target.wanted.intersection(&listed).copied().collect()
    };
    served.difference(&replica.refused).copied().collect()
}

/// The gateway ports with which a slice lists an address, for whichever cluster.
fn listed_ports(slice: &EndpointSlice, address: IpAddr) -> Vec<u16> {
    let labels = slice.metadata.labels.as_ref();
    let address = address.to_string();
    let is_of_gateways = |labels: &BTreeMap<String, String>| {
        labels.contains_key(SOURCE_CLUSTER_LABEL) || labels.contains_key(ENDPOINT_CLUSTER_LABEL)
    };
    let is_listed = labels.is_some_and(is_of_gateways)
        && slice
            .endpoints
            .iter()
            .any(|endpoint| endpoint.addresses.contains(&address));
    let ports = slice.ports.iter().flatten().filter(|_| is_listed);
    ports
        .filter_map(|port| u16::try_from(port.port?).ok())
        .collect()
}

/// Without a node or a zone: where a gateway stands says nothing of where the connection goes, and
/// a policy that keeps traffic on the node must not choose it.
pub(in crate::plan) fn endpoint(address: IpAddr) -> Endpoint {
    Endpoint {
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(true),
            serving: Some(true),
            terminating: Some(false),
        }),
        ..Endpoint::default()
    }
}

pub(in crate::plan) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

pub(in crate::plan) fn suffix(family: &str, served: &Served, wanted: &Served) -> String {
    let family = family.to_ascii_lowercase();
    if served == wanted {
        return family;
    }
    let ports: Vec<String> = served.iter().map(u16::to_string).collect();
    format!("{family}-{}", short_hash(&ports.join(",")))
}
