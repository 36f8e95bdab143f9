//! Which connections to a peer there should be: whom to dial when, and which to close.
//!
//! A load balancer in front of the peer's gateways chooses a replica by the dialler's port, so the
//! way to another replica is another dial. The pool wants connections to all replicas of the peer
//! (two, if their number is unknown; never more than [`MAX_REPLICAS`]), whichever side dialled.
//!
//! To each of them it wants several: a connection is one task, one lock and one congestion window.
//! The further ones are dialled from the port of the first, so they lead to the same replica.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tombolo_link_wire::CloseCode;

pub(crate) use self::action::{Action, ConnectionId, DialEnd, DialId, Origin};
use self::beside::Beside;

mod action;
mod beside;
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
const MAX_CONNECTIONS: usize = 128;
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
    targets: Vec<Target>,
    beside: Beside,
    per_replica: usize,
    connections: BTreeMap<ConnectionId, Member>,
    /// As the peer's gateways told last; 0 if they do not know.
    siblings: usize,
    fruitless: u32,
    /// Connections in a row that did not last.
    unsettled: u32,
    draining: bool,
    next_dial: u64,
    rng: SmallRng,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
struct Target {
    address: String,
    dialling: Option<DialId>,
    failures: u32,
    attempt: u32,
    next: Instant,
}

#[derive(Debug)]
struct Member {
    replica: Arc<str>,
    dialled: bool,
    usable: bool,
    since: Instant,
}

// === impl Pool ===

impl Pool {
    /// An empty pool that wants so many connections to each replica; `seed` decides on the jitter.
    pub(crate) fn new(per_replica: usize, seed: u64) -> Self {
        Self {
            targets: Vec::new(),
            beside: Beside::default(),
            per_replica: per_replica.clamp(1, MAX_CONNECTIONS_PER_REPLICA),
            connections: BTreeMap::new(),
            siblings: 0,
            fruitless: 0,
            unsettled: 0,
            draining: false,
            next_dial: 0,
            rng: SmallRng::seed_from_u64(seed),
            actions: VecDeque::new(),
        }
    }

    /// The addresses to dial are these now.
    pub(crate) fn handle_addresses(&mut self, now: Instant, addresses: &[String]) {
        let distinct: BTreeSet<&String> = addresses.iter().collect();
        let known: BTreeSet<&String> = self.targets.iter().map(|target| &target.address).collect();
        if distinct == known {
            return;
        }
        self.targets
            .retain(|target| distinct.contains(&target.address));
        for address in distinct {
            if !self.targets.iter().any(|target| target.address == *address) {
                self.targets.push(Target {
                    address: address.clone(),
                    dialling: None,
                    failures: 0,
                    attempt: 0,
                    next: now,
                });
            }
        }
        self.fruitless = 0;
        self.dial_due(now);
    }

