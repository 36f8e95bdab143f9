//! What the gateway counts of UDP.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{ByteLabels, DataPlaneMetrics, Direction, Flow, PeerLabels, ReasonLabels};

/// What carries a payload between clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Carrier {
    /// A datagram.
    Datagram,
    /// The flow's stream, as it fitted into no datagram.
    Stream,
}

/// Labels of payloads that were carried.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PayloadLabels {
    /// Which way they went.
    pub flow: Flow,
    /// What carried them.
    pub carrier: Carrier,
    /// ID of the other cluster; of this one where an endpoint here was chosen.
    pub cluster: String,
}

/// Labels of payloads that were dropped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DropLabels {
    /// Which way they would have gone.
    pub flow: Flow,
    /// One of a few words.
    pub reason: &'static str,
}

/// What is counted of UDP flows.
#[derive(Clone, Debug, Default)]
pub struct FlowMetrics {
    /// Flows that were opened end to end.
    pub opened: Family<PeerLabels, Counter>,
    /// Flows that are open.
    pub active: Family<PeerLabels, Gauge>,
    /// Flows that were refused, by reason.
    pub refused: Family<ReasonLabels, Counter>,
    /// Opened flows that have ended, by how.
    pub closed: Family<ReasonLabels, Counter>,
    /// Payloads.
    pub payloads: Family<PayloadLabels, Counter>,
    /// Payloads that were dropped, by reason.
    pub dropped: Family<DropLabels, Counter>,
}

/// The counters of the payloads that go one way in one flow.
#[derive(Clone, Debug)]
pub struct PayloadCounters {
    datagrams: Counter,
    streams: Counter,
    bytes: Counter,
}

/// Counts a flow as open while it lives.
#[derive(Debug)]
pub struct Open(Gauge);

// === impl Open ===

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

// === impl FlowMetrics ===

impl FlowMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("flows");
        registry.register(
            "opened",
            "UDP flows opened end to end",
            metrics.opened.clone(),
        );
        registry.register("active", "UDP flows open now", metrics.active.clone());
        registry.register("refused", "UDP flows refused", metrics.refused.clone());
        registry.register(
            "closed",
            "Opened UDP flows that ended",
            metrics.closed.clone(),
        );
        registry.register("payloads", "UDP payloads carried", metrics.payloads.clone());
        registry.register(
            "payloads_dropped",
            "UDP payloads dropped",
            metrics.dropped.clone(),
        );
        metrics
    }

    /// Counts a flow that was opened, and while it is open.
    #[must_use]
    pub fn open(&self, labels: &PeerLabels) -> Open {
        self.opened.get_or_create(labels).inc();
        let active = self.active.get_or_create_owned(labels);
        active.inc();
        Open(active)
    }

    /// Counts a flow that was not opened.
    pub fn refuse(&self, direction: Direction, reason: &'static str) {
        self.refused
            .get_or_create(&ReasonLabels { direction, reason })
            .inc();
    }

    /// Counts the end of an opened flow.
    pub fn close(&self, direction: Direction, reason: &'static str) {
        self.closed
            .get_or_create(&ReasonLabels { direction, reason })
            .inc();
    }

    /// Counts a payload that was dropped.
    pub fn drop_payload(&self, flow: Flow, reason: &'static str) {
        self.dropped
            .get_or_create(&DropLabels { flow, reason })
            .inc();
    }
}

// === impl DataPlaneMetrics ===

impl DataPlaneMetrics {
    /// The counters of payloads that are exchanged with a cluster.
    #[must_use]
    pub fn payloads_of(&self, flow: Flow, cluster: &str) -> PayloadCounters {
        let of = |carrier| {
            self.flows.payloads.get_or_create_owned(&PayloadLabels {
                flow,
                carrier,
                cluster: cluster.to_owned(),
            })
        };
        PayloadCounters {
            datagrams: of(Carrier::Datagram),
            streams: of(Carrier::Stream),
            bytes: self.bytes.get_or_create_owned(&ByteLabels {
                flow,
                cluster: cluster.to_owned(),
            }),
        }
    }
}

// === impl PayloadCounters ===

impl PayloadCounters {
    /// Counts a payload.
    pub fn count(&self, carrier: Carrier, length: usize) {
        match carrier {
            Carrier::Datagram => self.datagrams.inc(),
            Carrier::Stream => self.streams.inc(),
        };
        self.bytes.inc_by(length as u64);
    }
}
