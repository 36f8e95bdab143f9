//! Near side: from the port on which a client was accepted to the clusters that can serve it.
//!
//! ```text
//! derived Services ──┐
//!                    ├─► Routes (swapped whole) ── port ─► clusters that have it
//! ClusterExports ────┘
//! ```
//!
//! Our own cluster is not among them: kube-proxy sends its share straight to the local pods. Where a
//! policy has the gateways split all traffic, it is asked too ([`choice`](crate::choice)).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tombolo_catalog::{EndpointName, ServiceName};
use tombolo_crds::ClusterExportSpec;

use crate::service::{Protocol, port_number};

/// What a derived Service says: which gateway port stands for which port of which import, or of
/// which endpoint of a headless one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DerivedService {
    /// The import that it belongs to.
    pub import: ServiceName,
    /// The one endpoint that it stands for; none if it is the whole import's.
    #[serde(default)]
    pub endpoint: Option<EndpointName>,
    /// The clusterset IPs, or the endpoint's addresses here.
    pub addresses: Vec<IpAddr>,
    /// Whether the import has session affinity.
    #[serde(default)]
    pub affinity: bool,
    /// Its ports; a port without a usable number is left out.
    pub ports: Vec<DerivedPort>,
}

/// One port of a [`DerivedService`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DerivedPort {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The import's port.
    pub port: u16,
    /// Its `targetPort`: where gateways listen for it.
    pub gateway_port: u16,
}

/// Why no cluster can serve a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// The port belongs to no import (any more), or to two.
    #[error("no import has this port")]
    UnknownPort,
    /// No other cluster exports the port with a ready endpoint.
    #[error("no other cluster exports this port with a ready endpoint")]
    NoCluster,
    /// Such clusters exist, but none is linked.
    #[error("none of the clusters that export this port is linked")]
    NotLinked,
}

impl NoRoute {
    /// Label for metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::UnknownPort => "UnknownPort",
            Self::NoCluster => "NoCluster",
            Self::NotLinked => "NotLinked",
        }
    }
}

/// Where connections to one gateway port go.
#[derive(Clone, Debug)]
pub struct Route {
    /// The import asked for.
    pub import: ServiceName,
    /// The import's port.
    pub port: u16,
    /// The one endpoint that is meant, by the ID that its cluster gives it.
    pub endpoint: Option<Arc<str>>,
    clusters: Vec<Arc<str>>,
    affinity: bool,
}

/// All routes of one moment.
#[derive(Debug, Default)]
pub struct Routes {
    by_port: HashMap<(Protocol, u16), Route>,
    contested: BTreeSet<(Protocol, u16)>,
    not_carried: BTreeMap<ServiceName, BTreeSet<(Protocol, u16)>>,
}

// === impl Route ===

impl Route {
    /// The clusters that export the port with a ready endpoint, without this one.
    #[must_use]
    pub fn clusters(&self) -> &[Arc<str>] {
        &self.clusters
    }

    /// Whether a client stays with its endpoint.
    #[must_use]
    pub fn has_affinity(&self) -> bool {
        self.affinity
    }
}

// === impl Routes ===

impl Routes {
    /// Joins derived Services with the ClusterExports of all clusters.
    #[must_use]
    pub fn build<'a>(
        own_cluster: &str,
        services: impl IntoIterator<Item = &'a DerivedService>,
        exports: impl IntoIterator<Item = &'a ClusterExportSpec>,
    ) -> Self {
        let exporters = exporters(own_cluster, exports);
        let mut routes = Self::default();
        for service in services {
            for port in &service.ports {
                if !port.protocol.is_carried() {
                    routes
                        .not_carried
                        .entry(service.import.clone())
                        .or_default()
                        .insert((port.protocol, port.port));
                    continue;
                }
                let gateway_port = (port.protocol, port.gateway_port);
                let route = Route {
                    import: service.import.clone(),
                    port: port.port,
                    endpoint: service
                        .endpoint
                        .as_ref()
                        .map(|name| name.id.as_str().into()),
                    clusters: clusters(own_cluster, &exporters, service, port),
                    affinity: service.affinity,
                };
                if routes.by_port.insert(gateway_port, route).is_some() {
                    routes.contested.insert(gateway_port);
                }
            }
        }
        // Serving either claimant would send some clients to the wrong service.
        for port in &routes.contested {
            routes.by_port.remove(port);
        }
        routes
    }

    /// The route of a gateway port.
    ///
    /// # Errors
    /// [`NoRoute::UnknownPort`] if no import has that port, or more than one.
    pub fn get(&self, protocol: Protocol, gateway_port: u16) -> Result<&Route, NoRoute> {
        self.by_port
            .get(&(protocol, gateway_port))
            .ok_or(NoRoute::UnknownPort)
    }

    /// The ports on which to listen.
    #[must_use]
    pub fn ports(&self) -> BTreeSet<(Protocol, u16)> {
        self.by_port.keys().copied().collect()
    }

    /// Ports that more than one import claims; served by none of them.
    #[must_use]
    pub fn contested(&self) -> &BTreeSet<(Protocol, u16)> {
        &self.contested
    }

    /// Import ports whose protocol gateways do not carry.
    #[must_use]
    pub fn not_carried(&self) -> &BTreeMap<ServiceName, BTreeSet<(Protocol, u16)>> {
        &self.not_carried
    }
}

// Whether an endpoint is ready its own cluster knows best.
fn clusters(
    own_cluster: &str,
    exporters: &Exporters<'_>,
    service: &DerivedService,
    port: &DerivedPort,
) -> Vec<Arc<str>> {
    if let Some(endpoint) = &service.endpoint {
        let cluster = Some(endpoint.cluster.as_str()).filter(|cluster| *cluster != own_cluster);
        return cluster.into_iter().map(Arc::from).collect();
    }
    let (namespace, name) = (&service.import.namespace, &service.import.name);
    let found = exporters.get(&(namespace, name, port.protocol, port.port));
    let clusters = found.into_iter().flatten();
    clusters.map(|cluster| Arc::from(*cluster)).collect()
}

type Exporters<'a> = HashMap<(&'a String, &'a String, Protocol, u16), BTreeSet<&'a str>>;

fn exporters<'a>(
    own_cluster: &str,
    exports: impl IntoIterator<Item = &'a ClusterExportSpec>,
) -> Exporters<'a> {
    let mut exporters = Exporters::new();
    for export in exports {
        if export.cluster == own_cluster || !export.ready {
            continue;
        }
        for port in &export.ports {
            let Some(protocol) = Protocol::from_api(&port.protocol) else {
                continue;
            };
            let Some(number) = port_number(port.port) else {
                continue;
            };
            exporters
                .entry((&export.namespace, &export.name, protocol, number))
                .or_default()
                .insert(&export.cluster);
        }
    }
    exporters
}

#[cfg(test)]
mod tests;
