//! At which rate the path delivers (draft-cheng-iccrg-delivery-rate-estimation).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many are remembered. Acknowledgements are sent as well, and nobody acknowledges them.
const FLIGHTS: usize = 8_192;

/// What is known of what was sent and what has arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Delivery {
    /// Bytes acknowledged.
    delivered: u64,
    /// When the last of them was.
    delivered_at: Option<Instant>,
    /// When the packet that was acknowledged last was sent.
    first_sent: Option<Instant>,
    /// What was sent at once, in the order of time; none older than the newest acknowledged.
    flights: VecDeque<Flight>,
    /// When the newest packet acknowledged was sent.
    newest: Option<Instant>,
    /// The sender had nothing more to send before so much was delivered.
    app_limited_until: u64,
    is_idle: bool,
}

/// Packets that were sent at the same time, and how things were then.
#[derive(Clone, Copy, Debug)]
struct Flight {
    sent: Instant,
    delivered: u64,
    delivered_at: Instant,
    first_sent: Instant,
    is_app_limited: bool,
}

/// What an acknowledgement tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// Bytes a second; none if it was too short to tell.
    pub(super) rate: Option<u64>,
    pub(super) rtt: Duration,
    /// Bytes that had been delivered when the newest packet acknowledged was sent.
    pub(super) delivered_before: u64,
    /// The rate may be that of the sender.
    pub(super) is_app_limited: bool,
}

// === impl Delivery ===

impl Delivery {
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Packets were sent, all at the same time.
    pub(super) fn on_sent(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_idle) || self.delivered_at.is_none() {
            (self.first_sent, self.delivered_at) = (Some(now), Some(now));
        }
        if self.flights.back().is_some_and(|last| last.sent >= now) {
            return;
        }
        if self.flights.len() == FLIGHTS {
            self.flights.pop_front();
        }
        self.flights.push_back(Flight {
            sent: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at.unwrap_or(now),
            first_sent: self.first_sent.unwrap_or(now),
            is_app_limited: self.app_limited_until > self.delivered,
        });
    }

    /// A packet that was sent then has arrived.
    pub(super) fn on_ack(&mut self, sent: Instant, bytes: u64) {
        self.delivered += bytes;
        if self.newest.is_none_or(|newest| sent > newest) {
            self.newest = Some(sent);
        }
    }

    /// After all packets of an acknowledgement. None if all of them were sent before others that were
    /// acknowledged earlier. What took less than the least round trip says nothing of the rate.
    pub(super) fn end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        min_rtt: Duration,
    ) -> Option<Sample> {
        self.is_idle = in_flight == 0;
        if app_limited {
            self.app_limited_until = self.delivered + in_flight;
        }
        self.delivered_at = Some(now);
        let newest = self.newest?;
        while self.flights.front().is_some_and(|f| f.sent < newest) {
            self.flights.pop_front();
        }
        let flight = *self.flights.front().filter(|f| f.sent == newest)?;
        self.first_sent = Some(flight.sent);
        let rtt = now - flight.sent;
        // Acknowledgements may come faster than the packets went, or the other way round.
        let took = (flight.sent - flight.first_sent).max(now - flight.delivered_at);
        let delivered = (self.delivered - flight.delivered) as f64;
        let is_long = took >= min_rtt.max(Duration::from_micros(1));
        let rate = is_long.then(|| (delivered / took.as_secs_f64()) as u64);
        Some(Sample {
            rate,
            rtt,
            delivered_before: flight.delivered,
            is_app_limited: flight.is_app_limited,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(40);
    const PACKET: u64 = 1_000;

    #[test]
    fn the_rate_is_what_arrived_while_a_packet_was_under_way() {
        let (mut delivery, start) = (Delivery::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        for millis in 0..40 {
            delivery.on_sent(at(millis));
        }
        for millis in 0..39 {
            delivery.on_ack(at(millis), PACKET);
            delivery.end_acks(at(millis + 40), 10 * PACKET, false, RTT);
        }
        delivery.on_sent(at(79));
        for millis in 79..119 {
            // One of each two packets, of which each takes a millisecond.
            if millis % 2 == 0 {
                delivery.on_ack(at(39), PACKET);
                delivery.end_acks(at(millis), 10 * PACKET, false, RTT);
            }
        }
        delivery.on_ack(at(79), PACKET);
        let sample = delivery.end_acks(at(119), 0, false, RTT).unwrap();

        assert_eq!(sample.rtt, RTT);
        assert_eq!(sample.delivered_before, 39 * PACKET);
        // 21 packets since then, in 41 ms.
        assert_eq!(sample.rate, Some(21 * PACKET * 1_000 / 41));
    }

    #[test]
    fn a_short_time_tells_no_rate() {
        let (mut delivery, start) = (Delivery::default(), Instant::now());
        delivery.on_sent(start);
        delivery.on_ack(start, PACKET);

        let soon = delivery.end_acks(start + RTT / 2, 0, false, RTT).unwrap();
        assert_eq!((soon.rate, soon.rtt), (None, RTT / 2));
    }

    #[test]
    fn who_had_no_more_to_send_is_marked_until_that_has_arrived() {
        let (mut delivery, start) = (Delivery::default(), Instant::now());
        let mut limited = Vec::new();
        for round in 0..4 {
            let sent = start + round * RTT;
            delivery.on_sent(sent);
            delivery.on_ack(sent, PACKET);
            let sample = delivery.end_acks(sent + RTT, PACKET, round == 0, RTT);
            limited.push(sample.unwrap().is_app_limited);
        }

        assert_eq!(limited, [false, true, false, false]);
    }

    #[test]
    fn what_is_never_acknowledged_is_forgotten() {
        let (mut delivery, start) = (Delivery::default(), Instant::now());
        for number in 0..20_000 {
            delivery.on_sent(start + Duration::from_micros(number));
        }

        assert_eq!(delivery.flights.len(), FLIGHTS);
        delivery.on_ack(start, PACKET);
        assert_eq!(delivery.end_acks(start + RTT, 0, false, RTT), None);
    }
}
