//! Far side: from an exported service's port to the addresses that may be dialled for it.
//!
//! ```text
//! own ClusterExports ─┐
//! EndpointSlices ─────┼─► Endpoints (swapped whole) ── service, port ─► addresses, in order
//! Pods, Guard ────────┘
//! ```
//!
//! Whoever may write an EndpointSlice must not thereby make the gateway dial for them what they
//! could not reach themselves. So an address is believed only if it is that of a pod in the
//! service's own namespace, or on the administrator's list.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tombolo_catalog::{Headcounts, ServiceName};
use tombolo_crds::ClusterExportSpec;
use tombolo_crds::mcs::ServiceImportType;
use tombolo_crds::well_known::PROXY_PROTOCOL_V2;

use crate::pods::Pods;
use crate::service::{Protocol, port_number};

mod load;
mod single;
mod target;

pub use load::{Cost, InUse, Load};
use target::Target;
pub use target::{Picked, Wish};

/// How many endpoints are tried for one connection.
pub const ATTEMPTS: usize = 3;

/// What the gateway remembers of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// The Service whose endpoints it holds.
    pub service: ServiceName,
    /// Its ports.
    pub ports: Vec<SlicePort>,
    /// Addresses of its ready endpoints in canonical form.
    pub ready: Vec<IpAddr>,
    /// The hostnames that endpoints were given, by such an address.
    #[serde(default)]
    pub hostnames: BTreeMap<IpAddr, String>,
    /// Addresses of those that are about to end but still serve, in canonical form.
    #[serde(default)]
    pub terminating: Vec<IpAddr>,
    /// Addresses of those that take no connections at the moment, in canonical form.
    #[serde(default)]
    pub unready: Vec<IpAddr>,
}

/// A port of a [`Slice`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlicePort {
    /// Name of the Service port that it belongs to; empty for a nameless one.
    pub name: String,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Where the endpoints listen; `None` for "every port" (EndpointPort.port).
    pub port: Option<u16>,
}

/// Which addresses that are no pods of the service's namespace may be dialled all the same.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Ranges that the administrator vouches for.
    pub allowed: Vec<IpNet>,
    /// Never dialled, listed or not: this gateway, the API server, clusterset IPs.
    pub never: HashSet<IpAddr>,
}

/// Why no endpoint is dialled for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEndpoint {
    /// This cluster does not export the service.
    #[error("the service is not exported")]
    NotExported,
    /// The export has no such port.
    #[error("the port is not exported")]
    PortNotExported,
    /// The service has no endpoint that takes traffic.
    #[error("no ready endpoint")]
    NoReadyEndpoint,
    /// It has some, none of which may be dialled.
    #[error("no endpoint that a gateway may dial")]
    EndpointRefused,
}

/// All endpoints of exported services at one moment; immutable but for the cursors.
#[derive(Debug, Default)]
pub struct Endpoints {
    services: HashMap<ServiceName, HashMap<(Protocol, u16), Target>>,
    /// Whose pods are told who connects.
    announced: HashSet<ServiceName>,
    // Counted once, since they are asked for with each connection.
    headcounts: Arc<BTreeMap<ServiceName, Arc<Headcounts>>>,
    pods: Arc<Pods>,
    guard: Guard,
}

// === impl Guard ===

impl Guard {
    fn permits(&self, namespace: &str, address: IpAddr, pods: &Pods) -> bool {
        if self.never.contains(&address) || pods.is_node_or_gateway(address) {
            return false;
        }
        pods.is_plain_pod_of(namespace, address)
            || !is_special(address) && self.allowed.iter().any(|range| range.contains(&address))
    }
}

/// Addresses that mean something else on every host (loopback, link-local with its metadata
/// services, multicast): no list of ranges is meant to open them.
#[must_use]
pub fn is_special(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    link_local || address.is_loopback() || address.is_unspecified() || address.is_multicast()
}

// === impl NoEndpoint ===

impl NoEndpoint {
    /// Label for metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotExported => "NotExported",
            Self::PortNotExported => "PortNotExported",
            Self::NoReadyEndpoint => "NoReadyEndpoint",
            Self::EndpointRefused => "EndpointRefused",
        }
    }
}

// === impl Endpoints ===

