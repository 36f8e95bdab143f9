//! What is counted of watches.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::failure::Failure;

/// Metrics of all watches of a program.
#[derive(Clone, Debug, Default)]
pub struct WatchMetrics {
    objects: Family<WatchLabels, Gauge>,
    changes: Family<WatchLabels, Counter>,
    failures: Family<FailureLabels, Counter>,
    broken: Family<WatchLabels, Gauge>,
    from_file: Family<WatchLabels, Gauge>,
    saves: Family<SaveLabels, Counter>,
}

/// The metrics of one watch.
#[derive(Debug)]
pub(super) struct OneWatch {
    watch: &'static str,
    all: WatchMetrics,
    pub(super) objects: Gauge,
    pub(super) changes: Counter,
    pub(super) broken: Gauge,
    pub(super) from_file: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabels {
    watch: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    watch: &'static str,
    reason: Failure,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SaveLabels {
    watch: &'static str,
    result: &'static str,
}

// === impl WatchMetrics ===

impl WatchMetrics {
    /// Adds the metrics to the registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let watch = registry.sub_registry_with_prefix("watch");
        watch.register("objects", "Objects held", metrics.objects.clone());
        watch.register(
            "changes",
            "Changes told to the index",
            metrics.changes.clone(),
        );
        watch.register("failures", "Failures by reason", metrics.failures.clone());
        watch.register(
            "broken",
            "1 while no changes are heard of",
            metrics.broken.clone(),
        );
        watch.register(
            "from_file",
            "1 while the state is that of the state file",
            metrics.from_file.clone(),
        );
        watch.register("saves", "Writes of the state file", metrics.saves.clone());
        metrics
    }

    pub(super) fn of(&self, watch: &'static str) -> OneWatch {
        let labels = WatchLabels { watch };
        OneWatch {
            watch,
            all: self.clone(),
            objects: self.objects.get_or_create_owned(&labels),
            changes: self.changes.get_or_create_owned(&labels),
            broken: self.broken.get_or_create_owned(&labels),
            from_file: self.from_file.get_or_create_owned(&labels),
        }
    }
}

// === impl OneWatch ===

impl OneWatch {
    pub(super) fn failed(&self, reason: Failure) {
        let labels = FailureLabels {
            watch: self.watch,
            reason,
        };
        self.all.failures.get_or_create(&labels).inc();
    }

    pub(super) fn saves(&self, result: &'static str) -> Counter<u64, AtomicU64> {
        self.all.saves.get_or_create_owned(&SaveLabels {
            watch: self.watch,
            result,
        })
    }
}
