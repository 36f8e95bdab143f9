//! Congestion control that takes the path's rate and round trip for its measure, and not that a
//! packet was lost: BBR (draft-ietf-ccwg-bbr), for a sender that can set a window and nothing else.
//!
//! BBR sets a rate, and a window only as a bound of twice what the path holds. QUIC's implementation
//! asks a controller for a window alone, and paces by it; with BBR's window the path's buffer is
//! always full, and what is asked beside bulk waits there. So here the window is what the path holds,
//! more for two round trips of some and less for one, where BBR does that by its rate:
//!
//! ```text
//! window = gain × rate × round trip + allowance        gain: 1.25, 1.25, 0.75, 1, 1, 1 …
//! ```
//!
//! A window alone is treacherous where round trips take longer for another reason than its own queue,
//! as with another's traffic, or with a host that is short of CPU: it would be too small, so that less
//! is delivered, so that the rate is taken for less, and so on to nothing. So the round trip is not
//! the least ever, but the least of the last two cycles, in each of which one's own queue was empty;
//! once and a half the least ever at most.

mod delivery;
mod extreme;

use std::any::Any;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use self::delivery::{Delivery, Sample};
use self::extreme::Extreme;

/// RFC 9002, 7.2, in packets.
const INITIAL_PACKETS: u64 = 10;
/// In packets.
const LEAST_PACKETS: u64 = 4;

/// The gain in the first round trips of a cycle; in the others it is 1.
const GAINS: [f64; 3] = [1.25, 1.25, 0.75];
/// The first round trip of a cycle in which no more is asked of the path than it holds.
const DRAINED: usize = 2;
/// Round trips of a cycle. Who asks for more at the same time as all others gets none of what they
/// have, so that shares would stay as they are.
const CYCLE: RangeInclusive<usize> = 6..=12;
/// While the path's rate is being found: doubles with each round trip.
const STARTUP_GAIN: f64 = 2.0;
/// While the least round trip is measured anew.
const PROBE_RTT_GAIN: f64 = 0.5;

/// The rate is found when it grew by less than this in so many round trips.
const STARTUP_GROWTH: f64 = 1.25;
const STARTUP_ROUNDS: u32 = 3;

/// For how long the least round trip is believed.
const MIN_RTT_AGE: Duration = Duration::from_secs(10);
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);

/// Hosts wake up late: so much more than the path holds is under way.
const HOST: Duration = Duration::from_millis(2);
/// By this a round trip may be longer than the least one, where half of that is less.
const HOST_ROUND_TRIP: Duration = Duration::from_millis(1);

/// Of what is sent, this may be lost by chance.
const LOSS: f64 = 0.02;
/// Of the window, this is left where more is lost.
const LOSS_BETA: f64 = 0.7;

/// Makes such controllers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BbrConfig;

#[derive(Clone, Debug)]
struct Bbr {
    mtu: u64,
    window: u64,
    phase: Phase,
    /// Round trips of this cycle.
    cycle: usize,
    random: SmallRng,
    delivery: Delivery,
    /// Bytes a second, of the last two cycles.
    rate: Extreme<u64>,
    /// The least round trips of the last two cycles.
    round_trip: Extreme<Duration>,
    /// The least one ever, as far as it is believed, and when it was measured.
    min_rtt: Option<(Duration, Instant)>,
    aggregation: Aggregation,
    round: Round,
    /// More than this under way has been too much for the path.
    ceiling: Option<u64>,
    /// Acknowledged since `on_end_acks`.
    acked: u64,
}

/// What a connection is finding out.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// The path's rate.
    Startup { best: u64, rounds: u32 },
    /// Nothing: the queue of that is to drain.
    Drain,
    /// Whether it is still so, in the round trip of a cycle of that number.
    Cycle(usize),
    /// The least round trip.
    ProbeRtt { until: Instant, least: Duration },
}

/// A round trip.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    /// Bytes that had been delivered when it began. It ends when what was sent after that is
    /// acknowledged.
    began_at: u64,
    lost: u64,
    is_app_limited: bool,
}

/// By how much acknowledgements come in lumps.
#[derive(Clone, Copy, Debug)]
struct Aggregation {
    began: Option<Instant>,
    acked: u64,
    most: Extreme<u64>,
}

// === impl BbrConfig ===

impl ControllerFactory for BbrConfig {
    fn build(self: Arc<Self>, _now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Bbr::new(current_mtu.into(), rand::random()))
    }
}

