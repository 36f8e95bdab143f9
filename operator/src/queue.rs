//! Which service is to be looked at next.
//!
//! The first change of a service is due at once. What changes while it is being looked at, or
//! within [`SPACING`] of the last look, is gathered into one more look; a failure waits longer each
//! time. No service is looked at twice at the same time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Between the beginnings of two looks at one service: a Service whose pods come and go costs at
/// most twenty rounds of writes a second.
pub const SPACING: Duration = Duration::from_millis(50);
/// What the first failure waits; each further one waits twice as long.
pub const FIRST_RETRY: Duration = Duration::from_millis(100);
/// The longest wait after a failure.
pub const LAST_RETRY: Duration = Duration::from_secs(30);

/// A queue of distinct keys. Time is an argument.
#[derive(Debug)]
pub struct Queue<K> {
    /// When each waiting key is due; in `order` too.
    due: HashMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
    /// Keys being looked at, and whether they changed meanwhile.
    under_way: BTreeMap<K, UnderWay>,
    failures: HashMap<K, u32>,
}

#[derive(Debug)]
struct UnderWay {
    began: Instant,
    changed: bool,
}

// === impl Queue ===

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            due: HashMap::new(),
            order: BTreeSet::new(),
            under_way: BTreeMap::new(),
            failures: HashMap::new(),
        }
    }
}

impl<K: Clone + Ord + Hash> Queue<K> {
    /// `key` changed.
    pub fn add(&mut self, now: Instant, key: K) {
        match self.under_way.get_mut(&key) {
            Some(under_way) => under_way.changed = true,
            None => self.schedule(now, key),
        }
    }

    /// `key` is to be looked at then, if it is not before.
    pub fn add_at(&mut self, at: Instant, key: K) {
        if !self.under_way.contains_key(&key) {
            self.schedule(at, key);
        }
    }

    /// The key that has been due longest, if any is. It is under way until [`Queue::done`].
    pub fn poll(&mut self, now: Instant) -> Option<K> {
        let (due, _) = self.order.first()?;
        if *due > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.due.remove(&key);
        self.under_way.insert(
            key.clone(),
            UnderWay {
                began: now,
                changed: false,
            },
        );
        Some(key)
    }

    /// When the next key is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }

    /// The look at `key` has ended; if it did not succeed it is looked at again.
    pub fn done(&mut self, now: Instant, key: K, succeeded: bool) {
        let Some(UnderWay { began, changed }) = self.under_way.remove(&key) else {
            return;
        };
        if succeeded {
            self.failures.remove(&key);
            if changed {
                self.schedule(now.max(began + SPACING), key);
            }
            return;
        }
        let failures = self.failures.entry(key.clone()).or_default();
        let wait = FIRST_RETRY
            .saturating_mul(1 << (*failures).min(16))
            .min(LAST_RETRY);
        *failures += 1;
        // A change is the likely end of what made it fail.
        let wait = if changed { wait.min(FIRST_RETRY) } else { wait };
        self.schedule(now + wait, key);
    }

    /// Forgets all that waits.
    pub fn clear(&mut self) {
        self.due.clear();
        self.order.clear();
        self.failures.clear();
    }

    /// How many keys wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether no key waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    fn schedule(&mut self, at: Instant, key: K) {
        if let Some(due) = self.due.get(&key).copied() {
            if due <= at {
                return;
            }
            self.order.remove(&(due, key.clone()));
        }
        self.due.insert(key.clone(), at);
        self.order.insert((at, key));
    }
}
