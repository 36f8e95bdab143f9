//! What the gateway has lived to see with an endpoint: how busy it is, how soon it answers a dial,
//! and whether it did not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Answers faster than this are equal. Within a cluster even a slow network takes a tenth of it; more
/// than that is a processor that was busy for a moment, at either end.
const FAST: Duration = Duration::from_millis(20);
/// How much a new answer time counts against the mean of all before.
const WEIGHT: f64 = 0.25;
/// Half of a slow answer is forgotten after so long: who is passed over gives no newer one, and must
/// not be passed over for ever.
const HALF_LIFE: Duration = Duration::from_secs(2);
/// How long an endpoint that did not answer comes last; twice as long after each further failure.
const SHUNNED: Duration = Duration::from_secs(1);
/// Failures after which the time does not double any more: half a minute.
const MAX_DOUBLINGS: u32 = 5;

/// The memory of one endpoint. It outlives every snapshot in which the endpoint is.
#[derive(Debug, Default)]
pub struct Load(Mutex<Memory>);

#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    active: u32,
    answer: Option<(Duration, Instant)>,
    failures: u32,
    failed_at: Option<Instant>,
}

/// A connection that is open, or being opened, to an endpoint.
#[derive(Debug)]
pub struct InUse(Arc<Load>);

/// How dear a further connection is, the least best. Endpoints that failed lately come after all
/// others.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Cost {
    shunned: bool,
    seconds: f64,
}

// === impl Load ===

impl Load {
    /// Counts one connection for as long as the answer is held.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> InUse {
        self.0.lock().active += 1;
        InUse(Arc::clone(self))
    }

    /// It answered a dial.
    pub fn answered(&self, now: Instant, after: Duration) {
        let mut memory = self.0.lock();
        memory.failures = 0;
        memory.failed_at = None;
        let mean = match memory.answer {
            Some(_) => memory.answer(now).mul_f64(1.0 - WEIGHT) + after.mul_f64(WEIGHT),
            None => after,
        };
        memory.answer = Some((mean, now));
    }

    /// It did not.
    pub fn failed(&self, now: Instant) {
        let mut memory = self.0.lock();
        memory.failures = memory.failures.saturating_add(1);
        memory.failed_at = Some(now);
    }

    /// The cost of one more connection: what is waited for, times how many wait.
    #[must_use]
    pub fn cost(&self, now: Instant) -> Cost {
        let memory = *self.0.lock();
        let doublings = memory.failures.saturating_sub(1).min(MAX_DOUBLINGS);
        let until = memory
            .failed_at
            .map(|failed| failed + SHUNNED * 2_u32.pow(doublings));
        let answer = memory.answer(now).max(FAST);
        Cost {
            shunned: until.is_some_and(|until| now < until),
            seconds: answer.as_secs_f64() * f64::from(memory.active + 1),
        }
    }
}

// === impl Memory ===

impl Memory {
    /// What is left of the answer times by now.
    fn answer(&self, now: Instant) -> Duration {
        let Some((answer, at)) = self.answer else {
            return Duration::ZERO;
        };
        let age = now.saturating_duration_since(at).as_secs_f64();
        answer.mul_f64(0.5_f64.powf(age / HALF_LIFE.as_secs_f64()))
    }
}

// === impl Cost ===

impl Cost {
    /// Whether the endpoint failed lately.
    #[must_use]
    pub fn is_shunned(self) -> bool {
        self.shunned
    }
}

// === impl InUse ===

impl InUse {
    /// The endpoint's memory.
    #[must_use]
    pub fn load(&self) -> &Load {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.0.lock().active -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busier_endpoint_is_dearer_for_as_long_as_it_is_busy() {
        let now = Instant::now();
        let (busy, idle) = (Arc::new(Load::default()), Load::default());

        let held = [busy.hold(), busy.hold()];
        assert!(busy.cost(now) > idle.cost(now));

        drop(held);
        assert_eq!(busy.cost(now), idle.cost(now));
    }

    #[test]
    fn a_slow_endpoint_is_dearer_but_not_for_noise() {
        let now = Instant::now();
        let [fast, faster, slow] = [10_000, 50, 50_000].map(|micros| {
            let load = Load::default();
            load.answered(now, Duration::from_micros(micros));
            load.cost(now)
        });

        assert_eq!(fast, faster);
        assert!(slow > fast);
    }

    #[test]
    fn one_slow_answer_is_forgotten() {
        let now = Instant::now();
        let load = Load::default();
        load.answered(now, Duration::from_secs(1));
        for _ in 0..40 {
            load.answered(now, Duration::from_micros(100));
        }

        assert_eq!(load.cost(now), Load::default().cost(now));
    }

    #[test]
    fn a_slow_endpoint_gets_another_chance() {
        let start = Instant::now();
        let load = Load::default();
        load.answered(start, Duration::from_millis(50));
        let fresh = |after| load.cost(start + after) == Load::default().cost(start + after);

        assert!(!fresh(HALF_LIFE));
        assert!(fresh(6 * HALF_LIFE));
    }

    #[test]
    fn a_failed_endpoint_comes_last_for_longer_each_time() {
        let start = Instant::now();
        let busy = Arc::new(Load::default());
        let _held: Vec<_> = (0..1_000).map(|_| busy.hold()).collect();
        let failed = Load::default();
        let is_last_after = |after| failed.cost(start + after) > busy.cost(start + after);

        failed.failed(start);
        assert!(is_last_after(SHUNNED / 2));
        assert!(!is_last_after(SHUNNED));

        failed.failed(start);
        assert!(is_last_after(SHUNNED));
        assert!(!is_last_after(2 * SHUNNED));

        for _ in 0..100 {
            failed.failed(start);
        }
        assert!(!is_last_after(40 * SHUNNED));

        failed.answered(start, Duration::ZERO);
        assert!(!is_last_after(Duration::ZERO));
    }
}
