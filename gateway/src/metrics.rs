//! What the gateway counts.

mod flows;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use self::flows::{Carrier, DropLabels, FlowMetrics, Open, PayloadCounters, PayloadLabels};

/// Which way a connection was opened, seen from this cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Direction {
    /// By a client here, to another cluster.
    Outbound,
    /// By another cluster, to an endpoint here.
    Inbound,
}

/// Which way bytes went, seen from this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Flow {
    /// To the other cluster.
    Sent,
    /// From the other cluster.
    Received,
}

/// Labels of what concerns connections with one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PeerLabels {
    /// Which way they were opened.
    pub direction: Direction,
    /// ID of the other cluster; of this one where an endpoint here was chosen.
    pub cluster: String,
}

/// Labels of connections that were not opened, or have ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabels {
    /// Which way they were opened, or would have been.
    pub direction: Direction,
    /// One of a few words.
    pub reason: &'static str,
}

/// Labels of bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByteLabels {
    /// Which way they went.
    pub flow: Flow,
    /// ID of the other cluster; of this one where an endpoint here was chosen.
    pub cluster: String,
}

/// Labels of what is known of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ClusterLabels {
    /// Its ID.
    pub cluster: String,
}

/// Labels of something that has only a reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ErrorLabels {
    /// One of a few words.
    pub reason: &'static str,
}

/// What the data plane counts.
#[derive(Clone, Debug, Default)]
pub struct DataPlaneMetrics {
    /// Connections that were opened end to end.
    pub opened: Family<PeerLabels, Counter>,
    /// Connections that are open.
    pub active: Family<PeerLabels, Gauge>,
    /// Connections that were refused, by reason.
    pub refused: Family<ReasonLabels, Counter>,
    /// Opened connections that have ended, by how.
    pub closed: Family<ReasonLabels, Counter>,
    /// Payload of connections and flows.
    pub bytes: Family<ByteLabels, Counter>,
    /// UDP.
    pub flows: FlowMetrics,
    /// Endpoints that did not answer a dial.
    pub dial_failures: Counter,
    /// Ports that clients can connect to.
    pub listeners: Gauge,
    /// Ports that should have a listener and have none.
    pub refused_ports: Gauge,
}

/// What the control part counts.
#[derive(Clone, Debug, Default)]
pub struct ControlMetrics {
    /// Exports in a peer's catalog, on the replica that keeps the copies.
    pub exports: Family<ClusterLabels, Gauge>,
    /// Withdrawals that are held back, on the same replica.
    pub withheld: Family<ClusterLabels, Gauge>,
    /// Exports of a peer's catalog that were refused, by what was wrong.
    pub rejected_exports: Family<ErrorLabels, Counter>,
    /// Requests to the API server that failed, by what they were to do.
    pub write_failures: Family<ErrorLabels, Counter>,
}

// === impl DataPlaneMetrics ===

impl DataPlaneMetrics {
    /// Metrics that `registry` shows.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("gateway");
        let metrics = Self {
            flows: FlowMetrics::register(registry),
            ..Self::default()
        };
        registry.register(
            "connections_opened",
            "Connections opened end to end",
            metrics.opened.clone(),
        );
        registry.register(
            "connections_active",
            "Connections open now",
            metrics.active.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections refused",
            metrics.refused.clone(),
        );
        registry.register(
            "connections_closed",
            "Opened connections that ended",
            metrics.closed.clone(),
        );
        registry.register("bytes", "Payload carried", metrics.bytes.clone());
        registry.register(
            "dial_failures",
            "Endpoints that did not answer a dial",
            metrics.dial_failures.clone(),
        );
        registry.register(
            "listeners",
            "Import ports listened on",
            metrics.listeners.clone(),
        );
        registry.register(
            "refused_ports",
            "Import ports that cannot or may not be listened on",
            metrics.refused_ports.clone(),
        );
        metrics
    }

    /// Counts a connection that was not opened.
    pub fn refuse(&self, direction: Direction, reason: &'static str) {
        self.refused
            .get_or_create(&ReasonLabels { direction, reason })
            .inc();
    }

    /// Counts the end of an opened connection.
    pub fn close(&self, direction: Direction, reason: &'static str) {
        self.closed
            .get_or_create(&ReasonLabels { direction, reason })
            .inc();
    }

    /// The counter of bytes exchanged with a cluster.
    #[must_use]
    pub fn bytes_of(&self, flow: Flow, cluster: &str) -> Counter {
        self.bytes.get_or_create_owned(&ByteLabels {
            flow,
            cluster: cluster.to_owned(),
        })
    }
}

// === impl ControlMetrics ===

impl ControlMetrics {
    /// Metrics that `registry` shows.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("gateway");
        registry.register(
            "catalog_exports",
            "Exports in a peer's catalog, on the replica that keeps the copies",
            metrics.exports.clone(),
        );
        registry.register(
            "catalog_withheld",
            "Withdrawals of a peer held back, on the replica that keeps the copies",
            metrics.withheld.clone(),
        );
        registry.register(
            "catalog_rejected_exports",
            "Exports of peers that were refused",
            metrics.rejected_exports.clone(),
        );
        registry.register(
            "write_failures",
            "Requests to the API server that failed",
            metrics.write_failures.clone(),
        );
        metrics
    }

    /// Counts a part of a peer's catalog that is not used.
    pub fn reject_export(&self, reason: &'static str) {
        self.rejected_exports
            .get_or_create(&ErrorLabels { reason })
            .inc();
    }

    /// Counts a request to the API server that failed.
    pub fn fail_write(&self, reason: &'static str) {
        self.write_failures
            .get_or_create(&ErrorLabels { reason })
            .inc();
    }
}