// === impl Bbr ===

impl Bbr {
    fn new(mtu: u64, seed: u64) -> Self {
        Self {
            mtu,
            window: INITIAL_PACKETS * mtu,
            phase: Phase::Startup { best: 0, rounds: 0 },
            cycle: *CYCLE.start(),
            random: SmallRng::seed_from_u64(seed),
            delivery: Delivery::default(),
            rate: Extreme::most(),
            round_trip: Extreme::least(),
            min_rtt: None,
            aggregation: Aggregation::new(),
            round: Round::default(),
            ceiling: None,
            acked: 0,
        }
    }

    /// The round trip without a queue of one's own.
    fn base(&self) -> Duration {
        let Some((least, _)) = self.min_rtt else {
            return Duration::ZERO;
        };
        let most = (least * 3 / 2).max(least + HOST_ROUND_TRIP);
        self.round_trip.get().unwrap_or(least).clamp(least, most)
    }

    /// The path's rate, in bytes a second; 0 if it is not known yet.
    fn best_rate(&self) -> u64 {
        self.rate.get().unwrap_or(0)
    }

    /// What the path holds, in bytes.
    fn product(&self) -> u64 {
        bytes(self.best_rate(), self.base())
    }

    fn target(&self) -> u64 {
        let product = self.product();
        if product == 0 {
            return INITIAL_PACKETS * self.mtu;
        }
        let gain = match self.phase {
            Phase::Startup { .. } => STARTUP_GAIN,
            Phase::Drain => 1.0,
            Phase::Cycle(round) => GAINS.get(round).copied().unwrap_or(1.0),
            Phase::ProbeRtt { .. } => PROBE_RTT_GAIN,
        };
        let more = match self.phase {
            Phase::Startup { .. } | Phase::Cycle(_) => {
                let host = bytes(self.best_rate(), HOST);
                host.max(self.aggregation.most.get().unwrap_or(0))
            }
            Phase::Drain | Phase::ProbeRtt { .. } => 0,
        };
        let target = (product as f64 * gain) as u64 + more;
        let ceiling = self.ceiling.unwrap_or(u64::MAX);
        target.min(ceiling).max(LEAST_PACKETS * self.mtu)
    }

    /// Takes up what was measured.
    fn learn(&mut self, sample: &Sample, now: Instant) {
        let is_least = self.min_rtt.is_none_or(|(least, _)| sample.rtt <= least);
        let is_old = self.min_rtt.is_some_and(|(_, at)| now - at > MIN_RTT_AGE);
        if is_least {
            self.min_rtt = Some((sample.rtt, now));
        }
        match &mut self.phase {
            Phase::Cycle(_) if is_old && !is_least => {
                self.phase = Phase::ProbeRtt {
                    until: now + PROBE_RTT_TIME.max(2 * self.base()),
                    least: sample.rtt,
                };
            }
            Phase::ProbeRtt { least, .. } => *least = sample.rtt.min(*least),
            Phase::Startup { .. } | Phase::Drain | Phase::Cycle(_) => (),
        }
        self.round_trip.add(sample.rtt);
        if let Some(rate) = sample.rate {
            let is_more = self.rate.get().is_none_or(|best| rate >= best);
            if is_more || !sample.is_app_limited {
                self.rate.add(rate);
            }
        }
        self.round.is_app_limited |= sample.is_app_limited;
    }

    fn end_round(&mut self) {
        let delivered = self.delivery.delivered() - self.round.began_at;
        let total = (self.round.lost + delivered) as f64;
        let lost_too_much =
            self.round.lost > LEAST_PACKETS * self.mtu && self.round.lost as f64 > LOSS * total;
        if lost_too_much {
            let left = self.window.max(self.product()) as f64 * LOSS_BETA;
            self.ceiling = Some(left as u64);
        }
        let rate = self.best_rate();
        match &mut self.phase {
            Phase::Startup { best, rounds } => {
                if rate as f64 >= *best as f64 * STARTUP_GROWTH {
                    (*best, *rounds) = (rate, 0);
                } else if !self.round.is_app_limited {
                    *rounds += 1;
                }
                if *rounds >= STARTUP_ROUNDS || lost_too_much {
                    self.phase = Phase::Drain;
                }
            }
            Phase::Drain | Phase::ProbeRtt { .. } => (),
            Phase::Cycle(round) => {
                *round += 1;
                if lost_too_much && *round < DRAINED {
                    *round = DRAINED;
                }
                if *round >= self.cycle {
                    *round = 0;
                    self.end_cycle();
                }
            }
        }
        self.round = Round {
            began_at: self.delivery.delivered(),
            ..Round::default()
        };
    }

