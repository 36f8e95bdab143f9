//! New connections at a steady rate, and how long an outage is that they show.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::load::open_and_hear;
use crate::say;

/// After this, a connection has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// A connection that took longer than this, in milliseconds, is as good as one that failed.
const SLOW: u64 = 1_000;

/// A new connection that said a byte, to hear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// When it was begun, in milliseconds since the epoch.
    pub(crate) at: u64,
    /// How long it took until the byte was heard, or nobody waited for it any longer, in
    /// milliseconds.
    pub(crate) took: u64,
    /// Whether the byte was heard.
    pub(crate) heard: bool,
}

// === impl Attempt ===

impl Attempt {
    async fn make(target: SocketAddr) -> Self {
        let (at, began) = (now(), Instant::now());
        let heard = timeout(PATIENCE, open_and_hear(target)).await;
        Self {
            at,
            took: millis(began.elapsed()),
            heard: matches!(heard, Ok(Ok(_))),
        }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.heard && self.took <= SLOW
    }
}

/// Makes so many attempts a second, whatever becomes of those before, and prints each.
pub(crate) async fn probe(target: SocketAddr, rate: u32) -> anyhow::Result<()> {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        tokio::spawn(async move {
            let attempt = Attempt::make(target).await;
            say(&serde_json::to_string(&attempt)?)?;
            anyhow::Ok(())
        });
    }
}

/// Milliseconds from the kill to the first attempt begun after the last one that was not good; 0 if
/// all were, `None` if none was begun since.
pub(crate) fn outage(attempts: &[Attempt], killed: u64) -> Option<u64> {
    // One that was begun shortly before may have been cut: that is no new connection.
    let after = || attempts.iter().filter(|attempt| attempt.at >= killed);
    let bad = after().filter(|attempt| !attempt.is_good());
    let Some(last) = bad.map(|attempt| attempt.at).max() else {
        return Some(0);
    };
    let good = after().map(|attempt| attempt.at).filter(|at| *at > last);
    Some(good.min()? - killed)
}

/// Milliseconds since the epoch.
pub(crate) fn now() -> u64 {
    millis(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_until_nothing_fails_any_more() {
        let attempts = [
            attempt(90, 5, false),
            attempt(110, 5, true),
            attempt(120, 5, false),
            attempt(130, 5, true),
            attempt(140, 5, false),
            attempt(150, 5, true),
        ];

        assert_eq!(outage(&attempts, 100), Some(50));
        assert_eq!(outage(&attempts[..2], 100), Some(0));
        assert_eq!(outage(&attempts[..5], 100), None);
    }

    #[test]
    fn a_slow_connection_is_as_good_as_none_and_comes_late() {
        let attempts = [
            attempt(120, 1_000, true),
            attempt(160, 5, true),
            attempt(180, 5, true),
            attempt(140, 1_001, true),
        ];

        assert_eq!(outage(&attempts, 100), Some(60));
    }

    fn attempt(at: u64, took: u64, heard: bool) -> Attempt {
        Attempt { at, took, heard }
    }
}
