//! The dials of further connections to replicas that are linked already.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::DialId;

/// One dial at a time for each replica, and when the next one may be.
#[derive(Debug, Default)]
pub(super) struct Beside(BTreeMap<Arc<str>, Dialling>);

#[derive(Debug)]
pub(super) struct Dialling {
    dial: Option<DialId>,
    pub(super) failures: u32,
    pub(super) next: Instant,
}

// === impl Beside ===

impl Beside {
    /// Notes that `replica` is dialled, unless it is already, or not due yet.
    pub(super) fn begin(&mut self, now: Instant, replica: &Arc<str>, dial: DialId) -> bool {
        let replica = Arc::clone(replica);
        let dialling = self.0.entry(replica).or_insert(Dialling {
            dial: None,
            failures: 0,
            next: now,
        });
        let due = dialling.dial.is_none() && dialling.next <= now;
        if due {
            dialling.dial = Some(dial);
        }
        due
    }

    pub(super) fn is_under_way(&self, dial: DialId) -> bool {
        self.0.values().any(|dialling| dialling.dial == Some(dial))
    }

    /// The dial has ended, if it was one of these.
    pub(super) fn end(&mut self, dial: DialId) -> Option<&mut Dialling> {
        let mut all = self.0.values_mut();
        let dialling = all.find(|dialling| dialling.dial == Some(dial))?;
        dialling.dial = None;
        Some(dialling)
    }

    /// When `replica`, which has been dialled before, may be dialled again; `None` while it is.
    pub(super) fn next(&self, replica: &str) -> Option<Instant> {
        let dialling = self.0.get(replica)?;
        dialling.dial.is_none().then_some(dialling.next)
    }

    /// Nobody is dialled before `until`.
    pub(super) fn pause(&mut self, until: Instant) {
        for dialling in self.0.values_mut() {
            dialling.next = dialling.next.max(until);
        }
    }

    /// Forgets a replica to which there is no connection any more, unless it is being dialled.
    pub(super) fn forget(&mut self, replica: &str) {
        if self
            .0
            .get(replica)
            .is_some_and(|dialling| dialling.dial.is_none())
        {
            self.0.remove(replica);
        }
    }
}
