//! What is known of the links, for conditions and metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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
}

/// Usable connections to one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaLink {
    /// How many.
    pub connections: usize,
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

// === impl PeerLink ===

impl PeerLink {
    /// Whether something can be opened.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        !self.replicas.is_empty()
    }
}
