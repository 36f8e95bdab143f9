//! Which of a peer's withdrawals may be believed at once.
//!
//! An exporter that lost its permissions, its informers' content or its mind looks like one whose
//! users unexported everything. So a large part withdrawn at once is held for a grace period, in
//! which its endpoints stay (their health is the data plane's business); a single export never is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::ServiceName;

#[cfg(test)]
mod tests;

/// Withdrawals within this time count together.
pub const WINDOW: Duration = Duration::from_secs(10);

/// Up to so many withdrawals in a [`WINDOW`] are always applied: what a person does by hand.
pub const HELD_ABOVE: usize = 2;

/// What becomes of withdrawals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// To be applied now.
    pub apply: Vec<ServiceName>,
    /// Newly held; they come out of [`Withdrawals::handle_timeout`] unless they reappear.
    pub held: Vec<ServiceName>,
}

/// What is held at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// How many exports.
    pub count: usize,
    /// When the first of them will be applied.
    pub until: Instant,
}

/// The guard before one peer's catalog.
///
/// It knows the exports of which this cluster holds copies, and is told of everything that the
/// peer says. A withdrawal is held if, within [`WINDOW`], more than [`HELD_ABOVE`] distinct exports
/// and at least half of those that there were are withdrawn.
#[derive(Clone, Debug)]
pub struct Withdrawals {
    grace: Duration,
    /// Exports that stand: neither withdrawn nor held.
    standing: BTreeSet<ServiceName>,
    /// When an export was withdrawn, applied or held. Older ones than [`WINDOW`] are forgotten.
    recent: BTreeMap<ServiceName, Instant>,
    /// When a held withdrawal is due.
    held: BTreeMap<ServiceName, Instant>,
}

impl Withdrawals {
    /// A guard that holds for `grace`, and starts from the `known` exports: the copies of the
    /// peer's ClusterExports that this cluster has.
    pub fn new(grace: Duration, known: impl IntoIterator<Item = ServiceName>) -> Self {
        Self {
            grace,
            standing: known.into_iter().collect(),
            recent: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    /// The peer exports `service` (anew, changed or unchanged): a held withdrawal is off.
    pub fn upsert(&mut self, service: ServiceName) {
        self.recent.remove(&service);
        self.held.remove(&service);
        self.standing.insert(service);
    }

    /// The peer withdrew `services`. What is not known, or held already, is in neither list of the
    /// answer.
    pub fn withdraw(
        &mut self,
        now: Instant,
        services: impl IntoIterator<Item = ServiceName>,
    ) -> Verdict {
        self.recent
            .retain(|_, at| now.saturating_duration_since(*at) < WINDOW);
        let withdrawn: BTreeSet<ServiceName> = services
            .into_iter()
            .filter(|service| self.standing.remove(service))
            .collect();
        self.recent
            .extend(withdrawn.iter().map(|service| (service.clone(), now)));

        let gone = self.recent.len();
        let were = self.standing.len() + gone;
        let withdrawn = withdrawn.into_iter().collect::<Vec<_>>();
        if gone <= HELD_ABOVE || gone * 2 < were {
            return Verdict {
                apply: withdrawn,
                held: Vec::new(),
            };
        }
        let due = now + self.grace;
        self.held
            .extend(withdrawn.iter().map(|service| (service.clone(), due)));
        Verdict {
            apply: Vec::new(),
            held: withdrawn,
        }
    }

    /// The peer's snapshot is complete and named exactly `named`: all else is withdrawn.
    pub fn handle_snapshot(&mut self, now: Instant, named: &BTreeSet<ServiceName>) -> Verdict {
        for service in named {
            self.upsert(service.clone());
        }
        let omitted: Vec<ServiceName> = self.standing.difference(named).cloned().collect();
        self.withdraw(now, omitted)
    }

    /// When [`Withdrawals::handle_timeout`] has something to say, if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.held.values().min().copied()
    }

    /// The held withdrawals whose grace period is over: to be applied now.
    #[must_use = "these withdrawals are no longer held"]
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<ServiceName> {
        self.held
            .extract_if(.., |_, due| *due <= now)
            .map(|(service, _)| service)
            .collect()
    }

    /// How much is held, for a condition; `None` if nothing is.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        let until = self.poll_timeout()?;
        Some(Held {
            count: self.held.len(),
            until,
        })
    }
}
