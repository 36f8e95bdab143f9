//! QUIC's settings for links between gateways.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::{
    AsyncUdpSocket, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use tombolo_link_wire::limits;

use crate::batches::batching;
use crate::bbr::BbrConfig;
use crate::config::{Congestion, LinkConfig};
use crate::datagrams::{GuardedSocket, Strays};
use crate::pool::MAX_CONNECTIONS_PER_REPLICA;
use crate::steady::SteadyConfig;
use crate::udp::HearingSocket;
use crate::unreachable::Unreachable;

/// What one stream may hold at the receiver, in bytes: 800 Mbit/s a connection at 40 ms.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;

/// What the connections of one replica may hold at the receiver, in bytes. For each of them it must
/// be many times the stream's window: clients that stop reading hold theirs, and must not hold
/// everybody's.
const REPLICA_WINDOW: u32 = 64 * STREAM_WINDOW;

/// What the connections to one replica may have sent without an acknowledgement, in bytes.
const SEND_WINDOW: u32 = 64 * 1024 * 1024;

/// What one connection may hold of datagrams that came and were not handed on yet, in bytes. They
/// are handed on at once: it is for the time in which the thread is not scheduled.
const DATAGRAM_RECEIVE_BUFFER: usize = 1024 * 1024;

/// What one connection may hold of datagrams that the path does not take yet, in bytes: 20 ms at
/// 100 Mbit/s. Who sends faster than the path should lose packets early, not wait for late ones.
const DATAGRAM_SEND_BUFFER: usize = 256 * 1024;

/// Only the last resort: pings find a dead connection earlier.
const IDLE: VarInt = VarInt::from_u32(10_000);

const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// What every path carries (RFC 9000, 14): the size to fall back to when larger packets vanish.
const MIN_MTU: u16 = 1200;

/// The UDP payload of a packet of 1,500 bytes over IPv4.
const ETHERNET: u16 = 1472;

/// A packet in a tunnel.
const TUNNELLED: u16 = limits::TUNNELLED as u16;

/// The UDP payload of a jumbo frame of 9,000 bytes.
pub(crate) const MAX_MTU: u16 = 8972;

/// An endpoint on a socket. It takes packets as large as peers with the same setting may send.
pub(crate) fn endpoint(
    config: &LinkConfig,
    server: Option<ServerConfig>,
    socket: UdpSocket,
    strays: &Arc<Strays>,
    unreachable: &Unreachable,
) -> io::Result<Endpoint> {
    let largest = mtu(config).max(ETHERNET);
    let mut endpoint = EndpointConfig::default();
    // It refuses only what QUIC forbids: less than 1200.
    let _ = endpoint.max_udp_payload_size(largest);
    let counted = Arc::clone(strays);
    endpoint.cid_generator(move || counted.connection_ids());
    let socket = HearingSocket::new(socket, unreachable)?;
    let socket = GuardedSocket::new(socket, Arc::clone(strays), largest);
    let (socket, runtime) = batching(socket);
    Endpoint::new_with_abstract_socket(endpoint, server, socket, runtime)
}

/// An endpoint on one end of a tunnel.
pub(crate) fn tunnel_endpoint(
    server: Option<ServerConfig>,
    socket: Arc<dyn AsyncUdpSocket>,
) -> io::Result<Endpoint> {
    let mut endpoint = EndpointConfig::default();
    // As in `endpoint`.
    let _ = endpoint.max_udp_payload_size(TUNNELLED);
    Endpoint::new_with_abstract_socket(endpoint, server, socket, Arc::new(TokioRuntime))
}

/// The settings of connections over UDP.
pub(crate) fn transport(config: &LinkConfig) -> Arc<TransportConfig> {
    let mut transport = common(config);
    let mut mtu_discovery = MtuDiscoveryConfig::default();
    mtu_discovery.upper_bound(mtu(config));
    transport
        .initial_mtu(MIN_MTU)
        .mtu_discovery_config(Some(mtu_discovery));
    match config.congestion {
        Congestion::Cubic => {
            transport.congestion_controller_factory(Arc::new(CubicConfig::default()));
        }
        Congestion::Bbr => {
            transport.congestion_controller_factory(Arc::new(BbrConfig));
        }
    }
    Arc::new(transport)
}

/// The settings of connections through tunnels. A packet is as long as TLS' records are: there is no
/// path whose MTU could be less. Only TCP says how fast is too fast.
pub(crate) fn tunnel_transport(config: &LinkConfig) -> Arc<TransportConfig> {
    let mut transport = common(config);
    transport
        .initial_mtu(TUNNELLED)
        .mtu_discovery_config(None)
        .congestion_controller_factory(Arc::new(SteadyConfig(SEND_WINDOW.into())));
    Arc::new(transport)
}

fn common(config: &LinkConfig) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let connections = config
        .connections_per_replica
        .clamp(1, MAX_CONNECTIONS_PER_REPLICA);
    let connections = u32::try_from(connections).unwrap_or(1);
    transport
        // One more for the control stream, and a few for catalogs.
        .max_concurrent_bidi_streams(VarInt::from_u32(config.max_streams.saturating_add(8)))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(REPLICA_WINDOW / connections))
        .send_window((SEND_WINDOW / connections).into())
        .max_idle_timeout(Some(IdleTimeout::from(IDLE)))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .min_mtu(MIN_MTU)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BUFFER))
        .datagram_send_buffer_size(DATAGRAM_SEND_BUFFER);
    transport
}

fn mtu(config: &LinkConfig) -> u16 {
    config.mtu_upper_bound.clamp(MIN_MTU, MAX_MTU)
}
