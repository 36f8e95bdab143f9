//! Whether the other end of a connection is alive.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Between two pings: so that a dead other end is given up within three seconds, however long before
/// its death it answered the last one.
pub(crate) const INTERVAL: Duration = Duration::from_millis(700);
/// Unanswered pings after which the other end counts as dead.
pub(crate) const MISSED: usize = 3;

/// Pings again and again, and counts those without an answer. What counts is pings sent, not time: a
/// process that was not scheduled for a while does not take the other end for dead.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    next_ping: Instant,
    next_seq: u64,
    unanswered: VecDeque<(u64, Instant)>,
    doubt: Option<Doubt>,
}

/// Somebody says that the other end is not there.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    /// Datagrams that had come from it until then.
    received: u64,
    /// When it must have answered what was sent to it after that.
    until: Instant,
}

/// What is to be done when a [`Heartbeat`] is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    Ping(u64),
    Dead,
    /// It did not answer when it was said that nobody is there.
    Unreachable,
    NotDue,
}

// === impl Heartbeat ===

impl Heartbeat {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            next_ping: now,
            next_seq: 1,
            unanswered: VecDeque::with_capacity(MISSED),
            doubt: None,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Instant {
        let doubt = self.doubt.map_or(self.next_ping, |doubt| doubt.until);
        self.next_ping.min(doubt)
    }

    /// The network says that nobody is there. Whoever is there answers the ping that follows within
    /// `patience`; `received` is how many datagrams came so far.
    pub(crate) fn handle_unreachable(&mut self, now: Instant, received: u64, patience: Duration) {
        if self.doubt.is_some() {
            return;
        }
        let until = now + patience;
        self.doubt = Some(Doubt { received, until });
        // It is not to count as one more that was missed.
        if self.unanswered.len() < MISSED {
            self.next_ping = now;
        }
    }

    /// `received` is how many datagrams came so far.
    pub(crate) fn handle_timeout(&mut self, now: Instant, received: u64) -> Beat {
        if let Some(doubt) = self.doubt
            && now >= doubt.until
        {
            if received == doubt.received {
                return Beat::Unreachable;
            }
            self.doubt = None;
        }
        if now < self.next_ping {
            return Beat::NotDue;
        }
        if self.unanswered.len() >= MISSED {
            return Beat::Dead;
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        self.unanswered.push_back((seq, now));
        self.next_ping = now + INTERVAL;
        Beat::Ping(seq)
    }

    /// Whether the last ping that was due before `now` has no answer yet: it may be dead already.
    pub(crate) fn is_suspect(&self, now: Instant) -> bool {
        let oldest = self.unanswered.front();
        self.doubt.is_some()
            || oldest
                .is_some_and(|(_, sent_at)| now.saturating_duration_since(*sent_at) >= INTERVAL)
    }

    /// The round-trip time, if the pong answers a ping of which it was not known. It answers all
    /// earlier ones, too.
    pub(crate) fn handle_pong(&mut self, now: Instant, seq: u64) -> Option<Duration> {
        let position = self.unanswered.iter().position(|(sent, _)| *sent == seq)?;
        let (_, sent_at) = self.unanswered.drain(..=position).next_back()?;
        self.doubt = None;
        Some(now.saturating_duration_since(sent_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn pings_at_each_interval_and_measures() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);

        assert_eq!(heartbeat.handle_timeout(start, 0), Beat::Ping(1));
        assert_eq!(
            heartbeat.handle_timeout(start + MILLISECOND, 0),
            Beat::NotDue
        );
        assert_eq!(
            heartbeat.handle_pong(start + 40 * MILLISECOND, 1),
            Some(40 * MILLISECOND)
        );
        assert_eq!(heartbeat.poll_timeout(), start + INTERVAL);
        assert_eq!(heartbeat.handle_timeout(start + INTERVAL, 0), Beat::Ping(2));
    }

    #[test]
    fn three_missed_pings_are_death() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);

        for second in 0..3 {
            let beat = heartbeat.handle_timeout(start + second * INTERVAL, 0);
            assert_eq!(beat, Beat::Ping(u64::from(second) + 1));
        }

        assert_eq!(
            heartbeat.handle_timeout(start + 3 * INTERVAL, 0),
            Beat::Dead
        );
    }

