//! UDP and TCP side by side: when TCP is tried at all, and when it is left again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::{Action, DialId, Luck, Member, PARALLEL_DIALS, Pool, SETTLED, is_over_udp};
use crate::status::Carrier;

impl Pool {
    /// What a dial under way goes over.
    pub(crate) fn carrier_of(&self, dial: DialId) -> Carrier {
        self.targets.carrier_of(dial).unwrap_or(Carrier::Udp)
    }

    /// Since when nobody has answered over UDP at one of the addresses.
    pub(crate) fn unanswered_since(&self) -> Option<Instant> {
        self.targets.unanswered_since()
    }

    pub(super) fn luck(&mut self, carrier: Carrier) -> &mut Luck {
        match carrier {
            Carrier::Udp => &mut self.udp,
            Carrier::Tcp => &mut self.tcp,
        }
    }

    /// How many replicas are linked over this carrier or a better one.
    pub(super) fn linked(&self, carrier: Carrier) -> usize {
        let good = self.usable().filter(|member| member.carrier <= carrier);
        let replicas: BTreeSet<&str> = good.map(|member| &*member.replica).collect();
        replicas.len()
    }

    /// Whether a replica is linked over this carrier or a better one.
    pub(super) fn is_linked_to(&self, replica: &str, carrier: Carrier) -> bool {
        self.usable()
            .any(|member| member.carrier <= carrier && &*member.replica == replica)
    }

    /// Whether one more dialled connection to a replica would be of no use.
    pub(super) fn is_surplus(&self, replica: &str, carrier: Carrier) -> bool {
        let surplus = |member: &Member| {
            member.carrier < carrier || member.dialled && member.carrier == carrier
        };
        self.usable()
            .any(|member| surplus(member) && &*member.replica == replica)
    }

    /// One replica that UDP leads to shows that UDP is not blocked: then the others have other
    /// reasons for their silence.
    pub(super) fn may_dial(&self, carrier: Carrier) -> bool {
        let is_an_option = match carrier {
            Carrier::Udp => true,
            Carrier::Tcp => self.fallback && self.linked(Carrier::Udp) == 0,
        };
        let linked = self.linked(carrier);
        let parallel = match linked {
            0 => PARALLEL_DIALS,
            _ => 1,
        };
        is_an_option
            && !self.draining
            && linked < self.wanted()
            && self.targets.dialling(carrier) < parallel
    }

    /// When the next connection over TCP is of no use any more: a path that takes a handshake and
    /// then nothing is no better.
    pub(super) fn next_retirement(&self) -> Option<Instant> {
        let good = self.good_over_udp();
        let tunnels = self.usable().filter(|member| !is_over_udp(member));
        tunnels
            .filter_map(|member| good.get(&member.replica))
            .min()
            .copied()
    }

    pub(super) fn retire_due(&mut self, now: Instant) {
        let good = self.good_over_udp();
        for (id, member) in &mut self.connections {
            let due = good.get(&member.replica).is_some_and(|at| *at <= now);
            if due && member.usable && !is_over_udp(member) {
                member.usable = false;
                self.actions.push_back(Action::Retire(*id));
            }
        }
    }

    /// The replicas that are linked over UDP, and from when on that has proven good.
    fn good_over_udp(&self) -> BTreeMap<Arc<str>, Instant> {
        let mut good: BTreeMap<Arc<str>, Instant> = BTreeMap::new();
        for member in self.usable().filter(|member| is_over_udp(member)) {
            let at = member.since + SETTLED;
            let earliest = good.entry(Arc::clone(&member.replica)).or_insert(at);
            *earliest = at.min(*earliest);
        }
        good
    }
}