impl Endpoints {
    /// Joins this cluster's own exports, each with whether it has session affinity, with the
    /// slices of their Services. `previous` hands down the cursors.
    #[must_use]
    pub fn build<'a>(
        exports: impl IntoIterator<Item = (&'a ClusterExportSpec, bool)>,
        slices: impl IntoIterator<Item = &'a Slice>,
        pods: Arc<Pods>,
        guard: Guard,
        previous: &Self,
    ) -> Self {
        let exports: Vec<_> = exports
            .into_iter()
            .map(|(export, affinity)| (ServiceName::from(export), export, affinity))
            .collect();
        let exported: HashSet<_> = exports.iter().map(|(key, ..)| key).collect();
        let mut slices_of: HashMap<&ServiceName, Vec<&Slice>> = HashMap::new();
        for slice in slices {
            if exported.contains(&slice.service) {
                slices_of.entry(&slice.service).or_default().push(slice);
            }
        }
        let mut services = HashMap::with_capacity(exports.len());
        for (key, export, affinity) in &exports {
            let slices = slices_of.get(key).map_or(&[][..], Vec::as_slice);
            let before = previous.services.get(key);
            let ports = export.ports.iter().filter_map(|port| {
                let protocol = Protocol::from_api(&port.protocol)?;
                let number = port_number(port.port)?;
                let name = port.name.as_deref().unwrap_or_default();
                let known = before.and_then(|ports| ports.get(&(protocol, number)));
                let cursor = known
                    .map(|target| Arc::clone(&target.cursor))
                    .unwrap_or_default();
                let of = |endpoints: fn(&Slice) -> &[IpAddr]| {
                    addresses(slices, protocol, name, number, endpoints)
                };
                let ready = of(|slice| &slice.ready);
                let terminating = of(|slice| &slice.terminating);
                // kube-proxy's rule for the flows that it goes on to translate.
                let serving = match protocol {
                    Protocol::Udp => ready.union(&terminating).copied().collect(),
                    Protocol::Tcp | Protocol::Sctp => BTreeSet::new(),
                };
                // And for new ones: endpoints that are about to end get them only if no other does.
                let taking_traffic = if ready.is_empty() { terminating } else { ready };
                let addresses = in_first_family(taking_traffic, &export.ip_families);
                let by_id = match export.type_ {
                    ServiceImportType::ClusterSetIP => single::ById::new(),
                    ServiceImportType::Headless => {
                        single::by_id(slices, protocol, name, number, &export.ip_families)
                    }
                };
                let loads = addresses.iter().map(|address| {
                    let load = known.and_then(|target| target.loads.get(address));
                    (*address, load.cloned().unwrap_or_default())
                });
                let target = Target {
                    loads: loads.collect(),
                    serving,
                    unready: of(|slice| &slice.unready),
                    addresses,
                    by_id,
                    affinity: *affinity,
                    cursor,
                };
                Some(((protocol, number), target))
            });
            services.insert(key.clone(), ports.collect());
        }
        let announced = exports
            .iter()
            .filter(|(_, export, _)| export.proxy_protocol.as_deref() == Some(PROXY_PROTOCOL_V2));
        let mut endpoints = Self {
            announced: announced.map(|(key, ..)| key.clone()).collect(),
            services,
            headcounts: Arc::default(),
            pods,
            guard,
        };
        let counted = endpoints.services.iter();
        let counted = counted.map(|(service, ports)| {
            let headcounts = endpoints.count(service, ports);
            (service.clone(), Arc::new(headcounts))
        });
        endpoints.headcounts = Arc::new(counted.collect());
        endpoints
    }

    /// Endpoints of an exported port that take traffic, may be dialled and are as wished, at most
    /// [`ATTEMPTS`], in the order in which to try them: with session affinity the one of the client
    /// first, else of the next two of the round the better, by how busy they are and how they
    /// answered.
    ///
    /// # Errors
    /// If there is none, why.
    pub fn pick(
        &self,
        service: &ServiceName,
        protocol: Protocol,
        port: u16,
        wish: &Wish<'_>,
        now: Instant,
    ) -> Result<Vec<Picked>, NoEndpoint> {
        let target = self.target(service, protocol, port)?;
        let is_wanted = |address: &SocketAddr| self.has_labels(address.ip(), wish.selector);
        if !target.addresses.iter().any(is_wanted) {
            return Err(NoEndpoint::NoReadyEndpoint);
        }
        let is_permitted = |address: &SocketAddr| {
            is_wanted(address)
                && self
                    .guard
                    .permits(&service.namespace, address.ip(), &self.pods)
        };
        let is_near = |address: &SocketAddr| *self.pods.place(address.ip()).zone == *wish.zone;
        let picked = target.pick(wish, now, is_permitted, is_near);
        if picked.is_empty() {
            return Err(NoEndpoint::EndpointRefused);
        }
        Ok(picked)
    }

    /// Whether packets of a UDP flow to `endpoint` may go on: it serves the port, if only until it
    /// ends, and may be dialled.
    #[must_use]
    pub fn keeps_flow(&self, service: &ServiceName, port: u16, endpoint: SocketAddr) -> bool {
        self.target(service, Protocol::Udp, port)
            .is_ok_and(|target| target.serving.contains(&endpoint))
            && self
                .guard
                .permits(&service.namespace, endpoint.ip(), &self.pods)
    }

    fn target(
        &self,
        service: &ServiceName,
        protocol: Protocol,
        port: u16,
    ) -> Result<&Target, NoEndpoint> {
        let ports = self.services.get(service).ok_or(NoEndpoint::NotExported)?;
        ports
            .get(&(protocol, port))
            .ok_or(NoEndpoint::PortNotExported)
    }

