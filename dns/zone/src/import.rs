//! What the zone is made of, as its owner hears of it.

use std::net::IpAddr;
use std::sync::Arc;

/// A service of the clusterset, as a ServiceImport and its EndpointSlices tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Namespace of the ServiceImport: a DNS label.
    pub namespace: String,
    /// Name of the ServiceImport: a DNS label.
    pub name: String,
    /// How clients reach it.
    pub kind: ImportKind,
}

/// How clients reach an imported service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportKind {
    /// By clusterset IPs.
    ClusterSetIp {
        /// The clusterset IPs; none while they are being allotted.
        addresses: Vec<IpAddr>,
        /// Ports of the service.
        ports: Vec<Port>,
    },
    /// By the addresses of its endpoints.
    Headless {
        /// The endpoints of all clusters, ready or not.
        endpoints: Vec<Endpoint>,
    },
}

/// An endpoint of a headless service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// ID of the cluster that it runs in.
    pub cluster: Arc<str>,
    /// The hostname that the EndpointSlice gives it, if any. Endpoints of one cluster with the
    /// same hostname are one host with several addresses, as in the slices of a dual-stack pod.
    pub hostname: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The ports of its EndpointSlice.
    pub ports: Arc<[Port]>,
    /// Whether it is to be answered at all.
    pub ready: bool,
}

/// A port of a service or of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port {
    /// Its name, a DNS label; ports without one have no `_<port>._<proto>` name.
    pub name: Option<String>,
    /// `TCP`, `UDP` or `SCTP`, in any case.
    pub protocol: String,
    /// Its number.
    pub number: u16,
}
