//! Topology hints: which clients an endpoint is for.
//!
//! kube-proxy heeds hints only if every ready endpoint of a Service has them, in whichever slice;
//! and where none is for a client's zone (or node), it takes all endpoints. So either all
//! endpoints get hints here or none does. This cluster's pods are for their own zones. A gateway
//! stands for pods that are in no zone of this cluster: its hint names none of them, and it gets
//! connections where all endpoints do.

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, ForNode, ForZone};
use tombolo_catalog::Import;

use super::Part;

/// A name that no zone and no node has.
const ELSEWHERE: &str = "elsewhere.tombolo.io";

/// Sets the hints that the import's `trafficDistribution` asks for.
pub(super) fn set(import: &Import, own_cluster: &str, parts: &mut [Part]) {
    let Some(preference) = Preference::of(import) else {
        return;
    };
    let is_local = |part: &&Part| part.cluster == own_cluster;
    let local: Vec<_> = parts
        .iter()
        .filter(is_local)
        .flat_map(|part| &part.endpoints)
        .collect();
    let known = local
        .iter()
        .all(|endpoint| preference.is_known_of(endpoint));
    if local.is_empty() || !known {
        return;
    }
    for part in parts {
        let is_local = part.cluster == own_cluster;
        for endpoint in &mut part.endpoints {
            let hints = match is_local {
                true => hints(
                    preference,
                    endpoint.zone.as_deref(),
                    endpoint.node_name.as_deref(),
                ),
                false => hints(preference, Some(ELSEWHERE), Some(ELSEWHERE)),
            };
            endpoint.hints = Some(hints);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preference {
    Zone,
    Node,
}

// === impl Preference ===

impl Preference {
    fn of(import: &Import) -> Option<Self> {
        match import.traffic_distribution.as_deref()? {
            "PreferClose" | "PreferSameZone" => Some(Self::Zone),
            "PreferSameNode" => Some(Self::Node),
            // Of a Kubernetes that is newer than this operator.
            _ => None,
        }
    }

    fn is_known_of(self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Zone => endpoint.zone.is_some(),
            Self::Node => endpoint.node_name.is_some(),
        }
    }
}

// As Kubernetes' own controller: who prefers a node prefers its zone next.
fn hints(preference: Preference, zone: Option<&str>, node: Option<&str>) -> EndpointHints {
    let node = node.filter(|_| preference == Preference::Node);
    let named = |name: &str| name.to_owned();
    EndpointHints {
        for_zones: zone.map(|zone| vec![ForZone { name: named(zone) }]),
        for_nodes: node.map(|node| vec![ForNode { name: named(node) }]),
    }
}
