//! Carries connections: out for clients here, in for those of other clusters.
//!
//! ```text
//! client ─ kube-proxy ─► near ═════ stream of a link ═════► far ─► endpoint
//!          UDP           near_flow ═ the same, and datagrams ═► far_flow
//!                          └─ where the policy says so ─► endpoint of this cluster
//! ```

mod attempts;
mod dial;
mod far;
mod far_flow;
mod flow;
mod near;
mod near_flow;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tombolo_catalog::{ServiceName, TrafficRules};
use tombolo_link::{LinkStream, Links, PeerLink};
use tombolo_runtime::tasks::Tasks;

use self::flow::Room;
use self::near_flow::NearFlow;
use crate::flows::{FlowLimits, FlowTable};
use crate::limiter::{Allowance, Limited, Limiter, Permit};
use crate::listeners::Handlers;
use crate::metrics::{DataPlaneMetrics, Direction, Flow, PeerLabels};
use crate::splice::{self, Bytes};
use crate::world::Snapshots;

/// How long things may take, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections carried at a time, both ways together.
    pub connections: usize,
    /// From a client's being accepted to its being refused, if no cluster opens its connection.
    pub open: Duration,
    /// For one endpoint to answer a dial.
    pub dial: Duration,
    /// UDP flows of clients here at a time.
    pub flows: FlowLimits,
}

/// The data plane of one gateway.
pub struct DataPlane {
    links: Links,
    links_status: watch::Receiver<Arc<BTreeMap<String, PeerLink>>>,
    own_cluster: Arc<str>,
    snapshots: Arc<Snapshots>,
    metrics: DataPlaneMetrics,
    limits: Limits,
    tasks: Tasks,
    active: AtomicUsize,
    near_flows: Mutex<FlowTable<NearFlow>>,
    room: Room,
    /// How many connections have asked chance.
    draws: AtomicU64,
    limiters: Mutex<HashMap<ServiceName, Arc<Limiter>>>,
}

/// One of the connections that [`Limits::connections`] allows.
struct Admission<'a>(&'a AtomicUsize);

// === impl Limits ===

impl Limits {
    /// For a process that may have so many files open: a connection has one, and some are needed
    /// for the rest.
    #[must_use]
    pub fn for_open_files(files: u64) -> Self {
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        Self {
            connections: files.saturating_sub(1024).max(files / 2),
            // Longer than an answer of the far side that had to try every endpoint.
            open: Duration::from_secs(10),
            // A lost SYN is sent again after one second.
            dial: Duration::from_millis(2500),
            flows: FlowLimits::default(),
        }
    }
}

// === impl DataPlane ===

impl DataPlane {
    /// Carries what `snapshots` say over `links`, in `tasks` of the data plane's runtime.
    #[must_use]
    pub fn new(
        links: Links,
        snapshots: Arc<Snapshots>,
        metrics: DataPlaneMetrics,
        limits: Limits,
        tasks: Tasks,
    ) -> Arc<Self> {
        Arc::new(Self {
            own_cluster: Arc::from(links.cluster()),
            links_status: links.status(),
            links,
            snapshots,
            metrics,
            limits,
            tasks,
            active: AtomicUsize::new(0),
            near_flows: Mutex::new(FlowTable::new(limits.flows)),
            room: Room::new(),
            draws: AtomicU64::new(0),
            limiters: Mutex::default(),
        })
    }

    /// What serves the clients of [listeners](crate::listeners::Listeners).
    #[must_use]
    pub fn handlers(self: &Arc<Self>) -> Handlers {
        let (of_tcp, of_udp) = (Arc::clone(self), Arc::clone(self));
        Handlers {
            accept: Arc::new(move |port, client, address| of_tcp.accept(port, client, address)),
            receive: Arc::new(move |port, socket, stop| of_udp.receive(port, socket, stop)),
        }
    }

    /// Connections that are open, or being opened.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    fn admit(&self) -> Option<Admission<'_>> {
        if self.active.fetch_add(1, Ordering::Relaxed) < self.limits.connections {
            return Some(Admission(&self.active));
        }
        self.active.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Lets a connection to an import in, as far as its policy allows.
    fn admit_to(
        &self,
        import: &ServiceName,
        rules: &TrafficRules,
    ) -> Result<Option<Permit>, Limited> {
        let allowance = Allowance {
            connections: rules.connections,
            per_second: rules.connections_per_second,
        };
        if !allowance.is_limited() {
            return Ok(None);
        }
        let limiter = Arc::clone(self.limiters.lock().entry(import.clone()).or_default());
        let replicas = self.snapshots.replicas.load(Ordering::Relaxed);
        limiter
            .admit(Instant::now(), allowance.share(replicas))
            .map(Some)
    }

    async fn splice_here(&self, client: TcpStream, endpoint: TcpStream) {
        let labels = PeerLabels {
            direction: Direction::Outbound,
            cluster: self.own_cluster.to_string(),
        };
        self.metrics.opened.get_or_create(&labels).inc();
        let bytes = Bytes {
            sent: self.metrics.bytes_of(Flow::Sent, &self.own_cluster),
            received: self.metrics.bytes_of(Flow::Received, &self.own_cluster),
        };
        let active = self.metrics.active.get_or_create_owned(&labels);
        active.inc();
        let end = splice::splice_here(client, endpoint, &bytes).await;
        active.dec();
        self.metrics.close(Direction::Outbound, end.reason());
        tracing::trace!(end = end.reason(), "closed, to an endpoint here");
    }

    async fn splice(
        &self,
        direction: Direction,
        cluster: &str,
        tcp: TcpStream,
        stream: LinkStream,
    ) {
        let labels = PeerLabels {
            direction,
            cluster: cluster.to_owned(),
        };
        self.metrics.opened.get_or_create(&labels).inc();
        let bytes = Bytes {
            sent: self.metrics.bytes_of(Flow::Sent, cluster),
            received: self.metrics.bytes_of(Flow::Received, cluster),
        };
        let active = self.metrics.active.get_or_create_owned(&labels);
        active.inc();
        let end = splice::splice(tcp, stream, &bytes).await;
        active.dec();
        self.metrics.close(direction, end.reason());
        tracing::trace!(?direction, cluster, end = end.reason(), "closed");
    }
}

// === impl Admission ===

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
