//! Who holds which pod address: whether it may be dialled, and who a client is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tombolo_catalog::Place;

use crate::places::Places;

/// What the gateway remembers of a Pod that is not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRecord {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its service account.
    pub service_account: String,
    /// Its addresses in canonical form; those of its node if `host_network`.
    pub addresses: Vec<IpAddr>,
    /// The addresses of its node.
    pub node_addresses: Vec<IpAddr>,
    /// It shares its node's network, so that its address proves nothing.
    pub host_network: bool,
    /// It is a gateway of ours.
    pub gateway: bool,
    /// The node that it runs on.
    #[serde(default)]
    pub node: String,
    /// Its labels: other clusters may choose by them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// All pods of one moment by address.
#[derive(Debug, Default)]
pub struct Pods {
    by_address: HashMap<IpAddr, Holder>,
    nodes: HashSet<IpAddr>,
    gateways: HashMap<String, u32>,
    places: Arc<Places>,
}

#[derive(Debug)]
enum Holder {
    One(Arc<PodRecord>),
    // Between the end of one pod and the start of another, or because somebody lies.
    Several(Vec<Arc<PodRecord>>),
}

// === impl Pods ===

impl Pods {
    /// Indexes all pods.
    pub fn build(pods: impl IntoIterator<Item = Arc<PodRecord>>) -> Self {
        let mut index = Self::default();
        for pod in pods {
            index.nodes.extend(&pod.node_addresses);
            if pod.gateway {
                *index.gateways.entry(pod.namespace.clone()).or_default() += 1;
            }
            for address in &pod.addresses {
                index
                    .by_address
                    .entry(*address)
                    .and_modify(|holder| holder.add(&pod))
                    .or_insert_with(|| Holder::One(Arc::clone(&pod)));
            }
        }
        index
    }

    /// The same pods, on nodes in these places.
    #[must_use]
    pub fn with_places(self, places: Arc<Places>) -> Self {
        Self { places, ..self }
    }

    /// Where the pod at this address is; nowhere if it is no certain pod, or its node does not say.
    #[must_use]
    pub fn place(&self, address: IpAddr) -> Place {
        let pod = self.source(address);
        pod.map(|pod| self.places.of_node(&pod.node))
            .unwrap_or_default()
    }

    /// The pod behind a client's address; `None` if that is not certain.
    #[must_use]
    pub fn source(&self, address: IpAddr) -> Option<&PodRecord> {
        match self.by_address.get(&address)? {
            Holder::One(pod) if !pod.host_network && !self.nodes.contains(&address) => Some(pod),
            Holder::One(_) | Holder::Several(_) => None,
        }
    }

    /// Whether `address` is held by pods of `namespace` alone, none of them on its node's network
    /// or a gateway.
    #[must_use]
    pub fn is_plain_pod_of(&self, namespace: &str, address: IpAddr) -> bool {
        let fits =
            |pod: &PodRecord| pod.namespace == namespace && !pod.host_network && !pod.gateway;
        if self.nodes.contains(&address) {
            return false;
        }
        match self.by_address.get(&address) {
            None => false,
            Some(Holder::One(pod)) => fits(pod),
            Some(Holder::Several(pods)) => pods.iter().all(|pod| fits(pod)),
        }
    }

    /// How many gateways there are in `namespace`.
    #[must_use]
    pub fn gateways(&self, namespace: &str) -> u32 {
        self.gateways.get(namespace).copied().unwrap_or(0)
    }

    /// Whether `address` is a node's or a gateway's.
    #[must_use]
    pub fn is_node_or_gateway(&self, address: IpAddr) -> bool {
        let barred = |pod: &PodRecord| pod.host_network || pod.gateway;
        self.nodes.contains(&address)
            || match self.by_address.get(&address) {
                None => false,
                Some(Holder::One(pod)) => barred(pod),
                Some(Holder::Several(pods)) => pods.iter().any(|pod| barred(pod)),
            }
    }
}

// === impl Holder ===

impl Holder {
    fn add(&mut self, pod: &Arc<PodRecord>) {
        match self {
            Self::One(first) => *self = Self::Several(vec![Arc::clone(first), Arc::clone(pod)]),
            Self::Several(pods) => pods.push(Arc::clone(pod)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "10.0.0.5";

    #[test]
    fn knows_a_client_by_its_address() {
        let pods = build([pod("demo", "web-0")]);

        assert_eq!(pods.source(ip(ADDRESS)).unwrap().name, "web-0");
        assert_eq!(pods.source(ip("10.0.0.6")), None);
    }

    #[test]
    fn an_address_of_two_pods_names_nobody() {
        let pods = build([
            pod("demo", "web-0"),
            pod("demo", "web-1"),
            pod("demo", "web-2"),
        ]);

        assert_eq!(pods.source(ip(ADDRESS)), None);
        assert!(pods.is_plain_pod_of("demo", ip(ADDRESS)));
    }

    #[test]
    fn a_foreign_pod_with_the_same_address_bars_it() {
        let pods = build([pod("demo", "web-0"), pod("bank", "vault-0")]);

        assert!(!pods.is_plain_pod_of("demo", ip(ADDRESS)));
    }

    #[test]
    fn host_network_pods_and_gateways_are_neither_clients_nor_endpoints() {
        let host = PodRecord {
            host_network: true,
            ..pod("demo", "proxy")
        };
        let gateway = PodRecord {
            gateway: true,
            ..pod("demo", "gateway")
        };
        for barred in [host, gateway] {
            let pods = build([barred]);

            assert!(!pods.is_plain_pod_of("demo", ip(ADDRESS)));
            assert!(pods.is_node_or_gateway(ip(ADDRESS)));
        }
    }

    #[test]
    fn counts_the_gateways_of_a_namespace() {
        let gateway = PodRecord {
            gateway: true,
            ..pod("tombolo-system", "gateway-a")
        };
        let pods = build([
            gateway,
            pod("tombolo-system", "operator"),
            pod("demo", "web-0"),
        ]);

        assert_eq!(pods.gateways("tombolo-system"), 1);
        assert_eq!(pods.gateways("demo"), 0);
    }

    #[test]
    fn a_pod_that_claims_a_nodes_address_is_not_believed() {
        let liar = PodRecord {
            addresses: vec![ip("192.0.2.1")],
            ..pod("demo", "liar")
        };
        let pods = build([liar, pod("demo", "web-0")]);

        assert!(!pods.is_plain_pod_of("demo", ip("192.0.2.1")));
        assert!(pods.is_node_or_gateway(ip("192.0.2.1")));
        assert_eq!(pods.source(ip("192.0.2.1")), None);
    }

    fn build(pods: impl IntoIterator<Item = PodRecord>) -> Pods {
        Pods::build(pods.into_iter().map(Arc::new))
    }

    fn pod(namespace: &str, name: &str) -> PodRecord {
        PodRecord {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            service_account: "default".to_owned(),
            addresses: vec![ip(ADDRESS)],
            node_addresses: vec![ip("192.0.2.1")],
            host_network: false,
            gateway: false,
            node: String::new(),
            labels: BTreeMap::new(),
        }
    }

    fn ip(address: &str) -> IpAddr {
        address.parse().unwrap()
    }
}
