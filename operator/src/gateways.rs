//! Which gateway replicas are alive, and what each of them can carry.
//!
//! ```text
//! Pods ─────────────┐
//! Leases ───────────┼─► Gateways ─► Listings ─► EndpointSlices of peers
//! hang-ups ─────────┤       └─► "read the Leases" (before a replica is given up)
//! time, answers ────┘
//! ```
//!
//! A replica renews its Lease each second. One that was not seen to do so for [`SILENCE`] is given
//! up only after a fresh read of the Leases has confirmed it: a watch that hangs, and an API server
//! that nobody could write to, look like the death of all gateways and must not be taken for it.
//!
//! One whose kernel says that nobody listens there any more is given up at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use tombolo_catalog::ServiceName;
use tombolo_crds::well_known::{
    LINKED_CLUSTERS_ANNOTATION, LISTENING_ANNOTATION, REFUSED_ENDPOINTS_ANNOTATION,
    REFUSED_PORTS_ANNOTATION,
};

#[cfg(test)]
mod tests;

/// A replica whose Lease did not change for this long is dead: three heartbeats.
pub const SILENCE: Duration = Duration::from_secs(3);

/// What the EndpointSlices may say of a replica that is taken to be alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The addresses of its pod, at most one a family.
    pub addresses: Vec<IpAddr>,
    /// Whether it was heard since this operator started. One that was not may be dead already:
    /// it keeps what the slices list of it, and gets no more.
    pub heard: bool,
    /// IDs of the clusters that it has a link to.
    pub linked: BTreeSet<String>,
    /// It listens on every port of the derived Services up to this resourceVersion.
    pub listening: Option<u64>,
    /// Ports on which it does not listen all the same.
    pub refused: BTreeSet<u16>,
    /// Exported Services of which it refuses to dial an endpoint, with one such address.
    pub refused_endpoints: BTreeMap<ServiceName, IpAddr>,
}

/// What changed for the imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Any import may have to list other replicas.
    Replicas,
    /// A replica caught up: imports whose derived Service has got its ports after the first
    /// resourceVersion, up to the second, may list it.
    Listening {
        /// The replica did so before, up to here.
        after: u64,
        /// Now it does up to here.
        upto: u64,
    },
    /// Endpoints of exported Services are refused, or no longer.
    RefusedEndpoints,
}

/// The gateway replicas of this cluster. Time is an argument.
#[derive(Debug, Default)]
pub struct Gateways {
    pods: BTreeMap<String, Place>,
    /// Replicas whose process has ended, and when, until another one speaks in its place.
    hung_up: BTreeMap<String, Instant>,
    heartbeats: BTreeMap<String, Heartbeat>,
    published: BTreeMap<String, Listing>,
    watch_broken: bool,
    /// The last attempt to read the Leases failed: replicas could not renew theirs either.
    read_failed: bool,
}

/// Where a replica's pod is reached.
#[derive(Debug)]
struct Place {
    addresses: Vec<IpAddr>,
    /// Port of its admin server.
    admin: Option<u16>,
}

#[derive(Debug)]
struct Heartbeat {
    renewed: Option<MicroTime>,
    heard_at: Instant,
    vitality: Vitality,
    linked: BTreeSet<String>,
    listening: Option<u64>,
    refused: BTreeSet<u16>,
    refused_endpoints: BTreeMap<ServiceName, IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vitality {
    /// Its Lease is there; whether it is still renewed is not known yet.
    Unheard,
    Alive,
    Silent,
}

// === impl Gateways ===

impl Gateways {
    /// A gateway's pod is there, or changed.
    pub fn handle_pod(&mut self, pod: &Pod) {
        let Some(name) = pod.metadata.name.clone() else {
            return;
        };
        let addresses = usable_addresses(pod);
        if addresses.is_empty() {
            self.pods.remove(&name);
        } else {
            let admin = admin_port(pod);
            self.pods.insert(name, Place { addresses, admin });
        }
    }

    /// A gateway's pod is gone.
    pub fn handle_pod_gone(&mut self, name: &str) {
        self.pods.remove(name);
        self.hung_up.remove(name);
    }

    /// The process in a gateway's pod has ended: its kernel says so.
    pub fn handle_hangup(&mut self, now: Instant, name: &str) {
        self.hung_up.insert(name.to_owned(), now);
    }

