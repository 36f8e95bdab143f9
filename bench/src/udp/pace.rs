//! When which datagram is due.

use std::time::Instant;

/// Datagrams that are sent in one go at most: half of what a tun device holds.
const BURST: f64 = 256.0;

/// A steady rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    a_second: f64,
    began: Instant,
    /// Given out or forgone so far.
    past: f64,
}

// === impl Pace ===

impl Pace {
    pub(super) fn new(a_second: f64, began: Instant) -> Self {
        Self {
            a_second,
            began,
            past: 0.0,
        }
    }

    /// How many are due since it was asked last. What a sender that was not scheduled has missed is
    /// forgone: made up for, it would be a burst that overflows what the rate does not.
    pub(super) fn due(&mut self, now: Instant) -> u64 {
        let all = ((now - self.began).as_secs_f64() * self.a_second).floor();
        let due = (all - self.past).min(BURST);
        self.past = all;
        due as u64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_rate_is_kept_whenever_it_is_asked() {
        let began = Instant::now();
        let mut pace = Pace::new(10_000.0, began);
        let mut due = 0;

        for micros in (0..=1_000_000).step_by(130).chain([1_000_000]) {
            due += pace.due(began + Duration::from_micros(micros));
        }

        assert_eq!(due, 10_000);
    }

    #[test]
    fn what_was_missed_is_no_burst() {
        let began = Instant::now();
        let mut pace = Pace::new(1_024.0, began);

        assert_eq!(pace.due(began + Duration::from_secs(1)), 256);
        assert_eq!(pace.due(began + Duration::from_micros(1_015_625)), 16);
    }
}
