//! How well an index follows the API.

use std::time::Duration;

use tokio::time::Instant;

/// How well an index follows the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    origin: Option<Origin>,
    hearing: Hearing,
    /// How long changes were heard of before the last restoration.
    heard_before: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    Since(Instant),
    NotSince(Instant),
}

/// Where the state of an index is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The state file: the last known state of an earlier process of this pod.
    File,
    /// The API server.
    Api,
}

// === impl Health ===

impl Health {
    pub(super) fn starting(now: Instant) -> Self {
        Self {
            origin: None,
            hearing: Hearing::NotSince(now),
            heard_before: Duration::ZERO,
        }
    }

    /// Where the state of the index is from; none if it has none yet.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        self.origin
    }

    /// Whether changes are heard of as they happen.
    #[must_use]
    pub fn hears(&self) -> bool {
        matches!(self.hearing, Hearing::Since(_))
    }

    /// Since when changes are not heard of; none if they are.
    #[must_use]
    pub fn broken_since(&self) -> Option<Instant> {
        match self.hearing {
            Hearing::Since(_) => None,
            Hearing::NotSince(since) => Some(since),
        }
    }

    /// For how long in all changes have been heard of until `now`: a clock that stands still while
    /// the watch is broken. Time-outs on what is watched belong on this clock: nothing can be known
    /// to have stayed as it was while nothing was heard.
    #[must_use]
    pub fn heard(&self, now: Instant) -> Duration {
        match self.hearing {
            Hearing::Since(since) => self.heard_before + now.saturating_duration_since(since),
            Hearing::NotSince(_) => self.heard_before,
        }
    }

    pub(super) fn has_state_of(&mut self, origin: Origin) -> bool {
        self.origin.replace(origin) != Some(origin)
    }

    pub(super) fn broken(&mut self, now: Instant) -> bool {
        if !self.hears() {
            return false;
        }
        self.heard_before = self.heard(now);
        self.hearing = Hearing::NotSince(now);
        true
    }

    pub(super) fn restored(&mut self, now: Instant) -> bool {
        if self.hears() {
            return false;
        }
        self.hearing = Hearing::Since(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_clock_stands_still_while_nothing_is_heard() {
        let start = Instant::now();
        let mut health = Health::starting(start);
        assert_eq!(health.heard(start + 5 * SECOND), Duration::ZERO);
        assert_eq!(health.broken_since(), Some(start));

        assert!(health.restored(start + 5 * SECOND));
        assert_eq!(health.heard(start + 7 * SECOND), 2 * SECOND);

        assert!(health.broken(start + 8 * SECOND));
        assert!(!health.broken(start + 9 * SECOND), "no change");
        assert_eq!(health.heard(start + 20 * SECOND), 3 * SECOND);
        assert_eq!(health.broken_since(), Some(start + 8 * SECOND));

        assert!(health.restored(start + 20 * SECOND));
        assert!(!health.restored(start + 21 * SECOND), "no change");
        assert_eq!(health.heard(start + 21 * SECOND), 4 * SECOND);
    }

    #[test]
    fn a_state_of_the_same_origin_is_no_change() {
        let mut health = Health::starting(Instant::now());

        assert!(health.has_state_of(Origin::File));
        assert!(health.has_state_of(Origin::Api));
        assert!(!health.has_state_of(Origin::Api));
        assert_eq!(health.origin(), Some(Origin::Api));
    }
}
