//! The controller on paths of numbers alone: a queue that drains at a rate, a delay, and chance.

use std::collections::VecDeque;

use super::*;

const MTU: u64 = 1_200;
const MBIT: u64 = 1_000_000 / 8;

/// What is between sender and receiver.
#[derive(Clone, Copy, Debug)]
struct Path {
    /// Bytes a second.
    rate: u64,
    /// There and back, without a queue.
    delay: Duration,
    /// What the queue holds, in bytes.
    buffer: u64,
    /// One of so many packets is lost by chance; none if 0.
    lost_of: u64,
    /// The sender hears acknowledgements only so often.
    lumps: Duration,
}

/// A sender that has always something to send, unless told otherwise.
struct Sender {
    control: Control,
    in_flight: u64,
    /// When each packet was sent, and when it will be heard of; lost ones when one after it is.
    sent: VecDeque<Packet>,
    smoothed: Duration,
    may_send_at: Instant,
    /// Bytes it may still have to send.
    left: u64,
    report: Report,
}

enum Control {
    Bbr(Box<Bbr>),
    /// As TCP has it: half the window for a loss, a packet more for each round trip.
    Reno {
        window: u64,
        since_loss: u64,
    },
}

#[derive(Clone, Copy)]
struct Packet {
    sent: Instant,
    arrives: bool,
    known_at: Instant,
}

/// What came of a time.
#[derive(Clone, Debug, Default)]
struct Report {
    acked: u64,
    round_trips: Vec<Duration>,
}

struct World {
    path: Path,
    began: Instant,
    now: Instant,
    /// When the queue will be empty.
    busy_until: Instant,
    chance: u64,
    senders: Vec<Sender>,
}

impl World {
    fn new(path: Path, senders: usize) -> Self {
        let now = Instant::now();
        let sender = |number: usize| Sender {
            control: Control::Bbr(Box::new(Bbr::new(MTU, number as u64))),
            in_flight: 0,
            sent: VecDeque::new(),
            smoothed: path.delay,
            may_send_at: now,
            left: u64::MAX,
            report: Report::default(),
        };
        Self {
            path,
            began: now,
            now,
            busy_until: now,
            chance: 1,
            senders: (0..senders).map(sender).collect(),
        }
    }

    /// What each sender got through in that time.
    fn run(&mut self, time: Duration) -> Vec<Report> {
        let end = self.now + time;
        while self.now < end {
            for index in 0..self.senders.len() {
                self.hear(index);
                self.send(index);
            }
            self.now += Duration::from_micros(50);
        }
        let senders = self.senders.iter_mut();
        senders.map(|s| std::mem::take(&mut s.report)).collect()
    }

    fn hear(&mut self, index: usize) {
        let (now, sender) = (self.now, &mut self.senders[index]);
        let (mut acked, mut lost) = (0, 0);
        while let Some(packet) = sender.sent.front().copied() {
            if packet.known_at > now {
                break;
            }
            sender.sent.pop_front();
            sender.in_flight -= MTU;
            if packet.arrives {
                acked += MTU;
                sender.control.packet_acked(packet.sent);
                sender.report.round_trips.push(now - packet.sent);
                sender.smoothed = (sender.smoothed * 7 + (now - packet.sent)) / 8;
            } else {
                lost += MTU;
            }
        }
        if acked > 0 {
            let idle = sender.left == 0;
            sender.control.all_acked(now, sender.in_flight, idle);
        }
        if lost > 0 {
            sender.control.lost(lost);
        }
        sender.report.acked += acked;
    }

    fn send(&mut self, index: usize) {
        let mut batch = 0;
        loop {
            let sender = &mut self.senders[index];
            let window = sender.control.window();
            let is_open = sender.in_flight + MTU < window && self.now >= sender.may_send_at;
            if !is_open || sender.left < MTU || batch == 10 {
                break;
            }
            batch += 1;
            sender.left -= MTU;
            sender.in_flight += MTU;
            // As QUIC's pacer does.
            let rate = 1.25 * window as f64 / sender.smoothed.as_secs_f64();
            let base = sender.may_send_at.max(self.now - Duration::from_millis(1));
            sender.may_send_at = base + Duration::from_secs_f64(MTU as f64 / rate);
            let packet = self.carry();
            self.senders[index].sent.push_back(packet);
        }
        if batch > 0 {
            self.senders[index].control.sent(self.now);
        }
    }

