//! The sockets that are answered on.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use hickory_server::server::{RequestHandler, Server};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tombolo_crds::well_known::DNS_PORT;

use crate::udp::{self, FastPath};

/// A TCP connection on which nothing is asked for so long is closed (RFC 7766, section 6.2.3: "of
/// the order of a few seconds").
const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers of one TCP connection that wait for its client to read.
const TCP_ANSWERS_WAITING: usize = 32;
const TCP_BACKLOG: i32 = 1_024;
/// A burst of some thousand questions waits here rather than being lost.
const UDP_RECEIVE_BUFFER_OCTETS: usize = 1 << 20;
/// With port 0 the kernel chooses one that is free for UDP; for TCP it may be taken.
const PORT_CHOICES: usize = 16;

/// Bound sockets of one address: UDP, one for each processor, and TCP.
#[derive(Debug)]
pub struct Listeners {
    udp: Vec<UdpSocket>,
    tcp: TcpListener,
    address: SocketAddr,
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

// === impl Listeners ===

impl Listeners {
    /// Listens on `address`, by default on every address of the pod, of both families if it has
    /// both.
    ///
    /// # Errors
    /// If the address is not this machine's, or taken.
    pub fn bind(address: Option<SocketAddr>) -> Result<Self, BindError> {
        if let Some(address) = address {
            return Self::bind_to(address);
        }
        Self::bind_to((Ipv6Addr::UNSPECIFIED, DNS_PORT).into())
            // A node may have IPv6 disabled.
            .or_else(|_| Self::bind_to((Ipv4Addr::UNSPECIFIED, DNS_PORT).into()))
    }

    /// Where they listen, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is dropped.
    ///
    /// # Errors
    /// If a socket is lost.
    pub async fn serve<H>(self, handler: H) -> anyhow::Result<()>
    where
        H: FastPath + RequestHandler + Clone,
    {
        let mut server = Server::new(handler.clone());
        server.register_listener(self.tcp, TCP_IDLE_TIMEOUT, TCP_ANSWERS_WAITING);
        tokio::select! {
            ended = udp::serve(self.udp, handler) => ended.context("UDP"),
            ended = server.block_until_done() => ended.context("TCP"),
        }
    }

    fn bind_to(address: SocketAddr) -> Result<Self, BindError> {
        let choices = if address.port() == 0 { PORT_CHOICES } else { 1 };
        let mut outcome = Self::open(address);
        for _ in 1..choices {
            if outcome.is_ok() {
                break;
            }
            outcome = Self::open(address);
        }
        outcome.map_err(|source| BindError { address, source })
    }

    fn open(address: SocketAddr) -> io::Result<Self> {
        let first = udp(address)?;
        let address = first.local_addr()?;
        let tcp = tcp(address)?;
        let sockets = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let more = (1..sockets).map(|_| udp(address));
        let udp = [Ok(first)]
            .into_iter()
            .chain(more)
            .collect::<io::Result<_>>()?;
        Ok(Self { udp, tcp, address })
    }
}

// === impl BindError ===

impl BindError {
    /// A stable word for this error.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        "AddressUnavailable"
    }
}

/// One of several sockets among which the kernel spreads the clients: each has its own task.
fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    socket.set_reuse_port(true)?;
    if let Err(error) = socket.set_recv_buffer_size(UDP_RECEIVE_BUFFER_OCTETS) {
        tracing::debug!(%error, "receive buffer not enlarged");
    }
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(TCP_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}
