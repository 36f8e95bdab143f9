//! Pauses between attempts that fail.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use tokio::time::Instant;

/// Short: an API server that restarts is back in a few seconds, and names and routes wait for it.
const FIRST: Duration = Duration::from_millis(250);
/// What a cluster's programs may ask of an API server that refuses them, and how late they may
/// notice that it no longer does.
const LONGEST: Duration = Duration::from_secs(8);
/// Attempts that failed so long ago do not count.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// Doubles with each failure, up to a limit, less a random part so that programs that failed
/// together do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    last: Option<Instant>,
}

// === impl Backoff ===

impl Backoff {
    pub(crate) fn new() -> Self {
        Self {
            failures: 0,
            last: None,
        }
    }

    /// How long to wait after a failure at `now`.
    pub(crate) fn next(&mut self, now: Instant) -> Duration {
        if self.last.is_some_and(|last| now > last + FORGOTTEN_AFTER) {
            self.failures = 0;
        }
        self.last = Some(now);
        let pause = FIRST
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        pause.mul_f64(1.0 - random() / 2.0)
    }
}

/// Between 0 and 1. The standard library's hash keys are random, and that is random enough.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    f64::from((bits >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_to_a_limit_and_start_anew_when_failures_are_long_ago() {
        let mut now = Instant::now();
        let mut backoff = Backoff::new();
        for exact in [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0] {
            let pause = backoff.next(now).as_secs_f64();
            assert!(
                (exact / 2.0..=exact).contains(&pause),
                "{pause} for {exact}"
            );
            now += Duration::from_secs(1);
        }

        let pause = backoff.next(now + Duration::from_secs(31));

        assert!(pause <= FIRST, "{pause:?}");
    }
}
