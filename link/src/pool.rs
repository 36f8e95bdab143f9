//! Which connections to a peer there should be: whom to dial when, and which to close.
//!
//! A load balancer in front of the peer's gateways chooses a replica by the dialler's port, so the
//! way to another replica is another dial. The pool wants connections to all replicas of the peer
//! (two, if their number is unknown; never more than [`MAX_REPLICAS`]), whichever side dialled.
//!
//! To each of them it wants several: a connection is one task, one lock and one congestion window.
//! The further ones are dialled from the port of the first, so they lead to the same replica.
//!
//! Where nobody answers over UDP at all, the same search is made over TCP beside it, with one
//! connection to each replica, until a connection over UDP is there. As soon as one to the same
//! replica has proven good, the one over TCP is retired.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tombolo_link_wire::CloseCode;

pub(crate) use self::action::{Action, Arrival, ConnectionId, DialEnd, DialId, Origin};
use self::beside::Beside;
use self::targets::Targets;
use crate::status::Carrier;

mod action;
mod beside;
mod carriers;
mod targets;
#[cfg(test)]
mod tests;

/// Replicas of a peer beyond which one replica here does not look for more.
pub(crate) const MAX_REPLICAS: usize = 4;
/// Connections that are made to one replica at most.
pub(crate) const MAX_CONNECTIONS_PER_REPLICA: usize = 8;
/// Connections that one replica of the peer may have dialled to this one: all, and once more those
/// of a predecessor that was killed.
const MAX_INBOUND: usize = 2 * MAX_CONNECTIONS_PER_REPLICA;
/// Connections that the peer may have in all, whatever names its replicas give themselves.
pub(crate) const MAX_CONNECTIONS: usize = 128;
/// Dials in a row that may lead to a replica that is connected already, before it is tried less
/// often. Of two replicas, one is missed by so many dials once in 65,536 times.
const FRUITLESS_DIALS: u32 = 16;

const FRUITLESS_PAUSE: Duration = Duration::from_millis(100);
const FRUITLESS_LONG_PAUSE: Duration = Duration::from_secs(30);
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// After a connection was lost: spread, so that both sides do not always dial at once.
const LOST_PAUSE: Duration = Duration::from_millis(100);
/// A connection that did not last so long is a failure of the dial that follows: what closed it
/// may close the next one, too.
const SETTLED: Duration = Duration::from_secs(10);
/// Dials at a time while there is no connection at all, each to another address.
const PARALLEL_DIALS: usize = 4;

/// The connections to one peer, as a pure state machine.
#[derive(Debug)]
pub(crate) struct Pool {
    targets: Targets,
    beside: Beside,
    per_replica: usize,
    /// Whether TCP may carry connections.
    fallback: bool,
    connections: BTreeMap<ConnectionId, Member>,
    /// As the peer's gateways told last; 0 if they do not know.
    siblings: usize,
    udp: Luck,
    tcp: Luck,
    draining: bool,
    next_dial: u64,
    rng: SmallRng,
    actions: VecDeque<Action>,
}

/// How the search for replicas has gone lately.
#[derive(Debug, Default)]
struct Luck {
    /// Dials in a row that led to a replica that is connected already, or took nobody.
    fruitless: u32,
    /// Connections in a row that did not last.
    unsettled: u32,
}

#[derive(Debug)]
struct Member {
    replica: Arc<str>,
    dialled: bool,
    carrier: Carrier,
    usable: bool,
    since: Instant,
}

// === impl Pool ===

impl Pool {
    /// An empty pool that wants so many connections to each replica, with TCP as a `fallback` or not;
    /// `seed` decides on the jitter.
    pub(crate) fn new(per_replica: usize, fallback: bool, seed: u64) -> Self {
        Self {
            targets: Targets::default(),
            beside: Beside::default(),
            per_replica: per_replica.clamp(1, MAX_CONNECTIONS_PER_REPLICA),
            fallback,
            connections: BTreeMap::new(),
            siblings: 0,
            udp: Luck::default(),
            tcp: Luck::default(),
            draining: false,
            next_dial: 0,
            rng: SmallRng::seed_from_u64(seed),
            actions: VecDeque::new(),
        }
    }

    /// The addresses to dial are these now.
    pub(crate) fn handle_addresses(&mut self, now: Instant, addresses: &[String]) {
        if !self.targets.set(now, addresses) {
            return;
        }
        self.udp.fruitless = 0;
        self.tcp.fruitless = 0;
        self.dial_due(now);
    }

