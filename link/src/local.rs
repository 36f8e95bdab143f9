//! This side of all links: what every connection's tasks share.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use quinn::TransportConfig;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::UnixTime;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tombolo_link_wire::Hello;

use crate::catalog::CatalogSnapshot;
use crate::config::LinkConfig;
use crate::counts::{Counts, Event};
use crate::datagrams::Strays;
use crate::headcounts::AllHeadcounts;
use crate::hello;
use crate::identity::{ClusterId, Identity};
use crate::incoming::Incoming;
use crate::peer::Peer;
use crate::refusals::RefusalLog;
use crate::status::PeerLink;
use crate::trust::Trust;
use crate::tunnel::Admission;
use crate::unreachable::Unreachable;

pub(crate) type Status = BTreeMap<String, PeerLink>;

#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) config: LinkConfig,
    pub(crate) own: ClusterId,
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) identity: ArcSwap<Identity>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) transport: Arc<TransportConfig>,
    pub(crate) tunnel_transport: Arc<TransportConfig>,
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) server_config: quinn::ServerConfig,
    pub(crate) peers: RwLock<BTreeMap<String, Arc<Peer>>>,
    pub(crate) status: watch::Sender<Arc<Status>>,
    pub(crate) incoming: mpsc::Sender<Incoming>,
    pub(crate) catalog: watch::Receiver<Option<Arc<CatalogSnapshot>>>,
    pub(crate) siblings: watch::Receiver<u32>,
    pub(crate) headcounts: watch::Sender<Arc<AllHeadcounts>>,
    pub(crate) counts: Counts,
    pub(crate) strays: Arc<Strays>,
    pub(crate) unreachable: Unreachable,
    pub(crate) admission: Arc<Admission>,
    pub(crate) refusals: Mutex<RefusalLog>,
    pub(crate) tasks: TaskTracker,
    /// Where all tasks run, whoever causes them.
    pub(crate) runtime: Handle,
    /// Nothing new is to come.
    pub(crate) draining: CancellationToken,
    /// Everything is to end.
    pub(crate) closed: CancellationToken,
}

// === impl Local ===

impl Local {
    pub(crate) fn hello(&self) -> Hello {
        let siblings = *self.siblings.borrow();
        hello::hello(
            &self.own,
            &self.config.replica,
            siblings,
            &self.config.incarnation,
        )
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }

    pub(crate) fn peer(&self, cluster: &str) -> Option<Arc<Peer>> {
        self.peers.read().get(cluster).cloned()
    }

    /// The moment at which the first of a peer's certificate and the own one expires.
    pub(crate) fn expiry(&self, peers: Option<UnixTime>) -> Instant {
        let own = self.identity.load().not_after;
        let first = peers.map_or(own, |peers| peers.min(own));
        let left = first.as_secs().saturating_sub(UnixTime::now().as_secs());
        Instant::now() + Duration::from_secs(left)
    }

    /// Counts a refused dialler, and logs it unless there were many.
    pub(crate) fn refuse(
        &self,
        event: Event,
        reason: &'static str,
        remote: SocketAddr,
        error: &dyn Display,
    ) {
        self.counts.add(event, reason);
        if let Some(unlogged) = self.refusals.lock().permit(Instant::now(), reason) {
            tracing::info!(%remote, reason, unlogged, %error, "refused a link");
        }
    }
}
