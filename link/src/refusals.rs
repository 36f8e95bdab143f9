//! Logging what strangers do without letting them fill the log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// At most one line a reason in this time.
const PAUSE: Duration = Duration::from_secs(10);

/// Which refusals to log.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog {
    reasons: BTreeMap<&'static str, Logged>,
}

#[derive(Debug)]
struct Logged {
    at: Instant,
    unlogged: u64,
}

// === impl RefusalLog ===

impl RefusalLog {
    /// Whether to log a refusal, and how many for the same reason were not logged before it.
    pub(crate) fn permit(&mut self, now: Instant, reason: &'static str) -> Option<u64> {
        let Some(logged) = self.reasons.get_mut(reason) else {
            let first = Logged {
                at: now,
                unlogged: 0,
            };
            self.reasons.insert(reason, first);
            return Some(0);
        };
        if now < logged.at + PAUSE {
            logged.unlogged += 1;
            return None;
        }
        logged.at = now;
        Some(std::mem::take(&mut logged.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_in_ten_seconds() {
        let start = Instant::now();
        let mut log = RefusalLog::default();

        assert_eq!(log.permit(start, "Expired"), Some(0));
        for _ in 0..1000 {
            assert_eq!(log.permit(start, "Expired"), None);
        }
        assert_eq!(log.permit(start, "BadChain"), Some(0));
        assert_eq!(log.permit(start + PAUSE, "Expired"), Some(1000));
        assert_eq!(log.permit(start + 2 * PAUSE, "Expired"), Some(0));
    }
}