    fn end_cycle(&mut self) {
        self.cycle = self.random.random_range(CYCLE);
        // Who had nothing to send has learned nothing.
        if !self.round.is_app_limited {
            self.rate.turn();
        }
        self.round_trip.turn();
        self.aggregation.most.turn();
    }

    fn packet_acked(&mut self, sent: Instant, bytes: u64) {
        self.delivery.on_ack(sent, bytes);
        self.acked += bytes;
    }

    /// After all packets of an acknowledgement.
    fn all_acked(&mut self, now: Instant, in_flight: u64, app_limited: bool) {
        let acked = std::mem::take(&mut self.acked);
        let least = self.min_rtt.map_or(Duration::ZERO, |(least, _)| least);
        let sample = self.delivery.end_acks(now, in_flight, app_limited, least);
        let Some(sample) = sample else {
            return;
        };
        self.learn(&sample, now);
        self.aggregation
            .on_acked(now, acked, self.best_rate(), self.window);
        if sample.delivered_before >= self.round.began_at {
            self.end_round();
        }
        match self.phase {
            Phase::Drain if in_flight <= self.product() => self.phase = Phase::Cycle(DRAINED),
            Phase::ProbeRtt { until, least } if now >= until => {
                self.min_rtt = Some((least, now));
                self.phase = Phase::Cycle(DRAINED);
            }
            Phase::Startup { .. } | Phase::Drain | Phase::Cycle(_) | Phase::ProbeRtt { .. } => (),
        }
        if let (Phase::Cycle(round), Some(ceiling)) = (self.phase, &mut self.ceiling) {
            // Nothing was lost for long: perhaps the path holds more again.
            if round < DRAINED {
                *ceiling += acked;
            }
        }
        let target = self.target();
        self.window = match self.window > target {
            // Half of what leaves is sent: a question that comes now need not wait until all of it has
            // drained.
            true => target.max(self.window.saturating_sub(acked / 2)),
            false => target.min(self.window + acked),
        };
    }

    /// No bytes if it was ECN that told.
    fn lost(&mut self, lost_bytes: u64, is_persistent_congestion: bool) {
        self.round.lost += lost_bytes;
        if is_persistent_congestion {
            self.window = LEAST_PACKETS * self.mtu;
        }
        // The path says by ECN that its queue grows.
        if lost_bytes == 0
            && let Phase::Cycle(round) = &mut self.phase
            && *round < DRAINED
        {
            *round = DRAINED;
        }
    }
}

impl Controller for Bbr {
    fn on_sent(&mut self, now: Instant, _bytes: u64, _last_packet_number: u64) {
        self.delivery.on_sent(now);
    }

    fn on_ack(
        &mut self,
        _now: Instant,
        sent: Instant,
        bytes: u64,
        _app_limited: bool,
        _rtt: &RttEstimator,
    ) {
        self.packet_acked(sent, bytes);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        _largest_packet_num_acked: Option<u64>,
    ) {
        self.all_acked(now, in_flight, app_limited);
    }

    fn on_congestion_event(
        &mut self,
        _now: Instant,
        _sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.lost(lost_bytes, is_persistent_congestion);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu.into();
        self.window = self.window.max(LEAST_PACKETS * self.mtu);
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        INITIAL_PACKETS * self.mtu
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

// === impl Aggregation ===

impl Aggregation {
    fn new() -> Self {
        Self {
            began: None,
            acked: 0,
            most: Extreme::most(),
        }
    }

    fn on_acked(&mut self, now: Instant, acked: u64, rate: u64, window: u64) {
        let began = *self.began.get_or_insert(now);
        let expected = bytes(rate, now - began);
        if self.acked <= expected {
            (self.began, self.acked) = (Some(now), acked);
            return;
        }
        self.acked += acked;
        self.most
            .add(self.acked.saturating_sub(expected).min(window));
    }
}

fn bytes(rate: u64, time: Duration) -> u64 {
    (rate as f64 * time.as_secs_f64()) as u64
}

#[cfg(test)]
mod tests;
