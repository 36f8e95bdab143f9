//! Keeps the snapshots fresh and the listeners as they say.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::{sync::watch, time};
use tombolo_catalog::ServiceName;
use tombolo_runtime::readiness::Gate;

use super::Control;
use crate::listeners::Listeners;
use crate::metrics::DataPlaneMetrics;
use crate::service::Protocol;

/// Changes within this time make one snapshot.
const COALESCE: Duration = Duration::from_millis(5);
/// When a port that another socket has is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long clients are still accepted after a stop was asked for: until the operator has taken
/// this replica out of the slices, and every node's kube-proxy has heard of it.
const LINGER: Duration = Duration::from_secs(5);

/// How far the listeners have come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortsReport {
    /// The newest resourceVersion of a derived Service of which all ports are listened on.
    pub listening: Option<u64>,
    /// Ports on which there is no listener though there should be.
    pub refused: BTreeSet<u16>,
    /// No client is accepted any more.
    pub closed: bool,
}

pub(super) struct Ports {
    pub(super) control: Arc<Control>,
    pub(super) listeners: Listeners,
    pub(super) data_plane: tokio::runtime::Handle,
    pub(super) metrics: DataPlaneMetrics,
    pub(super) siblings: watch::Sender<u32>,
    /// Opened when every port of the first complete list is listened on.
    pub(super) gate: Gate,
    pub(super) report: watch::Sender<PortsReport>,
}

// === impl Ports ===

impl Ports {
    pub(super) async fn run(mut self) -> Result<(), Infallible> {
        let drain = self.control.tasks.drain().clone();
        let mut changes = self.control.world.changes();
        // An empty list changes no table.
        let mut health = self.control.watches.services.health_changes();
        let mut not_carried = BTreeMap::new();
        while !drain.is_cancelled() {
            changes.mark_unchanged();
            self.refresh();
            self.tell_not_carried(&mut not_carried);
            let retry = async {
                match self.listeners.unavailable().is_empty() {
                    true => std::future::pending().await,
                    false => time::sleep(RETRY).await,
                }
            };
            tokio::select! {
                () = drain.cancelled() => {}
                () = retry => {}
                _ = changes.changed() => time::sleep(COALESCE).await,
                _ = health.changed() => {}
            }
        }
        self.linger(changes).await;
        Ok(())
    }

    // While clients still come, endpoints and routes still change.
    async fn linger(mut self, mut changes: watch::Receiver<()>) {
        self.control.links.drain();
        let end = time::Instant::now() + LINGER;
        while time::timeout_at(end, changes.changed()).await.is_ok() {
            time::sleep(COALESCE).await;
            self.control.world.refresh();
            self.tell_headcounts();
        }
        self.listeners.reconcile(&BTreeSet::new());
        tracing::info!("no client is accepted any more");
        self.report.send_modify(|report| report.closed = true);
        // What other clusters still ask for is answered until the links are closed.
        let control = Arc::clone(&self.control);
        let refreshing = async move {
            while changes.changed().await.is_ok() {
                time::sleep(COALESCE).await;
                control.world.refresh();
            }
        };
        drop(self.control.tasks.spawn_service("refresh", refreshing));
    }

    fn refresh(&mut self) {
        // Read first: what the snapshots hold is at least as new.
        let listening = self.control.watches.services.resource_version();
        let world = &self.control.world;
        world.refresh();
        let replicas = world
            .snapshots()
            .endpoints
            .load()
            .pods()
            .gateways(&self.control.namespace);
        self.siblings
            .send_if_modified(|siblings| std::mem::replace(siblings, replicas) != replicas);

        self.tell_headcounts();

        let routes = world.snapshots().routes.load_full();
        {
            let _on_data_plane = self.data_plane.enter();
            self.listeners.reconcile(&routes.ports());
        }
        // Numbers alone: the operator allots one to one port, whatever its protocol.
        let contested: BTreeSet<u16> = routes.contested().iter().map(|(_, port)| *port).collect();
        let unavailable = self.listeners.unavailable().iter().map(|(_, port)| *port);
        let refused: BTreeSet<u16> = unavailable.chain(contested.iter().copied()).collect();
        self.metrics.listeners.set(gauge(self.listeners.len()));
        self.metrics.refused_ports.set(gauge(refused.len()));
        if listening.is_some() {
            self.gate.open();
        }
        self.report.send_if_modified(|report| {
            for port in contested.difference(&report.refused) {
                tracing::warn!(
                    port,
                    "two imports claim this port, so neither is served on it"
                );
            }
            let now = PortsReport {
                listening,
                refused,
                closed: false,
            };
            let changed = *report != now;
            *report = now;
            changed
        });
    }

    fn tell_headcounts(&self) {
        let endpoints = self.control.world.snapshots().endpoints.load();
        self.control
            .links
            .set_headcounts(Arc::clone(endpoints.headcounts()));
    }

    fn tell_not_carried(&self, told: &mut BTreeMap<ServiceName, BTreeSet<(Protocol, u16)>>) {
        let routes = self.control.world.snapshots().routes.load();
        if told == routes.not_carried() {
            return;
        }
        for (import, ports) in routes.not_carried() {
            if told.get(import) == Some(ports) {
                continue;
            }
            let ports: Vec<_> = ports
                .iter()
                .map(|(protocol, port)| format!("{port}/{protocol}"))
                .collect();
            tracing::info!(%import, ports = ports.join(","), "only TCP and UDP are carried");
        }
        *told = routes.not_carried().clone();
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
