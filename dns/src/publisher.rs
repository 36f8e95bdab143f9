//! From the index to the snapshot that is answered from.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tombolo_dns_zone::{Snapshot, Zone};
use tombolo_runtime::readiness::Gate;

use crate::index::{Update, ZoneIndex};
use crate::metrics::DnsMetrics;

/// The snapshot that is answered from now.
pub type Published = Arc<ArcSwap<Snapshot>>;

/// Makes a snapshot after each change of the index, out of the one before. Changes that come while it
/// makes one go together into the next, so a burst of them costs a few snapshots, not one each.
pub struct Publisher {
    zone: Arc<Zone>,
    index: Arc<Mutex<ZoneIndex>>,
    published: Published,
    /// Opened with the first complete snapshot.
    gate: Gate,
    metrics: DnsMetrics,
}

// === impl Publisher ===

impl Publisher {
    /// Publishes an incomplete snapshot of `zone`, to be followed by those that `index` makes.
    #[must_use]
    pub fn new(zone: Zone, index: Arc<Mutex<ZoneIndex>>, gate: Gate, metrics: DnsMetrics) -> Self {
        let zone = Arc::new(zone);
        let published = Arc::new(ArcSwap::from_pointee(Snapshot::incomplete(Arc::clone(
            &zone,
        ))));
        Self {
            zone,
            index,
            published,
            gate,
            metrics,
        }
    }

    /// What is published.
    #[must_use]
    pub fn published(&self) -> Published {
        Arc::clone(&self.published)
    }

    /// Publishes until it is dropped.
    pub async fn run(self) {
        let changed = self.index.lock().changed();
        loop {
            changed.notified().await;
            self.publish();
        }
    }

    fn publish(&self) {
        let Some(update) = self.index.lock().update() else {
            return;
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let last = self.published.load();
        let serial = next_serial(last.serial(), now.as_secs());
        let snapshot = match update {
            Update::All(services) => Snapshot::new(Arc::clone(&self.zone), serial, services),
            Update::Some(changes) => last.with(serial, changes),
        };
        self.metrics.published(snapshot.len(), now.as_secs_f64());
        self.published.store(Arc::new(snapshot));
        self.gate.open();
    }
}

/// The time, so that a restarted server's serial is newer too, but never the one before again.
fn next_serial(last: u32, unix_seconds: u64) -> u32 {
    let clock = u32::try_from(unix_seconds % (1 << 32)).unwrap_or_default();
    clock.max(last.wrapping_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_grow_within_a_second_and_when_the_clock_goes_back() {
        assert_eq!(next_serial(0, 1_700_000_000), 1_700_000_000);
        assert_eq!(next_serial(1_700_000_000, 1_700_000_000), 1_700_000_001);
        assert_eq!(next_serial(1_700_000_000, 5), 1_700_000_001);
    }
}