    /// The endpoints of all exported services that may be dialled, by place.
    #[must_use]
    pub fn headcounts(&self) -> &Arc<BTreeMap<ServiceName, Arc<Headcounts>>> {
        &self.headcounts
    }

    /// The endpoints of one service by place; `None` if its port is not exported.
    #[must_use]
    pub fn headcounts_of(
        &self,
        service: &ServiceName,
        protocol: Protocol,
        port: u16,
    ) -> Option<Arc<Headcounts>> {
        self.target(service, protocol, port).ok()?;
        self.headcounts.get(service).cloned()
    }

    // A pod counts once, however many ports it has.
    fn count(&self, service: &ServiceName, ports: &HashMap<(Protocol, u16), Target>) -> Headcounts {
        let of = |ip: &IpAddr| self.guard.permits(&service.namespace, *ip, &self.pods);
        let ready = ports.values().flat_map(|target| &target.addresses);
        let ready: BTreeSet<IpAddr> = ready.map(SocketAddr::ip).filter(of).collect();
        let unready = ports.values().flat_map(|target| &target.unready);
        let unready: BTreeSet<IpAddr> = unready.map(SocketAddr::ip).filter(of).collect();
        let mut headcounts = Headcounts::new();
        for ip in &ready {
            headcounts.entry(self.pods.place(*ip)).or_default().ready += 1;
        }
        for ip in ready.union(&unready) {
            headcounts.entry(self.pods.place(*ip)).or_default().total += 1;
        }
        headcounts
    }

    fn has_labels(&self, address: IpAddr, selector: &BTreeMap<String, String>) -> bool {
        selector.is_empty()
            || self.pods.source(address).is_some_and(|pod| {
                let mut wanted = selector.iter();
                wanted.all(|(key, value)| pod.labels.get(key) == Some(value))
            })
    }

    /// Services of which an endpoint takes traffic but may not be dialled, with one such address.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<ServiceName, IpAddr> {
        let refused = self.services.iter().filter_map(|(service, ports)| {
            let addresses = ports.values().flat_map(|target| &target.addresses);
            let refused = addresses
                .map(SocketAddr::ip)
                .filter(|ip| !self.guard.permits(&service.namespace, *ip, &self.pods));
            Some((service.clone(), refused.min()?))
        });
        refused.collect()
    }

    /// The addresses of one ready endpoint of a headless service that may be dialled: more than one
    /// if there are several pods of its hostname.
    ///
    /// # Errors
    /// If there is none, why.
    pub fn pick_single(
        &self,
        service: &ServiceName,
        protocol: Protocol,
        port: u16,
        id: &str,
    ) -> Result<Vec<Picked>, NoEndpoint> {
        let target = self.target(service, protocol, port)?;
        let addresses = target.by_id.get(id).ok_or(NoEndpoint::NoReadyEndpoint)?;
        let permitted = addresses.iter().copied().filter(|address| {
            self.guard
                .permits(&service.namespace, address.ip(), &self.pods)
        });
        let picked: Vec<_> = permitted
            .take(ATTEMPTS)
            .map(|address| target.picked(address))
            .collect();
        if picked.is_empty() {
            return Err(NoEndpoint::EndpointRefused);
        }
        Ok(picked)
    }

    /// Whether a service's pods want the PROXY protocol before a client's first byte.
    #[must_use]
    pub fn is_announced(&self, service: &ServiceName) -> bool {
        self.announced.contains(service)
    }

    /// The pods of the same moment.
    #[must_use]
    pub fn pods(&self) -> &Pods {
        &self.pods
    }
}

// A named target port may differ from pod to pod, so each slice has its own number for the name.
// A set, since an endpoint is for a moment in two slices while they are repacked.
fn addresses(
    slices: &[&Slice],
    protocol: Protocol,
    name: &str,
    number: u16,
    endpoints: fn(&Slice) -> &[IpAddr],
) -> BTreeSet<SocketAddr> {
    let mut addresses = BTreeSet::new();
    for slice in slices {
        let port = slice
            .ports
            .iter()
            .find(|port| port.name == name && port.protocol == protocol);
        let Some(port) = port else { continue };
        let port = port.port.unwrap_or(number);
        addresses.extend(
            endpoints(slice)
                .iter()
                .map(|address| SocketAddr::new(*address, port)),
        );
    }
    addresses
}

// Both addresses of a dual-stack pod are one endpoint; the Service's first family stands for it.
fn in_first_family(addresses: BTreeSet<SocketAddr>, families: &[String]) -> Vec<SocketAddr> {
    let first_is_v6 = families.first().is_some_and(|family| family == "IPv6");
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    if first.is_empty() { second } else { first }
}

#[cfg(test)]
mod tests;