    fn carry(&mut self) -> Packet {
        let (now, path) = (self.now, self.path);
        self.chance = self
            .chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let by_chance = path.lost_of > 0 && (self.chance >> 33).is_multiple_of(path.lost_of);
        let queue = self.busy_until.max(now) - now;
        let is_full = bytes(path.rate, queue) + MTU > path.buffer;
        if !is_full {
            let takes = Duration::from_secs_f64(MTU as f64 / path.rate as f64);
            self.busy_until = self.busy_until.max(now) + takes;
        }
        let mut known_at = self.busy_until.max(now) + path.delay;
        if !path.lumps.is_zero() {
            let lump = path.lumps.as_nanos();
            let since = (known_at - self.began).as_nanos();
            known_at += Duration::from_nanos((lump - since % lump) as u64);
        }
        Packet {
            sent: now,
            arrives: !is_full && !by_chance,
            known_at,
        }
    }
}

impl Control {
    fn window(&self) -> u64 {
        match self {
            Self::Bbr(bbr) => bbr.window(),
            Self::Reno { window, .. } => *window,
        }
    }

    fn sent(&mut self, now: Instant) {
        match self {
            Self::Bbr(bbr) => bbr.on_sent(now, 0, 0),
            Self::Reno { .. } => (),
        }
    }

    fn packet_acked(&mut self, sent: Instant) {
        match self {
            Self::Bbr(bbr) => bbr.packet_acked(sent, MTU),
            Self::Reno { window, since_loss } => {
                *window += MTU * MTU / *window;
                *since_loss += MTU;
            }
        }
    }

    fn all_acked(&mut self, now: Instant, in_flight: u64, idle: bool) {
        match self {
            Self::Bbr(bbr) => bbr.all_acked(now, in_flight, idle),
            Self::Reno { .. } => (),
        }
    }

    fn lost(&mut self, bytes: u64) {
        match self {
            Self::Bbr(bbr) => bbr.lost(bytes, false),
            // Once a round trip.
            Self::Reno { window, since_loss } if *since_loss > *window => {
                *window = (*window / 2).max(2 * MTU);
                *since_loss = 0;
            }
            Self::Reno { .. } => (),
        }
    }
}

impl Report {
    fn mbits(&self, time: Duration) -> f64 {
        self.acked as f64 / time.as_secs_f64() / MBIT as f64
    }

    fn round_trip(&mut self, part: f64) -> Duration {
        self.round_trips.sort_unstable();
        self.round_trips[(self.round_trips.len() as f64 * part) as usize]
    }
}

const WAN: Path = Path {
    rate: 100 * MBIT,
    delay: Duration::from_millis(40),
    buffer: 2_000_000,
    lost_of: 0,
    lumps: Duration::ZERO,
};
const SECOND: Duration = Duration::from_secs(1);

/// One sender on a path, once it has got going.
fn settled(path: Path) -> (World, Report) {
    let mut world = World::new(path, 1);
    world.run(3 * SECOND);
    let report = world.run(10 * SECOND).remove(0);
    (world, report)
}

#[test]
fn the_path_is_full_and_its_queue_is_short() {
    let (_, mut report) = settled(WAN);

    let mbits = report.mbits(10 * SECOND);
    assert!(mbits > 92.0, "{mbits}");
    let median = report.round_trip(0.5);
    assert!(median < Duration::from_millis(46), "{median:?}");
    let slow = report.round_trip(0.99);
    assert!(slow < Duration::from_millis(60), "{slow:?}");
}

#[test]
fn what_is_lost_by_chance_costs_nothing_but_itself() {
    for lost_of in [200, 30, 10] {
        let (_, mut report) = settled(Path { lost_of, ..WAN });

        let mbits = report.mbits(10 * SECOND);
        let least = if lost_of > 50 { 90.0 } else { 55.0 };
        assert!(mbits > least, "1 of {lost_of}: {mbits}");
        let median = report.round_trip(0.5);
        assert!(
            median < Duration::from_millis(46),
            "1 of {lost_of}: {median:?}"
        );
    }
}

