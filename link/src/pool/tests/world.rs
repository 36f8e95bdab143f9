//! A pool and what the tests do to it.

use super::*;

/// A pool, its virtual time, and what it asked for.
pub(super) struct World {
    pub(super) pool: Pool,
    pub(super) now: Instant,
    next_connection: u64,
}

impl World {
    pub(super) fn new(addresses: &[&str]) -> Self {
        Self::wanting(1, addresses)
    }

    /// With a pool that wants so many connections to each replica.
    pub(super) fn wanting(per_replica: usize, addresses: &[&str]) -> Self {
        let now = Instant::now();
        let mut pool = Pool::new(per_replica, true, 7);
        let addresses: Vec<String> = addresses.iter().map(|&a| a.to_owned()).collect();
        pool.handle_addresses(now, &addresses);
        Self {
            pool,
            now,
            next_connection: 0,
        }
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.now += time;
        self.pool.handle_timeout(self.now);
    }

    pub(super) fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.pool.poll_action()).collect()
    }

    pub(super) fn dials(&mut self) -> Vec<String> {
        let actions = self.actions().into_iter();
        let address = |action| match action {
            Action::Dial {
                address,
                carrier: Carrier::Udp,
                ..
            } => Some(address),
            Action::Dial { .. } => None,
            Action::DialBeside { .. } | Action::Keep(_) | Action::Retire(_) | Action::Close(..) => {
                None
            }
        };
        actions.filter_map(address).collect()
    }

    pub(super) fn closed(&mut self) -> Vec<(ConnectionId, CloseCode)> {
        let actions = self.actions().into_iter();
        let closed = |action| match action {
            Action::Close(id, code) => Some((id, code)),
            Action::Keep(_)
            | Action::Retire(_)
            | Action::Dial { .. }
            | Action::DialBeside { .. } => None,
        };
        actions.filter_map(closed).collect()
    }

    pub(super) fn dial_under_way(&mut self) -> DialId {
        let dialling = self.pool.targets.under_way(Carrier::Udp);
        dialling.expect("a dial is under way")
    }

    /// Ends the dial that is under way with a connection to `replica`.
    pub(super) fn connect(&mut self, replica: &str, siblings: u32) -> ConnectionId {
        let dial = self.dial_under_way();
        self.finish_dial(dial, replica, siblings)
    }

    pub(super) fn try_connect(&mut self, replica: &str, siblings: u32) -> bool {
        let dialling = self.pool.targets.under_way(Carrier::Udp);
        dialling.is_some_and(|dial| {
            self.finish_dial(dial, replica, siblings);
            true
        })
    }

    pub(super) fn finish_dial(
        &mut self,
        dial: DialId,
        replica: &str,
        siblings: u32,
    ) -> ConnectionId {
        self.arrive(replica, siblings, Origin::Dialled(dial))
    }

    pub(super) fn inbound(&mut self, replica: &str, siblings: u32) -> ConnectionId {
        self.arrive(replica, siblings, Origin::Inbound)
    }

    pub(super) fn arrive(&mut self, replica: &str, siblings: u32, origin: Origin) -> ConnectionId {
        let carrier = match origin {
            Origin::Dialled(dial) => self.pool.carrier_of(dial),
            Origin::Inbound => Carrier::Udp,
        };
        self.arrive_over(carrier, replica, siblings, origin)
    }

    pub(super) fn arrive_over(
        &mut self,
        carrier: Carrier,
        replica: &str,
        siblings: u32,
        origin: Origin,
    ) -> ConnectionId {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let arrival = Arrival {
            replica: replica.into(),
            siblings,
            origin,
            carrier,
        };
        self.pool.handle_connected(self.now, id, arrival);
        id
    }

    pub(super) fn nth_connection(&self, n: usize) -> Option<ConnectionId> {
        let ids: Vec<_> = self.pool.connections.keys().collect();
        (!ids.is_empty()).then(|| *ids[n % ids.len()])
    }

    pub(super) fn apply(&mut self, op: Op) {
        let replica = |n: u8| ["a", "b", "c"][usize::from(n)];
        let dialling = self.pool.targets.under_way(Carrier::Udp);
        match op {
            Op::Advance(millis) => self.advance(Duration::from_millis(millis.into())),
            Op::Connect(n) => {
                self.try_connect(replica(n), 3);
            }
            Op::Inbound(n) => {
                self.inbound(replica(n), 3);
            }
            Op::ConnectTunnel(n) => {
                if let Some(dial) = self.pool.targets.under_way(Carrier::Tcp) {
                    self.finish_dial(dial, replica(n), 3);
                }
            }
            Op::EndDial(end) => {
                if let Some(dial) = dialling {
                    self.pool.handle_dial_ended(self.now, dial, end);
                }
            }
            Op::Lose(n) => {
                if let Some(id) = self.nth_connection(n) {
                    self.pool.handle_closed(self.now, id);
                }
            }
            Op::GoAway(n) => {
                if let Some(id) = self.nth_connection(n) {
                    self.pool.handle_going_away(self.now, id);
                }
            }
        }
    }
}