    /// The process in a gateway's pod answers. What an earlier one said is no word of it: the
    /// replica counts from its next heartbeat on.
    pub fn handle_answer(&mut self, name: &str) {
        if self.hung_up.remove(name).is_some()
            && let Some(heartbeat) = self.heartbeats.get_mut(name)
        {
            heartbeat.vitality = Vitality::Silent;
        }
    }

    /// These are all of the gateways' pods.
    pub fn handle_pods<'a>(&mut self, pods: impl IntoIterator<Item = &'a Pod>) {
        self.pods.clear();
        for pod in pods {
            self.handle_pod(pod);
        }
    }

    /// A replica's Lease was written.
    pub fn handle_lease(&mut self, now: Instant, lease: &Lease) {
        self.hear(now, lease, Vitality::Alive);
    }

    /// A replica's Lease is gone: it left in order, or was forgotten.
    pub fn handle_lease_gone(&mut self, name: &str) {
        self.heartbeats.remove(name);
    }

    /// The watch (again) has all Leases. What was renewed before that says little about now, so
    /// every replica has [`SILENCE`] from here.
    pub fn handle_leases<'a>(&mut self, now: Instant, leases: impl IntoIterator<Item = &'a Lease>) {
        self.watch_broken = false;
        self.retain_and_hear(now, leases);
        self.restart_clocks(now);
    }

    /// The watch of Leases is broken: nobody is silent because we do not listen.
    pub fn handle_watch_broken(&mut self) {
        self.watch_broken = true;
    }

    /// The watch hears again, and nothing was missed. Every replica has [`SILENCE`] from here.
    pub fn handle_watch_restored(&mut self, now: Instant) {
        self.watch_broken = false;
        self.restart_clocks(now);
    }

    /// Where the admin server of each replica is.
    #[must_use]
    pub fn admin_servers(&self) -> BTreeMap<String, SocketAddr> {
        let servers = self.pods.iter().filter_map(|(name, place)| {
            let address = place.addresses.first()?;
            Some((name.clone(), SocketAddr::new(*address, place.admin?)))
        });
        servers.collect()
    }

    /// When [`Gateways::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.watch_broken {
            return None;
        }
        self.heartbeats
            .values()
            .filter_map(Heartbeat::deadline)
            .min()
    }

    /// Whether a replica is overdue, so that the Leases are to be read and the answer given to
    /// [`Gateways::handle_read`].
    #[must_use]
    pub fn handle_timeout(&self, now: Instant) -> bool {
        self.poll_timeout().is_some_and(|deadline| deadline <= now)
    }

    /// The Leases as just read from the API server; `None` if it did not answer.
    pub fn handle_read(&mut self, now: Instant, leases: Option<&[Lease]>) {
        let Some(leases) = leases else {
            self.read_failed = true;
            self.restart_clocks(now);
            return;
        };
        self.retain_and_hear(now, leases);
        if std::mem::take(&mut self.read_failed) {
            self.restart_clocks(now);
            return;
        }
        for heartbeat in self.heartbeats.values_mut() {
            if heartbeat.deadline().is_some_and(|deadline| deadline <= now) {
                heartbeat.vitality = Vitality::Silent;
            }
        }
    }

    /// What the imports are to be told since the last call.
    #[must_use]
    pub fn poll_changes(&mut self) -> BTreeSet<Change> {
        let current: BTreeMap<String, Listing> = self.current().collect();
        let changes = changes(&self.published, &current);
        self.published = current;
        changes
    }

    /// The replicas that are taken to be alive, in the order of their names, as of the last
    /// [`Gateways::poll_changes`].
    pub fn listings(&self) -> impl Iterator<Item = &Listing> {
        self.published.values()
    }

    fn retain_and_hear<'a>(&mut self, now: Instant, leases: impl IntoIterator<Item = &'a Lease>) {
        let mut present = BTreeSet::new();
        for lease in leases {
            self.hear(now, lease, Vitality::Unheard);
            present.extend(lease.metadata.name.clone());
        }
        self.heartbeats.retain(|name, _| present.contains(name));
    }

    /// `first` is what a Lease that was not known says of its replica: one that was just created
    /// is a sign of life, one that was found is not.
    fn hear(&mut self, now: Instant, lease: &Lease, first: Vitality) {
        let Some(name) = lease.metadata.name.clone() else {
            return;
        };
        let mut heartbeat = Heartbeat::of(now, lease, first);
        if let Some(known) = self.heartbeats.get(&name) {
            if known.renewed == heartbeat.renewed {
                heartbeat.heard_at = known.heard_at;
                heartbeat.vitality = known.vitality;
            } else {
                heartbeat.vitality = Vitality::Alive;
                // Nobody's last words take so long: there is a process, if none that we reach.
                let since = self.hung_up.get(&name);
                if since.is_some_and(|since| now >= *since + SILENCE) {
                    self.hung_up.remove(&name);
                }
            }
        }
        self.heartbeats.insert(name, heartbeat);
    }

    fn restart_clocks(&mut self, now: Instant) {
        for heartbeat in self.heartbeats.values_mut() {
            heartbeat.heard_at = now;
        }
    }

    fn current(&self) -> impl Iterator<Item = (String, Listing)> {
        self.heartbeats.iter().filter_map(|(name, heartbeat)| {
            let place = self.pods.get(name)?;
            if heartbeat.vitality == Vitality::Silent || self.hung_up.contains_key(name) {
                return None;
            }
            let listing = Listing {
                addresses: place.addresses.clone(),
                heard: heartbeat.vitality == Vitality::Alive,
                linked: heartbeat.linked.clone(),
                listening: heartbeat.listening,
                refused: heartbeat.refused.clone(),
                refused_endpoints: heartbeat.refused_endpoints.clone(),
            };
            Some((name.clone(), listing))
        })
    }
}