    /// A connection is up, both sides having said who they are. Its fate follows as an action.
    pub(crate) fn handle_connected(&mut self, now: Instant, id: ConnectionId, arrival: Arrival) {
        if arrival.siblings != 0 {
            self.siblings = usize::try_from(arrival.siblings).unwrap_or(usize::MAX);
        }
        let Arrival {
            replica, carrier, ..
        } = arrival;
        match arrival.origin {
            Origin::Dialled(dial) => {
                if self.beside.is_under_way(dial) {
                    self.handle_connected_beside(now, id, replica, dial);
                    return;
                }
                let known = self.is_linked_to(&replica, carrier);
                let pause = match known {
                    true => self.fruitless_pause(carrier),
                    false => Duration::ZERO,
                };
                if let Some((carrier, target)) = self.targets.end(dial) {
                    let schedule = target.schedule(carrier);
                    schedule.failures = 0;
                    schedule.next = now + pause;
                }
                if self.is_surplus(&replica, carrier) {
                    self.actions
                        .push_back(Action::Close(id, CloseCode::Duplicate));
                    self.dial_due(now);
                    return;
                }
                if !known {
                    self.luck(carrier).fruitless = 0;
                }
                self.keep(now, id, replica, carrier, true);
            }
            Origin::Inbound => {
                self.make_room(&replica);
                self.keep(now, id, replica, carrier, false);
            }
        }
    }

    fn handle_connected_beside(
        &mut self,
        now: Instant,
        id: ConnectionId,
        replica: Arc<str>,
        dial: DialId,
    ) {
        let surplus = self.count(&replica) >= self.per_replica;
        if let Some(dialling) = self.beside.end(dial) {
            dialling.failures = 0;
            dialling.next = match surplus {
                true => now + FRUITLESS_LONG_PAUSE,
                false => now,
            };
        }
        match surplus {
            true => {
                let close = Action::Close(id, CloseCode::Duplicate);
                self.actions.push_back(close);
                self.dial_due(now);
            }
            false => self.keep(now, id, replica, Carrier::Udp, true),
        }
    }

    fn keep(
        &mut self,
        now: Instant,
        id: ConnectionId,
        replica: Arc<str>,
        carrier: Carrier,
        dialled: bool,
    ) {
        if carrier == Carrier::Udp {
            self.targets.handle_answer();
        }
        let member = Member {
            replica,
            dialled,
            carrier,
            usable: true,
            since: now,
        };
        self.connections.insert(id, member);
        self.actions.push_back(Action::Keep(id));
        self.dial_due(now);
    }

    /// A dial brought no connection.
    pub(crate) fn handle_dial_ended(&mut self, now: Instant, dial: DialId, end: DialEnd) {
        let jitter = self.jitter();
        let carrier = self.carrier_of(dial);
        let is_linked = self.linked(Carrier::Udp) > 0;
        let fruitless = match end {
            DialEnd::Failed | DialEnd::Unanswered => None,
            DialEnd::TurnedAway => Some(self.fruitless_pause(carrier)),
        };
        if let Some((carrier, target)) = self.targets.end(dial) {
            match (carrier, end) {
                // Where UDP leads to others, silence is that of one replica.
                (Carrier::Udp, DialEnd::Unanswered) if is_linked => {}
                (Carrier::Udp, DialEnd::Unanswered) => {
                    target.unanswered.get_or_insert(now);
                }
                (Carrier::Udp, DialEnd::Failed | DialEnd::TurnedAway) => target.unanswered = None,
                (Carrier::Tcp, _) => {}
            }
            let schedule = target.schedule(carrier);
            match fruitless {
                Some(pause) => schedule.next = now + pause,
                None => schedule.fail(now, |failures| backoff(failures).mul_f64(jitter)),
            }
        } else if let Some(dialling) = self.beside.end(dial) {
            dialling.failures = dialling.failures.saturating_add(1);
            dialling.next = now + backoff(dialling.failures).mul_f64(jitter);
        }
        self.dial_due(now);
    }

