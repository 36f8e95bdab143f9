//! How many connections one import may have, at a time and a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What a policy allows all gateways of this cluster together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Connections at a time.
    pub connections: Option<u32>,
    /// New connections a second.
    pub per_second: Option<u32>,
}

/// Counts the connections of one import through this replica.
#[derive(Debug, Default)]
pub struct Limiter {
    active: AtomicU32,
    bucket: Mutex<Option<Bucket>>,
}

/// A token bucket that holds what one second gives.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

/// One of the connections that are allowed at a time.
#[derive(Debug)]
pub struct Permit(Arc<Limiter>);

/// Which limit a connection would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limited {
    /// There are as many as may be.
    #[error("the policy allows no more connections at a time")]
    Connections,
    /// There were as many in the last second as may be.
    #[error("the policy allows no more connections a second")]
    Rate,
}

// === impl Allowance ===

impl Allowance {
    /// The even share of one of `replicas`, and at least one connection.
    #[must_use]
    pub fn share(self, replicas: u32) -> Self {
        let share = |all: u32| all.div_ceil(replicas.max(1));
        Self {
            connections: self.connections.map(share),
            per_second: self.per_second.map(share),
        }
    }

    /// Whether anything is limited.
    #[must_use]
    pub fn is_limited(self) -> bool {
        self != Self::default()
    }
}

// === impl Limiter ===

impl Limiter {
    /// Lets one more connection in, if `allowance` allows.
    ///
    /// # Errors
    /// Which limit it does not.
    pub fn admit(self: &Arc<Self>, now: Instant, allowance: Allowance) -> Result<Permit, Limited> {
        let active = self.active.fetch_add(1, Ordering::Relaxed);
        // Dropped where it is refused.
        let permit = Permit(Arc::clone(self));
        if allowance.connections.is_some_and(|most| active >= most) {
            return Err(Limited::Connections);
        }
        match allowance.per_second {
            Some(rate) if !self.take(now, rate) => Err(Limited::Rate),
            Some(_) | None => Ok(permit),
        }
    }

    fn take(&self, now: Instant, rate: u32) -> bool {
        let most = f64::from(rate);
        let mut bucket = self.bucket.lock();
        let before = bucket.unwrap_or(Bucket {
            tokens: most,
            filled_at: now,
        });
        let passed: Duration = now.saturating_duration_since(before.filled_at);
        let tokens = (before.tokens + passed.as_secs_f64() * most).min(most);
        let is_enough = tokens >= 1.0;
        *bucket = Some(Bucket {
            tokens: if is_enough { tokens - 1.0 } else { tokens },
            filled_at: now.max(before.filled_at),
        });
        is_enough
    }
}

// === impl Permit ===

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Limited ===

impl Limited {
    /// Label for metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Connections => "ConnectionLimit",
            Self::Rate => "RateLimit",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_ended_connection_makes_room() {
        let (limiter, now) = (Arc::new(Limiter::default()), Instant::now());
        let two = Allowance {
            connections: Some(2),
            per_second: None,
        };

        let first = limiter.admit(now, two).unwrap();
        let _second = limiter.admit(now, two).unwrap();
        assert_eq!(limiter.admit(now, two).unwrap_err(), Limited::Connections);

        drop(first);
        assert!(limiter.admit(now, two).is_ok());
    }

    #[test]
    fn without_a_limit_all_are_let_in() {
        let (limiter, now) = (Arc::new(Limiter::default()), Instant::now());

        let permits: Vec<_> = (0..1_000)
            .map(|_| limiter.admit(now, Allowance::default()).unwrap())
            .collect();

        assert_eq!(permits.len(), 1_000);
    }

    #[test]
    fn replicas_share_evenly_and_each_has_something() {
        let all = Allowance {
            connections: Some(5),
            per_second: Some(1),
        };

        let share = all.share(3);

        assert_eq!((share.connections, share.per_second), (Some(2), Some(1)));
        assert_eq!(all.share(0), all);
    }

    proptest! {
        #[test]
        fn no_second_has_more_than_two_seconds_worth(
            rate in 1_u32..50,
            gaps in proptest::collection::vec(0_u64..200, 1..300),
        ) {
            let limiter = Arc::new(Limiter::default());
            let allowance = Allowance { connections: None, per_second: Some(rate) };
            let mut now = Instant::now();
            let mut taken = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                if limiter.admit(now, allowance).is_ok() {
                    taken.push(now);
                }
            }
            for (place, start) in taken.iter().enumerate() {
                let end = *start + Duration::from_secs(1);
                let within = taken[place..].iter().take_while(|at| **at < end).count();
                // What had been saved, and what came meanwhile.
                prop_assert!(within <= 2 * rate as usize, "{within} of {rate}");
            }
        }
    }
}