    #[test]
    fn death_is_noticed_within_three_seconds() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        heartbeat.handle_timeout(start, 0);
        // The last sign of life.
        heartbeat.handle_pong(start, 1);

        let mut now = start;
        while heartbeat.handle_timeout(now, 0) != Beat::Dead {
            now = heartbeat.poll_timeout();
        }

        assert!(now - start <= Duration::from_secs(3));
    }

    #[test]
    fn the_first_missed_ping_raises_suspicion_and_its_answer_ends_it() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        heartbeat.handle_timeout(start, 0);

        assert!(!heartbeat.is_suspect(start + INTERVAL - MILLISECOND));
        assert!(heartbeat.is_suspect(start + INTERVAL));
        heartbeat.handle_pong(start + INTERVAL + MILLISECOND, 1);
        assert!(!heartbeat.is_suspect(start + INTERVAL + MILLISECOND));
    }

    #[test]
    fn a_late_pong_answers_the_earlier_pings() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        for second in 0..3 {
            heartbeat.handle_timeout(start + second * INTERVAL, 0);
        }

        let rtt = heartbeat.handle_pong(start + 2 * INTERVAL + MILLISECOND, 3);

        assert_eq!(rtt, Some(MILLISECOND));
        assert_eq!(
            heartbeat.handle_timeout(start + 3 * INTERVAL, 0),
            Beat::Ping(4)
        );
    }

    #[test]
    fn invented_and_repeated_pongs_mean_nothing() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        heartbeat.handle_timeout(start, 0);

        assert_eq!(heartbeat.handle_pong(start, 7), None);
        assert_eq!(heartbeat.handle_pong(start, 1), Some(Duration::ZERO));
        assert_eq!(heartbeat.handle_pong(start, 1), None);
    }

    #[test]
    fn a_pause_of_this_process_is_not_the_peers_death() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        heartbeat.handle_timeout(start, 0);

        assert_eq!(
            heartbeat.handle_timeout(start + 60 * INTERVAL, 0),
            Beat::Ping(2)
        );
    }

    #[test]
    fn who_is_said_to_be_gone_is_asked_at_once_and_suspect_until_it_answers() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        heartbeat.handle_timeout(start, 7);
        heartbeat.handle_pong(start, 1);

        let now = start + MILLISECOND;
        heartbeat.handle_unreachable(now, 7, INTERVAL);
        assert_eq!(heartbeat.poll_timeout(), now);
        assert!(heartbeat.is_suspect(now));
        assert_eq!(heartbeat.handle_timeout(now, 7), Beat::Ping(2));
        // Said again and again, it is asked once.
        heartbeat.handle_unreachable(now, 7, INTERVAL);
        assert_eq!(heartbeat.handle_timeout(now, 7), Beat::NotDue);

        heartbeat.handle_pong(now + MILLISECOND, 2);

        assert!(!heartbeat.is_suspect(now + MILLISECOND));
        let beat = heartbeat.handle_timeout(now + INTERVAL, 8);
        assert_eq!(beat, Beat::Ping(3));
    }

    #[test]
    fn who_is_said_to_be_gone_and_does_not_answer_is_dead() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        heartbeat.handle_timeout(start, 7);
        heartbeat.handle_unreachable(start, 7, 10 * MILLISECOND);
        let until = start + 10 * MILLISECOND;
        assert_eq!(heartbeat.handle_timeout(start, 7), Beat::Ping(2));
        assert_eq!(heartbeat.poll_timeout(), until);

        assert_eq!(heartbeat.handle_timeout(until, 7), Beat::Unreachable);
        // Whatever came from there shows that somebody lives, be it no pong.
        assert_eq!(heartbeat.handle_timeout(until, 8), Beat::NotDue);
    }
}
