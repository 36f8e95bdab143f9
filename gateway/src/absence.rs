//! How long a cluster that cannot be reached is believed.
//!
//! Its exports stand, and are said to be stale, until their lease runs out. What counts is the time
//! in which somebody here looked for it in vain: a cluster whose own gateways were away says
//! nothing of its peers. So the time since when there is no link comes from the Peer's status, which
//! only a running gateway writes, and who has just begun to look has patience.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// For so long a lost link is nobody's concern: a gateway is replaced, a router restarts.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the exports of a peer are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// There is a link, or was one until lately.
    Fresh,
    /// They may be old.
    Stale {
        /// Since when there is no link.
        since: Timestamp,
        /// Until when they stand.
        until: Timestamp,
    },
    /// Their lease has run out.
    Expired {
        /// Since when there is no link.
        since: Timestamp,
    },
}

/// How long one peer has been away.
#[derive(Debug)]
pub struct Absence {
    lease: Duration,
    patience: Duration,
    began: Instant,
    away: Option<Away>,
}

#[derive(Debug)]
struct Away {
    since: Timestamp,
    until: Timestamp,
    stale_at: Instant,
    expires_at: Instant,
}

// === impl Absence ===

impl Absence {
    /// Who begins to look at `now`; exports stand for `lease`.
    #[must_use]
    pub fn new(lease: Duration, now: Instant) -> Self {
        Self {
            lease,
            patience: PATIENCE.min(lease / 4),
            began: now,
            away: None,
        }
    }

    /// There is a link.
    pub fn handle_link(&mut self) {
        self.away = None;
    }

    /// There is no link at `now`, which is `wall` on the wall clock. `since` is what the Peer's
    /// status says; without it there was a link until now.
    pub fn handle_no_link(&mut self, now: Instant, wall: Timestamp, since: Option<Timestamp>) {
        if self.away.is_some() {
            return;
        }
        let since = since.unwrap_or(wall);
        // From here on the wall clock may be set as one likes.
        let gone = Duration::try_from(wall.duration_since(since)).unwrap_or_default();
        let left = self.lease.saturating_sub(gone);
        let lease = SignedDuration::try_from(self.lease).unwrap_or(SignedDuration::MAX);
        self.away = Some(Away {
            since,
            until: since.saturating_add(lease).unwrap_or(Timestamp::MAX),
            stale_at: now + self.patience.saturating_sub(gone),
            expires_at: (now + left).max(self.began + self.patience),
        });
    }

    /// What the peer's exports are worth.
    #[must_use]
    pub fn freshness(&self, now: Instant) -> Freshness {
        match self.away {
            Some(Away {
                since, expires_at, ..
            }) if expires_at <= now => Freshness::Expired { since },
            Some(Away {
                since,
                until,
                stale_at,
                ..
            }) if stale_at <= now => Freshness::Stale { since, until },
            Some(_) | None => Freshness::Fresh,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(3600);

    #[test]
    fn exports_are_stale_after_a_while_and_expire_with_their_lease() {
        let start = Instant::now();
        let mut absence = Absence::new(LEASE, start);

        absence.handle_no_link(start, at(1000), None);

        assert_eq!(absence.freshness(after(start, 59)), Freshness::Fresh);
        let stale = Freshness::Stale {
            since: at(1000),
            until: at(4600),
        };
        assert_eq!(absence.freshness(after(start, 60)), stale);
        assert_eq!(absence.freshness(after(start, 3599)), stale);
        let expired = Freshness::Expired { since: at(1000) };
        assert_eq!(absence.freshness(after(start, 3600)), expired);
    }

    #[test]
    fn a_link_makes_them_fresh_and_the_lease_begins_anew() {
        let start = Instant::now();
        let mut absence = Absence::new(LEASE, start);
        absence.handle_no_link(start, at(1000), None);

        absence.handle_link();
        assert_eq!(absence.freshness(after(start, 3600)), Freshness::Fresh);
        absence.handle_no_link(after(start, 3600), at(4600), None);

        assert_eq!(absence.freshness(after(start, 3659)), Freshness::Fresh);
        assert!(matches!(
            absence.freshness(after(start, 7199)),
            Freshness::Stale { .. }
        ));
    }

    #[test]
    fn a_replica_that_takes_over_counts_from_when_the_status_says() {
        let start = Instant::now();
        let mut absence = Absence::new(LEASE, start);

        absence.handle_no_link(start, at(4000), Some(at(1000)));

        assert!(matches!(absence.freshness(start), Freshness::Stale { .. }));
        let expired = Freshness::Expired { since: at(1000) };
        assert_eq!(absence.freshness(after(start, 600)), expired);
    }

    #[test]
    fn who_was_away_itself_looks_before_it_gives_up() {
        let start = Instant::now();
        let mut absence = Absence::new(LEASE, start);

        absence.handle_no_link(start, at(90_000), Some(at(1000)));

        assert!(matches!(
            absence.freshness(after(start, 59)),
            Freshness::Stale { .. }
        ));
        let expired = Freshness::Expired { since: at(1000) };
        assert_eq!(absence.freshness(after(start, 60)), expired);
    }

    #[test]
    fn a_clock_that_is_set_changes_nothing() {
        let start = Instant::now();
        let mut absence = Absence::new(LEASE, start);
        absence.handle_no_link(start, at(1000), Some(at(5000)));

        absence.handle_no_link(after(start, 1), at(900_000), Some(at(1)));

        assert_eq!(absence.freshness(after(start, 59)), Freshness::Fresh);
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }
}
