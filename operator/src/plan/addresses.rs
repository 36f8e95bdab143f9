//! Which endpoints of other clusters may have a service address here.
//!
//! Each endpoint of a headless import that runs in another cluster takes an address out of this
//! cluster's service range. That range belongs to everybody, so there is a cap; and an endpoint that
//! is gone keeps its address for a while, since a pod that restarts comes back under its name.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tombolo_catalog::ServiceName;

#[cfg(test)]
mod tests;

/// Service addresses by import. What it remembers beside what is there is only since when an
/// address is not needed; a restart lets it rest anew.
#[derive(Debug)]
pub struct Addresses {
    cap: usize,
    rest: Duration,
    used: BTreeMap<ServiceName, usize>,
    total: usize,
    /// Names of the Services of endpoints that are gone, and since when they are.
    idle: BTreeMap<ServiceName, BTreeMap<String, Instant>>,
}

// === impl Addresses ===

impl Addresses {
    /// At most `cap` addresses; one that is not needed is given up after `rest`.
    #[must_use]
    pub fn new(cap: usize, rest: Duration) -> Self {
        Self {
            cap,
            rest,
            used: BTreeMap::new(),
            total: 0,
            idle: BTreeMap::new(),
        }
    }

    /// Starts anew from how many addresses each import has.
    pub fn restart(&mut self, used: impl IntoIterator<Item = (ServiceName, usize)>) {
        let mut anew = Self::new(self.cap, self.rest);
        for (import, count) in used {
            anew.set_used(&import, count);
        }
        *self = anew;
    }

    /// `import` has `have` addresses and needs `more`: how many of these it may take.
    pub(super) fn grant(&mut self, import: &ServiceName, have: usize, more: usize) -> usize {
        self.set_used(import, have);
        let granted = more.min(self.cap.saturating_sub(self.total));
        self.set_used(import, have + granted);
        granted
    }

    /// The most that there may be.
    pub(super) fn cap(&self) -> usize {
        self.cap
    }

    /// These addresses of `import` are not needed now; since when each of them is not.
    pub(super) fn rest(
        &mut self,
        import: &ServiceName,
        idle: impl IntoIterator<Item = String>,
        now: Instant,
    ) -> BTreeMap<String, Instant> {
        let before = self.idle.remove(import).unwrap_or_default();
        let since = |name: String| {
            let since = before.get(&name).copied().unwrap_or(now);
            (name, since)
        };
        let idle: BTreeMap<String, Instant> = idle.into_iter().map(since).collect();
        if !idle.is_empty() {
            self.idle.insert(import.clone(), idle.clone());
        }
        idle
    }

    /// When an address that has not been needed since then may be given up.
    pub(super) fn rested_at(&self, since: Instant) -> Instant {
        since + self.rest
    }

    fn set_used(&mut self, import: &ServiceName, count: usize) {
        let before = match count {
            0 => self.used.remove(import),
            _ => self.used.insert(import.clone(), count),
        };
        self.total = self.total + count - before.unwrap_or_default();
    }
}
