//! What a gateway does besides carrying: it says that it lives, keeps listeners, tells its
//! cluster's catalog, and stores its peers'.
//!
//! Nothing here is on the way of a connection, and all of it waits for the API server where it
//! must: while that is away, what is known stays in memory and is written when it is back.

mod book;
mod catalog;
mod heartbeat;
mod keeper;
mod ports;
mod session;
mod status;
mod store;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use parking_lot::Mutex;
use tokio::sync::watch;
use tombolo_crds::Peer;
use tombolo_link::{CatalogSnapshot, Links};
use tombolo_runtime::events::Events;
use tombolo_runtime::readiness::Gate;
use tombolo_runtime::tasks::Tasks;
use tombolo_runtime::watch::Handle;

pub use self::ports::PortsReport;
use crate::heartbeat::Siblings;
use crate::listeners::Listeners;
use crate::metrics::{ControlMetrics, DataPlaneMetrics};
use crate::world::{SharedTable, World};

/// What the control tasks share.
pub struct Control {
    /// Of the Kubernetes API.
    pub client: Client,
    /// Tombolo's namespace.
    pub namespace: String,
    /// This replica: its Pod's name.
    pub replica: String,
    /// Where connections and catalogs go.
    pub links: Links,
    /// How long the exports of a peer stand that is not reached.
    pub export_lease: Duration,
    /// What the watches told.
    pub world: Arc<World>,
    /// The Peers.
    pub peers: SharedTable<Peer>,
    /// What the replicas of this cluster said.
    pub siblings: Arc<Mutex<Siblings>>,
    /// How well the watches do.
    pub watches: Watched,
    /// What users are told.
    pub events: Events,
    /// What is counted.
    pub metrics: ControlMetrics,
    /// Where all of it runs.
    pub tasks: Tasks,
}

/// The watches on whose completeness something depends.
pub struct Watched {
    /// Of derived Services.
    pub services: Handle,
    /// Of ClusterExports.
    pub exports: Handle,
    /// Of Peers.
    pub peers: Handle,
}

/// What the control tasks are given for themselves.
pub struct Outlets {
    /// The listeners of the data plane.
    pub listeners: Listeners,
    /// The runtime on which they are.
    pub data_plane: tokio::runtime::Handle,
    /// Its metrics.
    pub data_plane_metrics: DataPlaneMetrics,
    /// Where this cluster's catalog is told.
    pub catalog: watch::Sender<Option<Arc<CatalogSnapshot>>>,
    /// Where the number of this cluster's replicas is told.
    pub siblings: watch::Sender<u32>,
    /// Holds readiness back until the listeners are up.
    pub gate: Gate,
}

// === impl Control ===

impl Control {
    /// Starts all control tasks.
    pub fn spawn(self: Arc<Self>, outlets: Outlets) {
        let Outlets {
            listeners,
            data_plane,
            data_plane_metrics,
            catalog,
            siblings,
            gate,
        } = outlets;
        let (report, reported) = watch::channel(PortsReport::default());
        let ports = ports::Ports {
            control: Arc::clone(&self),
            listeners,
            data_plane,
            metrics: data_plane_metrics,
            siblings,
            gate,
            report,
        };
        let tasks = self.tasks.clone();
        tasks.spawn_critical("ports", ports.run());
        tasks.spawn_critical("heartbeat", heartbeat::run(Arc::clone(&self), reported));
        drop(tasks.spawn_service("catalog", catalog::run(Arc::clone(&self), catalog)));
        drop(tasks.spawn_service("peers", book::run(self)));
    }
}