    /// Nothing new may be opened through this connection.
    pub(crate) fn handle_going_away(&mut self, now: Instant, id: ConnectionId) {
        let Some(member) = self.connections.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut member.usable, false) {
            let (since, carrier) = (member.since, member.carrier);
            self.look_again(now, since, carrier);
        }
    }

    /// A connection is gone.
    pub(crate) fn handle_closed(&mut self, now: Instant, id: ConnectionId) {
        let Some(member) = self.connections.remove(&id) else {
            return;
        };
        if member.usable {
            self.look_again(now, member.since, member.carrier);
        }
        if self.count(&member.replica) == 0 {
            self.beside.forget(&member.replica);
        }
    }

    /// This replica is about to stop: nothing is dialled any more.
    pub(crate) fn handle_drain(&mut self) {
        self.draining = true;
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and for what.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let dial = |carrier: Carrier| {
            let next = self.targets.next(carrier);
            next.filter(|_| self.may_dial(carrier))
        };
        let first = dial(Carrier::Udp).map(|next| (next, "dial"));
        let tunnel = dial(Carrier::Tcp).map(|next| (next, "dial a tunnel"));
        let short = self.short();
        let further = short.keys().filter_map(|replica| self.beside.next(replica));
        let further = further.map(|next| (next, "dial beside")).min();
        let retire = self.next_retirement().map(|next| (next, "retire"));
        let all = [first, tunnel, further, retire];
        all.into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.retire_due(now);
        self.dial_due(now);
    }

    /// What is to be done next; to be called until there is nothing.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn wanted(&self) -> usize {
        match self.siblings {
            0 => 2,
            known => known.min(MAX_REPLICAS),
        }
    }

    fn usable(&self) -> impl Iterator<Item = &Member> {
        let members = self.connections.values();
        members.filter(|member| member.usable)
    }

    fn count(&self, replica: &str) -> usize {
        let of_replica = |member: &&Member| is_over_udp(member) && &*member.replica == replica;
        self.usable().filter(of_replica).count()
    }

    /// The replicas that were dialled from here and have too few connections, with one of those.
    fn short(&self) -> BTreeMap<Arc<str>, ConnectionId> {
        let mut short = BTreeMap::new();
        if self.draining {
            return short;
        }
        for (id, member) in &self.connections {
            let counts = member.dialled && member.usable && is_over_udp(member);
            if counts && self.count(&member.replica) < self.per_replica {
                short.entry(Arc::clone(&member.replica)).or_insert(*id);
            }
        }
        short
    }

    fn dial_due(&mut self, now: Instant) {
        for (replica, beside) in self.short() {
            let dial = DialId(self.next_dial);
            if self.beside.begin(now, &replica, dial) {
                self.next_dial += 1;
                self.actions.push_back(Action::DialBeside { dial, beside });
            }
        }
        for carrier in [Carrier::Udp, Carrier::Tcp] {
            while self.may_dial(carrier) {
                let dial = DialId(self.next_dial);
                let Some((address, attempt)) = self.targets.begin(now, carrier, dial) else {
                    break;
                };
                self.next_dial += 1;
                self.actions.push_back(Action::Dial {
                    dial,
                    address,
                    attempt,
                    carrier,
                });
            }
        }
    }

    /// A connection that was usable since then is not any longer: what was learned by fruitless
    /// dials may not hold any more.
    fn look_again(&mut self, now: Instant, since: Instant, carrier: Carrier) {
        let jitter = self.jitter();
        let luck = self.luck(carrier);
        luck.fruitless = 0;
        if now.saturating_duration_since(since) < SETTLED {
            luck.unsettled = luck.unsettled.saturating_add(1);
            let pause = now + backoff(luck.unsettled).mul_f64(jitter);
            for schedule in self.targets.schedules(carrier) {
                schedule.next = schedule.next.max(pause);
            }
            if carrier == Carrier::Udp {
                self.beside.pause(pause);
            }
        } else {
            luck.unsettled = 0;
            let soon = now + LOST_PAUSE.mul_f64(jitter);
            for schedule in self.targets.schedules(carrier) {
                schedule.failures = 0;
                schedule.next = schedule.next.min(soon);
            }
        }
        self.dial_due(now);
    }

    fn fruitless_pause(&mut self, carrier: Carrier) -> Duration {
        let luck = self.luck(carrier);
        luck.fruitless = luck.fruitless.saturating_add(1);
        let pause = match luck.fruitless {
            ..FRUITLESS_DIALS => FRUITLESS_PAUSE,
            FRUITLESS_DIALS.. => FRUITLESS_LONG_PAUSE,
        };
        pause.mul_f64(self.jitter())
    }

    fn make_room(&mut self, replica: &str) {
        let inbound_of_replica: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, member)| !member.dialled && &*member.replica == replica)
            .map(|(id, _)| *id)
            .collect();
        let superseded = match inbound_of_replica.len() >= MAX_INBOUND {
            true => inbound_of_replica.first().copied(),
            false if self.connections.len() >= MAX_CONNECTIONS => {
                self.connections.keys().next().copied()
            }
            false => None,
        };
        if let Some(id) = superseded {
            self.connections.remove(&id);
            self.actions
                .push_back(Action::Close(id, CloseCode::Superseded));
        }
    }

    /// Between a half and one.
    fn jitter(&mut self) -> f64 {
        self.rng.random_range(0.5..1.0)
    }
}

fn is_over_udp(member: &Member) -> bool {
    member.carrier == Carrier::Udp
}

/// The pause after so many failures in a row, of which there is at least one.
fn backoff(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_BACKOFF * 2_u32.pow(doublings)).min(MAX_BACKOFF)
}