#[test]
fn a_short_buffer_is_not_overrun_for_ever() {
    let (_, report) = settled(Path {
        buffer: 50_000,
        ..WAN
    });

    let mbits = report.mbits(10 * SECOND);
    assert!(mbits > 70.0, "{mbits}");
}

#[test]
fn a_path_that_slows_down_is_noticed_and_so_is_one_that_speeds_up() {
    let (mut world, _) = settled(WAN);
    world.path.rate = 20 * MBIT;
    world.run(3 * SECOND);

    let mut slow = world.run(5 * SECOND).remove(0);
    let mbits = slow.mbits(5 * SECOND);
    assert!(mbits > 17.0, "{mbits}");
    let median = slow.round_trip(0.5);
    assert!(median < Duration::from_millis(60), "{median:?}");

    world.path.rate = 200 * MBIT;
    world.run(6 * SECOND);
    let fast = world.run(5 * SECOND).remove(0).mbits(5 * SECOND);
    assert!(fast > 170.0, "{fast}");
}

#[test]
fn a_host_that_hears_late_does_not_starve_itself() {
    for millis in [5, 20, 60] {
        let lumps = Duration::from_millis(millis);
        let (_, report) = settled(Path { lumps, ..WAN });

        let mbits = report.mbits(10 * SECOND);
        assert!(mbits > 75.0, "lumps of {lumps:?}: {mbits}");
    }
}

#[test]
fn a_path_that_becomes_longer_does_not_starve_it() {
    let (mut world, _) = settled(WAN);
    for delay in [70, 100, 200] {
        world.path.delay = Duration::from_millis(delay);
        world.run(15 * SECOND);

        let mbits = world.run(5 * SECOND).remove(0).mbits(5 * SECOND);
        assert!(mbits > 80.0, "{delay} ms: {mbits}");
    }
}

#[test]
fn a_path_within_a_data_centre_is_full() {
    let near = Path {
        rate: 1_000 * MBIT,
        delay: Duration::from_micros(200),
        ..WAN
    };
    let (_, mut report) = settled(near);

    let mbits = report.mbits(10 * SECOND);
    assert!(mbits > 900.0, "{mbits}");
    let slow = report.round_trip(0.99);
    assert!(slow < Duration::from_millis(6), "{slow:?}");
}

#[test]
fn a_sender_that_had_little_to_say_gets_going_at_once() {
    let (mut world, _) = settled(WAN);
    for _ in 0..50 {
        world.senders[0].left = 10 * MTU;
        world.run(Duration::from_millis(100));
    }
    world.senders[0].left = u64::MAX;
    world.run(SECOND / 4);

    let mbits = world.run(SECOND).remove(0).mbits(SECOND);
    assert!(mbits > 85.0, "{mbits}");
}

#[test]
fn one_that_comes_later_gets_its_share() {
    let mut world = World::new(WAN, 3);
    world.senders[1].left = 0;
    world.senders[2].left = 0;
    world.run(5 * SECOND);
    world.senders[1].left = u64::MAX;
    world.run(5 * SECOND);
    world.senders[2].left = u64::MAX;
    // Until all have measured the least round trip at the same time.
    world.run(60 * SECOND);

    let mut reports = world.run(20 * SECOND);
    let shares: Vec<f64> = reports.iter().map(|r| r.mbits(20 * SECOND)).collect();
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    let index = sum * sum / (3.0 * squares);
    assert!(sum > 92.0, "{shares:?}");
    assert!(index > 0.9, "{shares:?}");
    let median = reports[2].round_trip(0.5);
    assert!(median < Duration::from_millis(90), "{median:?}");
}

#[test]
fn beside_a_sender_that_fills_the_buffer_neither_starves() {
    for buffer in [200_000, 500_000, 1_000_000, 2_000_000] {
        let mut world = World::new(Path { buffer, ..WAN }, 2);
        world.senders[1].control = Control::Reno {
            window: 100 * MTU,
            since_loss: 0,
        };
        world.run(30 * SECOND);

        let reports = world.run(60 * SECOND);
        let shares: Vec<f64> = reports.iter().map(|r| r.mbits(60 * SECOND)).collect();
        // Half of an equal share at least.
        assert!(
            shares.iter().all(|share| *share > 25.0),
            "{buffer}: {shares:?}"
        );
    }
}
