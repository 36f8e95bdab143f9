//! The union of exported ports.

use std::collections::BTreeSet;

use tombolo_crds::ClusterExportSpec;
use tombolo_crds::mcs::ServicePort;

/// A port of an import and who serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportPort {
    /// The port as the oldest export that has it declares it.
    pub port: ServicePort,
    /// IDs of the clusters that export exactly this name, protocol and number, sorted. A cluster
    /// that means another port by the same name or number gets none of its traffic. The
    /// application protocol is a hint: to differ in it is a conflict, but keeps nobody out.
    pub clusters: Vec<String>,
}

impl ImportPort {
    /// Whether traffic to this port may go to `cluster`.
    #[must_use]
    pub fn is_served_by(&self, cluster: &str) -> bool {
        self.clusters
            .binary_search_by(|c| c.as_str().cmp(cluster))
            .is_ok()
    }
}

/// Merges the ports of exports that are sorted by age: by name first, then by protocol and number.
pub(super) fn union(by_age: &[&ClusterExportSpec]) -> Vec<ImportPort> {
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    let mut ports = Vec::new();
    for port in by_age.iter().flat_map(|export| &export.ports) {
        if names.contains(name(port)) || numbers.contains(&number(port)) {
            continue;
        }
        names.insert(name(port));
        numbers.insert(number(port));
        ports.push(ImportPort {
            port: port.clone(),
            clusters: clusters_with(by_age, port),
        });
    }
    ports
}

/// See [`super::Import::derived_port_names`].
pub(super) fn derived_names(ports: &[ImportPort]) -> Vec<Option<String>> {
    if let [only] = ports {
        return vec![only.port.name.clone()];
    }
    ports
        .iter()
        .map(|port| Some(derived_name(&port.port, ports)))
        .collect()
}

fn derived_name(port: &ServicePort, all: &[ImportPort]) -> String {
    if let Some(name) = &port.name {
        return name.clone();
    }
    let mut derived = format!("{}-{}", port.protocol.to_ascii_lowercase(), port.port);
    while all
        .iter()
        .any(|other| other.port.name.as_ref() == Some(&derived))
    {
        derived.push_str("-x");
    }
    derived
}

fn clusters_with(exports: &[&ClusterExportSpec], port: &ServicePort) -> Vec<String> {
    let same = |other: &ServicePort| name(other) == name(port) && number(other) == number(port);
    let mut clusters: Vec<String> = exports
        .iter()
        .filter(|export| export.ports.iter().any(same))
        .map(|export| export.cluster.clone())
        .collect();
    clusters.sort_unstable();
    clusters
}

fn name(port: &ServicePort) -> &str {
    port.name.as_deref().unwrap_or_default()
}

fn number(port: &ServicePort) -> (&str, i32) {
    (&port.protocol, port.port)
}
