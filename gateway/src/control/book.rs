//! Judges the Peers, tells the links of those that are accepted, and has each one's Lease
//! contended for. Removes the copies of clusters that are nobody's peer any more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{self, Instant, MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard};
use tombolo_catalog::ServiceName;
use tombolo_crds::Peer;
use tombolo_link::{CaBundle, PeerConfig};
use tombolo_runtime::watch::Origin;

use super::Control;
use super::keeper::Keeper;
use super::store::{Failure, Store};
use crate::peers::{Rejection, evaluate};

/// How long the copies of a removed Peer stay: who replaces it deletes it first.
const ORPHANED: Duration = Duration::from_secs(5);
const SWEEP: Duration = Duration::from_secs(1);

/// A Peer and what was found of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judged {
    pub(super) peer: Arc<Peer>,
    pub(super) rejection: Option<Rejection>,
    /// Whether the copies of the cluster's exports are this Peer's: it is accepted, or was, and no
    /// other Peer with its ID is.
    pub(super) has_copies: bool,
}

/// All Peers by name.
pub(super) type Book = BTreeMap<String, Judged>;

struct Bookkeeper {
    control: Arc<Control>,
    book: watch::Sender<Arc<Book>>,
    keepers: HashMap<String, DropGuard>,
    /// Clusters that have copies but no Peer, and since when.
    orphans: HashMap<String, Instant>,
}

pub(super) async fn run(control: Arc<Control>) {
    // Judged before it is complete, the book would close the links of the Peers not yet listed.
    control.watches.peers.synced().await;
    let mut changes = control.world.changes();
    let mut ticks = time::interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let book = watch::Sender::new(Arc::default());
    let mut keeper = Bookkeeper {
        control,
        book,
        keepers: HashMap::new(),
        orphans: HashMap::new(),
    };
    let mut version = None;
    loop {
        let newest = keeper.control.peers.lock().version();
        if version.replace(newest) != Some(newest) {
            keeper.judge();
        }
        tokio::select! {
            more = changes.changed() => if more.is_err() { return },
            _ = ticks.tick() => keeper.sweep().await,
        }
    }
}

// === impl Bookkeeper ===

impl Bookkeeper {
    fn judge(&mut self) {
        let peers = self.control.peers.lock().values();
        let check = |pem: &str| {
            CaBundle::parse(pem)
                .map(drop)
                .map_err(|error| error.to_string())
        };
        let own = self.control.links.cluster();
        let verdicts = evaluate(own, peers.iter().map(AsRef::as_ref), check);

        let accepted = verdicts
            .values()
            .filter_map(|verdict| verdict.as_ref().ok());
        let accepted: Vec<_> = accepted.filter_map(|peer| config(peer)).collect();
        let is_served = |cluster: &str| accepted.iter().any(|peer| peer.cluster == cluster);
        let mut book = Book::new();
        for peer in &peers {
            let name = peer.metadata.name.clone().unwrap_or_default();
            let Some(verdict) = verdicts.get(name.as_str()) else {
                continue;
            };
            let rejection = verdict.as_ref().err().cloned();
            let has_copies = rejection.as_ref().is_none_or(|rejection| {
                rejection.names_a_cluster() && !is_served(&peer.spec.cluster_id)
            });
            let judged = Judged {
                peer: Arc::clone(peer),
                rejection,
                has_copies,
            };
            book.insert(name, judged);
        }
        self.control.links.set_peers(accepted);
        self.keepers.retain(|name, _| book.contains_key(name));
        self.book.send_replace(Arc::new(book));

        let book = self.book.borrow().clone();
        for name in book
            .keys()
            .filter(|name| !self.keepers.contains_key(*name))
            .collect::<Vec<_>>()
        {
            let stop = CancellationToken::new();
            let keeper = Keeper::new(Arc::clone(&self.control), name, self.book.subscribe());
            let task = format!("peer {name}");
            let until = stop.clone();
            drop(self.control.tasks.spawn_service(&task, async move {
                until.run_until_cancelled(keeper.run()).await;
            }));
            self.keepers.insert(name.clone(), stop.drop_guard());
        }
    }

    async fn sweep(&mut self) {
        let control = &self.control;
        let watches = &control.watches;
        let is_known = |watch: &tombolo_runtime::watch::Handle| {
            let health = watch.health();
            health.origin() == Some(Origin::Api) && health.hears()
        };
        if !(is_known(&watches.peers) && is_known(&watches.exports)) {
            return;
        }
        let peers: BTreeSet<String> = control
            .peers
            .lock()
            .values()
            .iter()
            .map(|p| p.spec.cluster_id.clone())
            .collect();
        let copied: BTreeSet<String> = control
            .world
            .exports
            .lock()
            .values()
            .iter()
            .map(|e| e.cluster.clone())
            .collect();
        let now = Instant::now();
        let own = control.links.cluster();
        self.orphans
            .retain(|cluster, _| copied.contains(cluster) && !peers.contains(cluster));
        for cluster in copied
            .iter()
            .filter(|cluster| !peers.contains(*cluster) && *cluster != own)
        {
            self.orphans.entry(cluster.clone()).or_insert(now);
        }
        let due: Vec<_> = self
            .orphans
            .iter()
            .filter(|(_, since)| now >= **since + ORPHANED)
            .map(|(cluster, _)| cluster.clone())
            .collect();
        for cluster in due {
            match remove(control, &cluster).await {
                Ok(count) => tracing::info!(cluster, count, "no Peer any more: copies removed"),
                Err(error) => tracing::info!(cluster, %error, "copies not removed"),
            }
        }
    }
}

// Every replica does this on its own: whoever is second finds nothing.
async fn remove(control: &Control, cluster: &str) -> Result<usize, Failure> {
    let store = Store::new(control.client.clone(), &control.namespace);
    if store
        .peers()
        .await?
        .iter()
        .any(|peer| peer.spec.cluster_id == cluster)
    {
        return Ok(0);
    }
    let copies: Vec<_> = control
        .world
        .exports
        .lock()
        .objects()
        .values()
        .filter(|export| export.cluster == cluster)
        .map(|export| ServiceName::from(&**export))
        .collect();
    for service in &copies {
        store.delete(cluster, service).await?;
    }
    Ok(copies.len())
}

fn config(peer: &Peer) -> Option<PeerConfig> {
    Some(PeerConfig {
        cluster: peer.spec.cluster_id.clone(),
        addresses: peer.spec.addresses.clone(),
        bundle: CaBundle::parse(&peer.spec.ca_bundle).ok()?,
    })
}
