//! What a replica says of itself: to the operator, which lists it in EndpointSlices, and to its
//! siblings.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use tombolo_catalog::ServiceName;
use tombolo_crds::well_known::{
    COMPONENT_LABEL, LINKED_CLUSTERS_ANNOTATION, LISTENING_ANNOTATION,
    REFUSED_ENDPOINTS_ANNOTATION, REFUSED_PORTS_ANNOTATION,
};

/// How often a replica is heard of.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// After so long without a word a replica is taken for dead.
pub const SILENCE: Duration = Duration::from_secs(3);

/// How long an endpoint is refused before anybody is told: its slice may be here before its pod.
const PATIENCE: Duration = Duration::from_secs(5);
/// Services with refused endpoints that a beat names: it is written each second.
const MOST_TOLD: usize = 32;

/// What a replica says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// IDs of the clusters that it has a link to; none when it is about to stop.
    pub linked: BTreeSet<String>,
    /// The newest resourceVersion of a derived Service of which all ports are listened on.
    pub listening: Option<u64>,
    /// Ports on which it cannot or will not listen.
    pub refused: BTreeSet<u16>,
    /// Exported Services of which it refuses to dial an endpoint, with one such address.
    pub refused_endpoints: BTreeMap<ServiceName, IpAddr>,
}

/// Tells endpoints that are refused from those whose pod was only not heard of yet.
#[derive(Debug, Default)]
pub struct RefusedEndpoints(BTreeMap<ServiceName, (IpAddr, Instant)>);

/// What the replicas of this cluster, this one too, were last heard to say.
#[derive(Debug, Default)]
pub struct Siblings(BTreeMap<String, (BTreeSet<String>, Instant)>);

// === impl Beat ===

impl Beat {
    /// The Lease that says it, of the replica `name` in its Pod `owner`.
    #[must_use]
    pub fn lease(&self, name: &str, owner: OwnerReference, now: Timestamp) -> Lease {
        let mut annotations =
            BTreeMap::from([(LINKED_CLUSTERS_ANNOTATION.to_owned(), join(&self.linked))]);
        if let Some(listening) = self.listening {
            annotations.insert(LISTENING_ANNOTATION.to_owned(), listening.to_string());
        }
        if !self.refused.is_empty() {
            annotations.insert(REFUSED_PORTS_ANNOTATION.to_owned(), join(&self.refused));
        }
        if !self.refused_endpoints.is_empty() {
            let refused = self.refused_endpoints.iter().take(MOST_TOLD);
            let refused: Vec<_> = refused
                .map(|(service, address)| format!("{service}={address}"))
                .collect();
            annotations.insert(REFUSED_ENDPOINTS_ANNOTATION.to_owned(), refused.join(","));
        }
        let silence = i32::try_from(SILENCE.as_secs()).unwrap_or(i32::MAX);
        Lease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some([(COMPONENT_LABEL.to_owned(), "gateway".to_owned())].into()),
                annotations: Some(annotations),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(name.to_owned()),
                lease_duration_seconds: Some(silence),
                renew_time: Some(MicroTime(now)),
                ..LeaseSpec::default()
            }),
        }
    }
}

/// The clusters that a replica's Lease says it is linked to, and the time that it gives, which only
/// serves to tell one beat from the next.
#[must_use]
pub fn read(lease: &Lease) -> (BTreeSet<String>, Option<Timestamp>) {
    let annotations = lease.metadata.annotations.as_ref();
    let linked = annotations.and_then(|annotations| annotations.get(LINKED_CLUSTERS_ANNOTATION));
    let linked = linked.map(String::as_str).unwrap_or_default().split(',');
    let renewed = lease
        .spec
        .as_ref()
        .and_then(|spec| spec.renew_time.as_ref());
    (
        linked
            .filter(|cluster| !cluster.is_empty())
            .map(str::to_owned)
            .collect(),
        renewed.map(|time| time.0),
    )
}

// === impl RefusedEndpoints ===

impl RefusedEndpoints {
    /// These are refused now; those of them that have been for long enough to be told.
    pub fn observe(
        &mut self,
        now: Instant,
        refused: BTreeMap<ServiceName, IpAddr>,
    ) -> BTreeMap<ServiceName, IpAddr> {
        let before = std::mem::take(&mut self.0);
        let since = |service: &ServiceName| before.get(service).map_or(now, |(_, since)| *since);
        self.0 = refused
            .into_iter()
            .map(|(service, address)| {
                let since = since(&service);
                (service, (address, since))
            })
            .collect();
        let told = self
            .0
            .iter()
            .filter(|(_, (_, since))| now >= *since + PATIENCE);
        told.map(|(service, (address, _))| (service.clone(), *address))
            .collect()
    }
}