    /// A connection is up, both sides having said who they are. Its fate follows as an action.
    pub(crate) fn handle_connected(
        &mut self,
        now: Instant,
        id: ConnectionId,
        replica: Arc<str>,
        siblings: u32,
        origin: Origin,
    ) {
        if siblings != 0 {
            self.siblings = usize::try_from(siblings).unwrap_or(usize::MAX);
        }
        let known = self.is_linked_to(&replica);
        match origin {
            Origin::Dialled(dial) => {
                if self.beside.is_under_way(dial) {
                    self.handle_connected_beside(now, id, replica, dial);
                    return;
                }
                let pause = match known {
                    true => self.fruitless_pause(),
                    false => Duration::ZERO,
                };
                if let Some(target) = self.end_dial(dial) {
                    target.failures = 0;
                    target.next = now + pause;
                }
                if known && self.has_dialled(&replica) {
                    self.actions
                        .push_back(Action::Close(id, CloseCode::Duplicate));
                    self.dial_due(now);
                    return;
                }
                if !known {
                    self.fruitless = 0;
                }
            }
            Origin::Inbound => self.make_room(&replica),
        }
        let dialled = matches!(origin, Origin::Dialled(_));
        self.keep(now, id, replica, dialled);
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
            false => self.keep(now, id, replica, true),
        }
    }

    fn keep(&mut self, now: Instant, id: ConnectionId, replica: Arc<str>, dialled: bool) {
        let member = Member {
            replica,
            dialled,
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
        let fruitless = match end {
            DialEnd::Failed => None,
            DialEnd::TurnedAway => Some(self.fruitless_pause()),
        };
        if let Some(target) = self.end_dial(dial) {
            let pause = fruitless.unwrap_or_else(|| {
                target.failures = target.failures.saturating_add(1);
                backoff(target.failures).mul_f64(jitter)
            });
            target.next = now + pause;
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
            let since = member.since;
            self.look_again(now, since);
        }
    }

    /// A connection is gone.
    pub(crate) fn handle_closed(&mut self, now: Instant, id: ConnectionId) {
        let Some(member) = self.connections.remove(&id) else {
            return;
        };
        if member.usable {
            self.look_again(now, member.since);
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
        let idle = self
            .targets
            .iter()
            .filter(|target| self.may_dial() && target.dialling.is_none());
        let first = idle.map(|target| (target.next, "dial")).min();
        let short = self.short();
        let further = short.keys().filter_map(|replica| self.beside.next(replica));
        let further = further.map(|next| (next, "dial beside")).min();
        first.into_iter().chain(further).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
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

    fn linked(&self) -> usize {
        let usable = self.connections.values().filter(|member| member.usable);
        let replicas: BTreeSet<&str> = usable.map(|member| &*member.replica).collect();
        replicas.len()
    }

    fn is_linked_to(&self, replica: &str) -> bool {
        let mut usable = self.connections.values().filter(|member| member.usable);
        usable.any(|member| &*member.replica == replica)
    }

    fn count(&self, replica: &str) -> usize {
        let usable = self.connections.values().filter(|member| member.usable);
        usable.filter(|member| &*member.replica == replica).count()
    }

    /// The replicas that were dialled from here and have too few connections, with one of those.
    fn short(&self) -> BTreeMap<Arc<str>, ConnectionId> {
        let mut short = BTreeMap::new();
        if self.draining {
            return short;
        }
        for (id, member) in &self.connections {
            if member.dialled && member.usable && self.count(&member.replica) < self.per_replica {
                short.entry(Arc::clone(&member.replica)).or_insert(*id);
            }
        }
        short
    }

    fn has_dialled(&self, replica: &str) -> bool {
        let mut usable = self.connections.values().filter(|member| member.usable);
        usable.any(|member| member.dialled && &*member.replica == replica)
    }

    fn may_dial(&self) -> bool {
        let linked = self.linked();
        let dialling = self
            .targets
            .iter()
            .filter(|target| target.dialling.is_some());
        let parallel = match linked {
            0 => PARALLEL_DIALS,
            _ => 1,
        };
        !self.draining && linked < self.wanted() && dialling.count() < parallel
    }

    fn dial_due(&mut self, now: Instant) {
        for (replica, beside) in self.short() {
            let dial = DialId(self.next_dial);
            if self.beside.begin(now, &replica, dial) {
                self.next_dial += 1;
                self.actions.push_back(Action::DialBeside { dial, beside });
            }
        }
        while self.may_dial() {
            let due = self
                .targets
                .iter_mut()
                .filter(|target| target.dialling.is_none() && target.next <= now)
                .min_by_key(|target| target.next);
            let Some(target) = due else {
                return;
            };
            let dial = DialId(self.next_dial);
            self.next_dial += 1;
            target.dialling = Some(dial);
            self.actions.push_back(Action::Dial {
                dial,
                address: target.address.clone(),
                attempt: target.attempt,
            });
            target.attempt = target.attempt.wrapping_add(1);
        }
    }

    fn end_dial(&mut self, dial: DialId) -> Option<&mut Target> {
        let target = self
            .targets
            .iter_mut()
            .find(|target| target.dialling == Some(dial))?;
        target.dialling = None;
        Some(target)
    }

    /// A connection that was usable since then is not any longer: what was learned by fruitless
    /// dials may not hold any more.
    fn look_again(&mut self, now: Instant, since: Instant) {
        self.fruitless = 0;
        let jitter = self.jitter();
        if now.saturating_duration_since(since) < SETTLED {
            self.unsettled = self.unsettled.saturating_add(1);
            let pause = now + backoff(self.unsettled).mul_f64(jitter);
            for target in &mut self.targets {
                target.next = target.next.max(pause);
            }
            self.beside.pause(pause);
        } else {
            self.unsettled = 0;
            let soon = now + LOST_PAUSE.mul_f64(jitter);
            for target in &mut self.targets {
                target.failures = 0;
                target.next = target.next.min(soon);
            }
        }
        self.dial_due(now);
    }

    fn fruitless_pause(&mut self) -> Duration {
        self.fruitless = self.fruitless.saturating_add(1);
        let pause = match self.fruitless {
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

/// The pause after so many failures in a row, of which there is at least one.
fn backoff(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_BACKOFF * 2_u32.pow(doublings)).min(MAX_BACKOFF)
}
