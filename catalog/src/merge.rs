//! Exports of one service by several clusters, merged into the import that all of them see
//! (KEP-1645, Constraints and Conflict Resolution).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::SessionAffinityConfig;
use tombolo_crds::ClusterExportSpec;
use tombolo_crds::mcs::{ServiceImportSpec, ServiceImportType, ServicePort};

use crate::ServiceName;

mod conflicts;
mod ports;
#[cfg(test)]
mod tests;

pub use conflicts::{Conflict, ConflictReason, Conflicts};
pub use ports::ImportPort;

/// The one multi-cluster service that all exports of a namespace and name merge into.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// Namespace and name.
    pub service: ServiceName,
    /// How clients reach it.
    pub type_: ServiceImportType,
    /// The union of all exported ports: those of the oldest export first and in its order, then
    /// what younger ones add. Names are unique (the empty one too), and so are protocol and number.
    pub ports: Vec<ImportPort>,
    /// `ClientIP` or `None`.
    pub session_affinity: Option<String>,
    /// Time-out of the session affinity.
    pub session_affinity_config: Option<SessionAffinityConfig>,
    /// `Cluster` or `Local`.
    pub internal_traffic_policy: Option<String>,
    /// As in the oldest Service.
    pub traffic_distribution: Option<String>,
    /// IP families of the oldest Service. Those of an importing cluster's own clusterset IPs may
    /// be others: connections end at the gateways, so that any family reaches any other.
    pub ip_families: Vec<String>,
    /// Labels of the ServiceImport.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the ServiceImport.
    pub annotations: BTreeMap<String, String>,
    /// IDs of the exporting clusters, sorted.
    pub clusters: Vec<String>,
    /// ID of the cluster with the oldest export.
    pub oldest: String,
    /// In what the exports disagree.
    pub conflicts: Conflicts,
}

impl Import {
    /// The spec of the ServiceImport in a cluster whose clusterset IPs are `ips`, of the
    /// `ip_families` in the same order.
    #[must_use]
    pub fn spec(&self, ips: Vec<String>, ip_families: Vec<String>) -> ServiceImportSpec {
        ServiceImportSpec {
            ports: self.ports.iter().map(|port| port.port.clone()).collect(),
            ips,
            ip_families,
            type_: self.type_,
            session_affinity: self.session_affinity.clone(),
            session_affinity_config: self.session_affinity_config.clone(),
            internal_traffic_policy: self.internal_traffic_policy.clone(),
            traffic_distribution: self.traffic_distribution.clone(),
        }
    }

    /// Names of the derived Service's ports, in the order of [`Import::ports`]. Kubernetes wants
    /// each port of several to have one, whereas an import may have one port without; that one
    /// is named after its protocol and number.
    #[must_use]
    pub fn derived_port_names(&self) -> Vec<Option<String>> {
        ports::derived_names(&self.ports)
    }

    /// The ports that `cluster` serves.
    pub fn ports_of<'a>(&'a self, cluster: &'a str) -> impl Iterator<Item = &'a ServicePort> {
        self.ports
            .iter()
            .filter(move |port| port.is_served_by(cluster))
            .map(|port| &port.port)
    }
}

/// Merges the exports of one service. The oldest decides what cannot be both; of two with the same
/// `createdAt` (which Kubernetes counts in seconds) that of the lesser cluster ID.
///
/// The result does not depend on the order of `exports`, nor on how often one of them is given.
/// `None` if there are none. All must be of one namespace and name.
#[must_use]
pub fn merge(exports: &[&ClusterExportSpec]) -> Option<Import> {
    let mut by_age = exports.to_vec();
    by_age.sort_by(|a, b| age(a, b));
    // A catalog holds one export of a service. Should there be two, the order above, which goes on
    // to the whole of their contents, makes every cluster keep the same one.
    let mut seen = std::collections::BTreeSet::new();
    by_age.retain(|export| seen.insert(export.cluster.as_str()));
    let oldest = *by_age.first()?;
    debug_assert!(
        by_age
            .iter()
            .all(|e| e.namespace == oldest.namespace && e.name == oldest.name),
        "exports of different services do not merge"
    );

    Some(Import {
        service: ServiceName::from(oldest),
        type_: oldest.type_,
        ports: ports::union(&by_age),
        session_affinity: oldest.session_affinity.clone(),
        session_affinity_config: oldest.session_affinity_config.clone(),
        internal_traffic_policy: oldest.internal_traffic_policy.clone(),
        traffic_distribution: oldest.traffic_distribution.clone(),
        ip_families: oldest.ip_families.clone(),
        labels: oldest.exported_labels.clone(),
        annotations: oldest.exported_annotations.clone(),
        clusters: seen.into_iter().map(str::to_owned).collect(),
        oldest: oldest.cluster.clone(),
        conflicts: Conflicts::among(&by_age),
    })
}

fn age(a: &ClusterExportSpec, b: &ClusterExportSpec) -> Ordering {
    // Stored objects lose fractions of a second: whoever has the export from the wire must not
    // order it otherwise than who has it from the API server.
    let seconds = |export: &ClusterExportSpec| export.created_at.0.as_second();
    seconds(a)
        .cmp(&seconds(b))
        .then_with(|| a.cluster.cmp(&b.cluster))
        .then_with(|| format!("{a:?}").cmp(&format!("{b:?}")))
}
