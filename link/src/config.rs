//! What a gateway sets.

use std::net::SocketAddr;
use std::time::Duration;

use crate::transport;
use crate::trust::CaBundle;

/// Settings of the links of one gateway replica.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Where to listen for links (UDP). An unspecified IPv6 address takes IPv4 too.
    pub listen: SocketAddr,
    /// Name of this replica, unique in its cluster: its Pod's name.
    pub replica: String,
    /// UID of this cluster's namespace `kube-system`; empty if unknown.
    pub incarnation: String,
    /// How fast a connection sends.
    pub congestion: Congestion,
    /// The largest UDP payload that path MTU discovery tries, in bytes, between 1200 and 8972.
    pub mtu_upper_bound: u16,
    /// Connections to each replica of a peer, between 1 and 8.
    pub connections_per_replica: usize,
    /// How long the far gateway may take to answer a connection, before another one is tried.
    pub answer_timeout: Duration,
    /// Streams that a peer may have open in one connection at a time.
    pub max_streams: u32,
    /// Connections that may be in their handshake at a time; further ones are not answered. As many
    /// again over TCP, where further ones displace the oldest.
    pub max_handshakes: usize,
    /// Whether links may be carried over TCP where UDP is not answered.
    pub tcp_fallback: bool,
}

/// A congestion controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// RFC 9438; slow where packets are lost for other reasons than congestion.
    Cubic,
    /// After draft-ietf-ccwg-bbr; holds its rate on lossy paths, and keeps their queues short.
    #[default]
    Bbr,
}

/// Another cluster that may link to this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its cluster ID.
    pub cluster: String,
    /// `host:port` of its gateways; empty if only the other side can dial.
    pub addresses: Vec<String>,
    /// The CA that vouches for its gateways.
    pub bundle: CaBundle,
}

// === impl LinkConfig ===

impl LinkConfig {
    /// The defaults for a replica that listens on `listen`.
    pub fn new(listen: SocketAddr, replica: impl Into<String>) -> Self {
        Self {
            listen,
            replica: replica.into(),
            incarnation: String::new(),
            congestion: Congestion::default(),
            mtu_upper_bound: transport::MAX_MTU,
            connections_per_replica: 1,
            answer_timeout: Duration::from_secs(10),
            max_streams: 16_384,
            max_handshakes: 256,
            tcp_fallback: true,
        }
    }
}