// === impl Siblings ===

impl Siblings {
    /// `replica` was heard.
    pub fn hear(&mut self, now: Instant, replica: &str, linked: BTreeSet<String>) {
        self.0.insert(replica.to_owned(), (linked, now));
    }

    /// `replica` is no more.
    pub fn forget(&mut self, replica: &str) {
        self.0.remove(replica);
    }

    /// Whether a replica other than `me`, not taken for dead, has a link to `cluster`.
    #[must_use]
    pub fn have_link(&self, now: Instant, me: &str, cluster: &str) -> bool {
        self.0.iter().any(|(replica, (linked, heard))| {
            replica != me
                && now.saturating_duration_since(*heard) < SILENCE
                && linked.contains(cluster)
        })
    }
}

fn join<T: ToString>(items: &BTreeSet<T>) -> String {
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_says_what_the_operator_reads() {
        let beat = Beat {
            linked: ["north".to_owned(), "east".to_owned()].into(),
            listening: Some(4711),
            refused: [10_007, 10_003].into(),
            refused_endpoints: [
                (ServiceName::new("shop", "db"), ip("192.0.2.7")),
                (ServiceName::new("demo", "web"), ip("fd00::7")),
            ]
            .into(),
        };

        let lease = beat.lease("gateway-a", OwnerReference::default(), at(1));

        let annotations = lease.metadata.annotations.clone().unwrap();
        assert_eq!(annotations["tombolo.io/linked-clusters"], "east,north");
        assert_eq!(annotations["tombolo.io/listening"], "4711");
        assert_eq!(annotations["tombolo.io/refused-ports"], "10003,10007");
        assert_eq!(
            annotations["tombolo.io/refused-endpoints"],
            "demo/web=fd00::7,shop/db=192.0.2.7"
        );
        assert_eq!(
            lease.metadata.labels.clone().unwrap()["tombolo.io/component"],
            "gateway"
        );
        assert_eq!(lease.spec.clone().unwrap().lease_duration_seconds, Some(3));
        assert_eq!(read(&lease), (beat.linked, Some(at(1))));
    }

    #[test]
    fn before_anything_is_known_a_beat_claims_nothing() {
        let lease = Beat::default().lease("gateway-a", OwnerReference::default(), at(1));

        let annotations = lease.metadata.annotations.clone().unwrap();
        assert_eq!(annotations.get("tombolo.io/listening"), None);
        assert_eq!(annotations["tombolo.io/linked-clusters"], "");
        assert_eq!(read(&lease).0, BTreeSet::new());
    }

    #[test]
    fn a_sibling_counts_while_it_is_heard() {
        let start = Instant::now();
        let mut siblings = Siblings::default();
        siblings.hear(start, "gateway-a", ["east".to_owned()].into());
        siblings.hear(start, "gateway-b", BTreeSet::new());

        assert!(siblings.have_link(start, "gateway-b", "east"));
        assert!(!siblings.have_link(start, "gateway-a", "east"));
        assert!(!siblings.have_link(start, "gateway-b", "north"));
        assert!(!siblings.have_link(start + SILENCE, "gateway-b", "east"));

        siblings.forget("gateway-a");
        assert!(!siblings.have_link(start, "gateway-b", "east"));
    }

    #[test]
    fn a_refused_endpoint_is_told_when_its_pod_had_the_time_to_be_heard_of() {
        let start = Instant::now();
        let refused = BTreeMap::from([(ServiceName::new("demo", "web"), ip("192.0.2.7"))]);
        let mut endpoints = RefusedEndpoints::default();

        assert!(endpoints.observe(start, refused.clone()).is_empty());
        let early = start + PATIENCE / 2;
        assert!(endpoints.observe(early, refused.clone()).is_empty());
        let late = start + PATIENCE;
        assert_eq!(endpoints.observe(late, refused.clone()), refused);

        assert!(endpoints.observe(late, BTreeMap::new()).is_empty());
        assert!(endpoints.observe(late, refused).is_empty());
    }

    fn ip(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }
}
