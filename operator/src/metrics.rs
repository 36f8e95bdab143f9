//! What the operator counts.

use std::fmt;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use crate::index::Index;

/// The operator's counters and gauges.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    reconciles: Family<ReconcileLabels, Counter>,
    writes: Family<WriteLabels, Counter>,
    queue: Gauge,
    leader: Gauge,
    identity_expiry: Gauge<i64, AtomicI64>,
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It makes or changes an object.
    Apply,
    /// It removes one.
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: &'static str,
    verb: &'static str,
    result: &'static str,
}

// === impl Metrics ===

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("operator");
        registry.register(
            "reconciles",
            "Looks at a service",
            metrics.reconciles.clone(),
        );
        registry.register("writes", "Writes to the API server", metrics.writes.clone());
        registry.register(
            "queue_depth",
            "Services that wait for a look",
            metrics.queue.clone(),
        );
        registry.register("leader", "1 if this replica writes", metrics.leader.clone());
        registry.register_with_unit(
            "gateway_identity_expiry_timestamp",
            "When the gateways' certificate ends, in seconds since 1970",
            Unit::Seconds,
            metrics.identity_expiry.clone(),
        );
        metrics
    }

    /// A look at a service has ended.
    pub(crate) fn reconciled(&self, error: Option<&'static str>) {
        let labels = ReconcileLabels {
            result: error.unwrap_or("Ok"),
        };
        self.reconciles.get_or_create(&labels).inc();
    }

    /// A write was tried.
    pub(crate) fn wrote(&self, kind: &'static str, verb: Verb, error: Option<&'static str>) {
        let verb = match verb {
            Verb::Apply => "apply",
            Verb::Delete => "delete",
        };
        let labels = WriteLabels {
            kind,
            verb,
            result: error.unwrap_or("Ok"),
        };
        self.writes.get_or_create(&labels).inc();
    }

    pub(crate) fn queue_depth(&self, depth: usize) {
        self.queue.set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    pub(crate) fn identity_expires(&self, seconds: i64) {
        self.identity_expiry.set(seconds);
    }
}

/// Counts what is in the index, once there is one, when asked, so that nothing has to be kept in step with it.
pub(crate) fn register_census(registry: &mut Registry, index: Arc<OnceLock<Arc<RwLock<Index>>>>) {
    registry
        .sub_registry_with_prefix("operator")
        .register_collector(Box::new(Sizes(index)));
}

struct Sizes(Arc<OnceLock<Arc<RwLock<Index>>>>);

// === impl Sizes ===

impl fmt::Debug for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sizes")
    }
}

impl Collector for Sizes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(index) = self.0.get() else {
            return Ok(());
        };
        let census = index.read().census();
        let sizes = [
            ("exports", "ServiceExports", census.exports),
            (
                "imports",
                "ServiceImports that Tombolo wrote",
                census.imports,
            ),
            (
                "conflicts",
                "ServiceExports whose exporters disagree",
                census.conflicts,
            ),
            (
                "endpoint_addresses",
                "Service addresses of other clusters' endpoints",
                census.endpoints,
            ),
        ];
        for (name, help, size) in sizes {
            let gauge = ConstGauge::new(u64::try_from(size).unwrap_or(u64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}
