//! The addresses of a peer: when each of them may be dialled again, over UDP and over TCP.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::DialId;
use crate::status::Carrier;

/// The addresses of a peer.
#[derive(Debug, Default)]
pub(super) struct Targets(Vec<Target>);

#[derive(Debug)]
pub(super) struct Target {
    address: String,
    udp: Schedule,
    tcp: Schedule,
    /// Since when nobody has answered here over UDP. Until then there is nothing to try over TCP.
    pub(super) unanswered: Option<Instant>,
}

/// One dial at a time, and when the next one may be.
#[derive(Debug)]
pub(super) struct Schedule {
    dialling: Option<DialId>,
    pub(super) failures: u32,
    attempt: u32,
    pub(super) next: Instant,
}

// === impl Targets ===

impl Targets {
    /// From now on these are the addresses. Returns whether they are others than before.
    pub(super) fn set(&mut self, now: Instant, addresses: &[String]) -> bool {
        let distinct: BTreeSet<&String> = addresses.iter().collect();
        let known: BTreeSet<&String> = self.0.iter().map(|target| &target.address).collect();
        if distinct == known {
            return false;
        }
        self.0.retain(|target| distinct.contains(&target.address));
        for address in distinct {
            if !self.0.iter().any(|target| target.address == *address) {
                self.0.push(Target {
                    address: address.clone(),
                    udp: Schedule::new(now),
                    tcp: Schedule::new(now),
                    unanswered: None,
                });
            }
        }
        true
    }

    /// Begins a dial of the address that is due longest, if one is. Returns it, and how many dials
    /// of it there were before.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        carrier: Carrier,
        dial: DialId,
    ) -> Option<(String, u32)> {
        let target = self
            .0
            .iter_mut()
            .filter(|target| target.next(carrier).is_some_and(|next| next <= now))
            .min_by_key(|target| target.next(carrier))?;
        let schedule = target.schedule(carrier);
        schedule.dialling = Some(dial);
        let attempt = schedule.attempt;
        schedule.attempt = attempt.wrapping_add(1);
        Some((target.address.clone(), attempt))
    }

    /// The dial has ended, if it was of an address that there still is.
    pub(super) fn end(&mut self, dial: DialId) -> Option<(Carrier, &mut Target)> {
        let carrier = self.carrier_of(dial)?;
        let target = self
            .0
            .iter_mut()
            .find(|target| target.at(carrier).dialling == Some(dial))?;
        target.schedule(carrier).dialling = None;
        Some((carrier, target))
    }

    pub(super) fn carrier_of(&self, dial: DialId) -> Option<Carrier> {
        let is_over = |carrier: &Carrier| {
            let mut targets = self.0.iter();
            targets.any(|target| target.at(*carrier).dialling == Some(dial))
        };
        [Carrier::Udp, Carrier::Tcp].into_iter().find(is_over)
    }

    /// When the next dial is due, those left out that are under way.
    pub(super) fn next(&self, carrier: Carrier) -> Option<Instant> {
        self.0
            .iter()
            .filter_map(|target| target.next(carrier))
            .min()
    }

    /// How many dials are under way.
    pub(super) fn dialling(&self, carrier: Carrier) -> usize {
        let schedules = self.0.iter().map(|target| target.at(carrier));
        let dialling = schedules.filter(|schedule| schedule.dialling.is_some());
        dialling.count()
    }

    pub(super) fn schedules(&mut self, carrier: Carrier) -> impl Iterator<Item = &mut Schedule> {
        let targets = self.0.iter_mut();
        targets.map(move |target| target.schedule(carrier))
    }

    /// Somebody has answered over UDP.
    pub(super) fn handle_answer(&mut self) {
        for target in &mut self.0 {
            target.unanswered = None;
        }
    }

    pub(super) fn unanswered_since(&self) -> Option<Instant> {
        self.0.iter().filter_map(|target| target.unanswered).min()
    }
}

// === impl Target ===

impl Target {
    pub(super) fn schedule(&mut self, carrier: Carrier) -> &mut Schedule {
        match carrier {
            Carrier::Udp => &mut self.udp,
            Carrier::Tcp => &mut self.tcp,
        }
    }

    fn at(&self, carrier: Carrier) -> &Schedule {
        match carrier {
            Carrier::Udp => &self.udp,
            Carrier::Tcp => &self.tcp,
        }
    }

    fn next(&self, carrier: Carrier) -> Option<Instant> {
        let is_an_option = carrier == Carrier::Udp || self.unanswered.is_some();
        let schedule = self.at(carrier);
        let is_idle = schedule.dialling.is_none();
        (is_an_option && is_idle).then_some(schedule.next)
    }
}

// === impl Schedule ===

impl Schedule {
    fn new(now: Instant) -> Self {
        Self {
            dialling: None,
            failures: 0,
            attempt: 0,
            next: now,
        }
    }

    /// Not before `pause` is over.
    pub(super) fn fail(&mut self, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        self.failures = self.failures.saturating_add(1);
        self.next = now + pause(self.failures);
    }
}

#[cfg(test)]
impl Targets {
    pub(super) fn addresses(&self) -> Vec<String> {
        let targets = self.0.iter();
        targets.map(|target| target.address.clone()).collect()
    }

    /// The first dial that is under way.
    pub(super) fn under_way(&self, carrier: Carrier) -> Option<DialId> {
        self.0.iter().find_map(|target| target.at(carrier).dialling)
    }
}
