//! How many endpoints a service has, and where: what gateways tell each other in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Where an endpoint or a client is. What is not known is empty, and near to nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// `topology.kubernetes.io/region` of its node.
    pub region: Arc<str>,
    /// `topology.kubernetes.io/zone` of its node.
    pub zone: Arc<str>,
}

/// Endpoints of one service in one place of one cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headcount {
    /// Those that take connections.
    pub ready: u32,
    /// All that are meant to.
    pub total: u32,
}

/// Endpoints of one service in one cluster, by place.
pub type Headcounts = BTreeMap<Place, Headcount>;
