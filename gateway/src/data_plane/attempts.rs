//! What is known when a client connects, put together for [`choose`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tombolo_catalog::TrafficRules;

use super::DataPlane;
use crate::affinity;
use crate::choice::{Attempt, Candidate, Client, Draw, choose};
use crate::routes::{NoRoute, Route};
use crate::service::Protocol;

// === impl DataPlane ===

impl DataPlane {
    /// The clusters to ask for a client, in order.
    pub(super) fn attempts(
        &self,
        protocol: Protocol,
        route: &Route,
        rules: &TrafficRules,
        client: SocketAddr,
    ) -> Result<Vec<Attempt>, NoRoute> {
        let candidates = self.candidates(protocol, route, rules)?;
        let attempts = choose(rules, &self.client(route, rules, client.ip()), &candidates);
        if attempts.is_empty() {
            return Err(NoRoute::NoCluster);
        }
        Ok(attempts)
    }

    fn candidates(
        &self,
        protocol: Protocol,
        route: &Route,
        rules: &TrafficRules,
    ) -> Result<Vec<Candidate>, NoRoute> {
        let own = self.own_candidate(protocol, route, rules);
        if route.clusters().is_empty() && own.is_none() {
            return Err(NoRoute::NoCluster);
        }
        let status = self.links_status.borrow();
        let is_linked = |cluster: &str| status.get(cluster).is_some_and(|peer| peer.is_connected());
        let linked = route.clusters().iter().filter(|cluster| is_linked(cluster));
        let peers = linked.map(|cluster| Candidate {
            cluster: Arc::clone(cluster),
            own: false,
            round_trip: self.links.round_trip(cluster),
            endpoints: self.links.headcounts(cluster, &route.import),
        });
        let candidates: Vec<_> = own.into_iter().chain(peers).collect();
        match candidates.is_empty() {
            true => Err(NoRoute::NotLinked),
            false => Ok(candidates),
        }
    }

    /// This cluster, where gateways split all traffic. Elsewhere kube-proxy has sent its share
    /// straight to the local pods already.
    fn own_candidate(
        &self,
        protocol: Protocol,
        route: &Route,
        rules: &TrafficRules,
    ) -> Option<Candidate> {
        if !rules.exact {
            return None;
        }
        let endpoints = self.snapshots.endpoints.load();
        let headcounts = endpoints.headcounts_of(&route.import, protocol, route.port)?;
        Some(Candidate {
            cluster: Arc::clone(&self.own_cluster),
            own: true,
            round_trip: None,
            endpoints: Some(headcounts),
        })
    }

    fn client(&self, route: &Route, rules: &TrafficRules, address: IpAddr) -> Client {
        let stays = rules.affinity.unwrap_or_else(|| route.has_affinity());
        let seed = match stays {
            true => affinity::Client::new(&self.own_cluster, address).seed(),
            // Hashed with each question, so one after the other is as good as random.
            false => self.draws.fetch_add(1, Ordering::Relaxed),
        };
        let endpoints = self.snapshots.endpoints.load();
        Client {
            place: endpoints.pods().place(address),
            draw: Draw::new(seed),
        }
    }
}

/// The labels of a subset; none for any pod.
pub(super) fn selector(rules: &TrafficRules, attempt: &Attempt) -> BTreeMap<String, String> {
    let subset = attempt.subset.and_then(|place| rules.subsets.get(place));
    subset
        .map(|subset| (*subset.labels).clone())
        .unwrap_or_default()
}
