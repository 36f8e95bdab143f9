//! What is known of the links, for conditions and metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::tunnel::Tunnel;

/// The link to one peer as this replica has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerLink {
    /// The peer's gateway replicas to which there is a usable connection, by name.
    pub replicas: BTreeMap<String, ReplicaLink>,
    /// Why there is no connection, or the last one ended; `None` while there is one.
    pub last_error: Option<LinkFault>,
    /// The incarnation that the peer's gateways told last.
    pub incarnation: Option<String>,
    /// Whether there is an address to dial.
    pub dialable: bool,
    /// Since when nobody has answered over UDP at one of the addresses; `None` if somebody has since,
    /// or none was dialled.
    pub unanswered_since: Option<SystemTime>,
}

/// What carries the packets of a connection. The better one is the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Carrier {
    /// UDP, as it should be.
    Udp,
    /// TLS over TCP: UDP is not answered.
    Tcp,
}

/// Usable connections to one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaLink {
    /// How many.
    pub connections: usize,
    /// What carries the best of them.
    pub carrier: Carrier,
    /// Version of the messages that the replica speaks.
    pub protocol_version: u32,
    /// Version of the merge rules that its cluster follows.
    pub merge_version: u32,
}

/// What went wrong last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFault {
    /// One of a bounded set of words.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Figures of one connection.
#[derive(Clone, Debug)]
pub struct ConnectionStats {
    /// The peer's cluster.
    pub cluster: Arc<str>,
    /// The peer's replica.
    pub replica: Arc<str>,
    /// Whether this side dialled.
    pub dialled: bool,
    /// What carries it.
    pub carrier: Carrier,
    /// Round-trip time by the last answered ping; `None` before the first.
    pub ping: Option<Duration>,
    /// Round-trip time as the transport estimates it.
    pub rtt: Duration,
    /// Congestion window, in bytes.
    pub congestion_window: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets lost.
    pub lost_packets: u64,
    /// Times that the congestion window was cut.
    pub congestion_events: u64,
    /// Times that large packets stopped coming through.
    pub black_holes: u64,
    /// UDP payload that is sent at most, in bytes.
    pub mtu: u16,
    /// UDP payload bytes sent.
    pub sent_bytes: u64,
    /// UDP payload bytes received.
    pub received_bytes: u64,
    /// Streams open in either direction.
    pub streams: usize,
}

// === impl Carrier ===

impl Carrier {
    pub(crate) fn of(tunnel: Option<&Tunnel>) -> Self {
        match tunnel {
            Some(_) => Self::Tcp,
            None => Self::Udp,
        }
    }

    /// A stable word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

// === impl PeerLink ===

impl PeerLink {
    /// Whether something can be opened.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        !self.replicas.is_empty()
    }

    /// Whether there is a link, and UDP carries none of it.
    #[must_use]
    pub fn is_over_tcp(&self) -> bool {
        let mut replicas = self.replicas.values();
        self.is_connected() && replicas.all(|replica| replica.carrier == Carrier::Tcp)
    }
}