// === impl Heartbeat ===

impl Heartbeat {
    fn of(now: Instant, lease: &Lease, vitality: Vitality) -> Self {
        let annotation = |key| {
            let annotations = lease.metadata.annotations.as_ref();
            annotations
                .and_then(|all| all.get(key))
                .map_or("", String::as_str)
        };
        let words = |key| {
            annotation(key)
                .split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty())
        };
        Self {
            renewed: lease.spec.as_ref().and_then(|spec| spec.renew_time.clone()),
            heard_at: now,
            vitality,
            linked: words(LINKED_CLUSTERS_ANNOTATION)
                .map(str::to_owned)
                .collect(),
            listening: annotation(LISTENING_ANNOTATION).parse().ok(),
            refused: words(REFUSED_PORTS_ANNOTATION)
                .filter_map(|w| w.parse().ok())
                .collect(),
            refused_endpoints: words(REFUSED_ENDPOINTS_ANNOTATION)
                .filter_map(refused_endpoint)
                .collect(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        (self.vitality != Vitality::Silent).then(|| self.heard_at + SILENCE)
    }
}

/// Reads `namespace/name=address`.
fn refused_endpoint(word: &str) -> Option<(ServiceName, IpAddr)> {
    let (service, address) = word.split_once('=')?;
    let (namespace, name) = service.split_once('/')?;
    Some((ServiceName::new(namespace, name), address.parse().ok()?))
}

fn admin_port(pod: &Pod) -> Option<u16> {
    let containers = &pod.spec.as_ref()?.containers;
    let mut ports = containers.iter().flat_map(|c| c.ports.iter().flatten());
    let admin = ports.find(|port| port.name.as_deref() == Some("admin"))?;
    u16::try_from(admin.container_port).ok()
}

fn usable_addresses(pod: &Pod) -> Vec<IpAddr> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let ended = matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
    if ended || pod.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let all = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let mut addresses: Vec<IpAddr> = all.filter_map(|ip| ip.parse().ok()).collect();
    if addresses.is_empty() {
        addresses.extend(
            status
                .pod_ip
                .as_deref()
                .and_then(|ip| ip.parse::<IpAddr>().ok()),
        );
    }
    addresses
}

fn changes(
    before: &BTreeMap<String, Listing>,
    after: &BTreeMap<String, Listing>,
) -> BTreeSet<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| change(before.get(name), after.get(name)))
        .collect()
}

fn change(before: Option<&Listing>, after: Option<&Listing>) -> Option<Change> {
    if before == after {
        return None;
    }
    let (Some(before), Some(after)) = (before, after) else {
        return Some(Change::Replicas);
    };
    let same_endpoints = Listing {
        refused_endpoints: before.refused_endpoints.clone(),
        ..after.clone()
    };
    if same_endpoints == *before {
        return Some(Change::RefusedEndpoints);
    }
    let (Some(from), Some(upto)) = (before.listening, after.listening) else {
        return Some(Change::Replicas);
    };
    let caught_up = Listing {
        listening: before.listening,
        ..same_endpoints
    };
    if caught_up != *before || upto < from {
        return Some(Change::Replicas);
    }
    Some(Change::Listening { after: from, upto })
}
