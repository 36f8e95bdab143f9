//! `loop`: a question that comes back to its sender would go round for ever.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hickory_proto::rr::{DNSClass, Name, RecordType};
use tokio::sync::mpsc;

use crate::metrics::Transport;

use super::query::Query;

/// The first time is our own question, the second may be another's retry.
const COME_BACK: usize = 3;

/// Looks for a question of its own that comes in.
pub(super) struct LoopDetector {
    zone: Name,
    name: Name,
    seen: AtomicUsize,
    done: AtomicBool,
}

/// Where loops are told; whoever hears of one ends the program, as CoreDNS does: it would only ask
/// itself, and the log of a program that does not start is read.
#[derive(Clone)]
pub(crate) struct Loops(mpsc::UnboundedSender<Name>);

// === impl LoopDetector ===

impl LoopDetector {
    pub(super) fn new(zone: &Name) -> Self {
        let label = || format!("{:016x}", rand::random::<u64>());
        let name = [label(), label()]
            .iter()
            .try_fold(zone.clone(), |name, label| {
                name.prepend_label(label.as_bytes())
            });
        Self {
            // A zone of the longest names has no room: its own name is as good, but for retries.
            name: name.unwrap_or_else(|_| zone.clone()),
            zone: zone.clone(),
            seen: AtomicUsize::new(0),
            done: AtomicBool::new(false),
        }
    }

    pub(super) fn zone(&self) -> &Name {
        &self.zone
    }

    pub(super) fn query(&self) -> Query {
        Query {
            id: 0,
            name: self.name.clone(),
            record_type: RecordType::HINFO,
            class: DNSClass::IN,
            client: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            transport: Transport::Udp,
            recursion_desired: true,
            checking_disabled: false,
            authentic_data: false,
            edns: None,
            octets: 0,
        }
    }

    /// From now on the question is nobody's.
    pub(super) fn done(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// Whether `query` is ours, and has been round.
    pub(super) fn has_come_back(&self, query: &Query) -> bool {
        query.record_type == RecordType::HINFO
            && query.name == self.name
            && !self.done.load(Ordering::Relaxed)
            && self.seen.fetch_add(1, Ordering::Relaxed) + 1 >= COME_BACK
    }
}

// === impl Loops ===

impl Loops {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Name>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    pub(super) fn tell(&self, zone: &Name) {
        // Nobody listens any more while the program ends.
        drop(self.0.send(zone.clone()));
    }
}
