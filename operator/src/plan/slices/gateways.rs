//! The gateways as the endpoints of another cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
use tombolo_catalog::Import;
use tombolo_crds::well_known::SOURCE_CLUSTER_LABEL;

use super::{Part, endpoint_port, short_hash};
use crate::gateways::Listing;
use crate::plan::derived::{self, GatewayPorts};
use crate::plan::ownership;
use crate::plan::view::View;

/// A set of gateway ports on which a replica listens for this import.
type Served = BTreeSet<u16>;

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
    let mut groups: BTreeMap<(&'static str, Served), BTreeSet<IpAddr>> = BTreeMap::new();
    for replica in view
        .gateways
        .iter()
        .filter(|replica| replica.linked.contains(cluster))
    {
        for address in &replica.addresses {
            let served = served(view, replica, *address, &wanted);
            if !served.is_empty() {
                groups
                    .entry((family(*address), served))
                    .or_default()
                    .insert(*address);
            }
        }
    }
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
    groups.into_iter().map(part).collect()
}

/// What gateways of this version carry between clusters.
fn is_carried(protocol: &str) -> bool {
    protocol == "TCP"
}

fn served(view: &View, replica: &Listing, address: IpAddr, wanted: &Served) -> Served {
    let Some(listening) = replica.listening else {
        return Served::new();
    };
    let caught_up = view.ports_since.is_some_and(|since| since <= listening);
    let served: Served = if replica.heard && caught_up {
        wanted.clone()
    } else {
        // What it is listed with it listens on: a port that is added to the import, or a restart
        // of this operator, takes nothing from the connections of the others.
        let listed = view
            .slices
            .iter()
            .filter(|slice| ownership::is_our_slice(slice));
        let listed: Served = listed
            .flat_map(|slice| listed_ports(slice, address))
            .collect();
        wanted.intersection(&listed).copied().collect()
    };
    served.difference(&replica.refused).copied().collect()
}

/// The gateway ports with which a slice lists an address, for whichever cluster.
fn listed_ports(slice: &EndpointSlice, address: IpAddr) -> Vec<u16> {
    let labels = slice.metadata.labels.as_ref();
    let address = address.to_string();
    let is_listed = labels.is_some_and(|labels| labels.contains_key(SOURCE_CLUSTER_LABEL))
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
fn endpoint(address: IpAddr) -> Endpoint {
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

pub(super) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn suffix(family: &str, served: &Served, wanted: &Served) -> String {
    let family = family.to_ascii_lowercase();
    if served == wanted {
        return family;
    }
    let ports: Vec<String> = served.iter().map(u16::to_string).collect();
    format!("{family}-{}", short_hash(&ports.join(",")))
}
