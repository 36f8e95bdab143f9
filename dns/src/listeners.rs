//! The sockets that are answered on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use hickory_server::server::{RequestHandler, Server};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tombolo_crds::well_known::DNS_PORT;

use crate::udp::{self, FastPath, SlowPath};

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

/// How a TCP socket is opened.
type Tcp = fn(SocketAddr) -> io::Result<TcpListener>;

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
        let alone = |address| Self::bind_to(address, tcp);
        match address {
            Some(address) => alone(address),
            None => every_family((Ipv6Addr::UNSPECIFIED, DNS_PORT).into(), alone),
        }
    }

    /// Listens on `address`, beside another program that does so: on a node the next version begins
    /// before this one ends.
    pub(crate) fn bind_beside(address: SocketAddr) -> Result<Self, BindError> {
        every_family(address, |address| Self::bind_to(address, tcp_beside))
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
        H: FastPath + SlowPath + RequestHandler + Clone,
    {
        let mut server = Server::new(handler.clone());
        server.register_listener(self.tcp, TCP_IDLE_TIMEOUT, TCP_ANSWERS_WAITING);
        tokio::select! {
            ended = udp::serve(self.udp, handler) => ended.context("UDP"),
            ended = server.block_until_done() => ended.context("TCP"),
        }
    }

    fn bind_to(address: SocketAddr, tcp: Tcp) -> Result<Self, BindError> {
        let choices = if address.port() == 0 { PORT_CHOICES } else { 1 };
        let mut outcome = Self::open(address, tcp);
        for _ in 1..choices {
            if outcome.is_ok() {
                break;
            }
            outcome = Self::open(address, tcp);
        }
        outcome.map_err(|source| BindError { address, source })
    }

    fn open(address: SocketAddr, tcp: Tcp) -> io::Result<Self> {
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

/// `open` with `address`. A node may have IPv6 disabled: then every address is every one of IPv4.
pub(crate) fn every_family<T, E>(
    address: SocketAddr,
    open: impl Fn(SocketAddr) -> Result<T, E>,
) -> Result<T, E> {
    match address.ip() {
        IpAddr::V6(ip) if ip.is_unspecified() => {
            open(address).or_else(|_| open((Ipv4Addr::UNSPECIFIED, address.port()).into()))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => open(address),
    }
}

/// One of several sockets among which the kernel spreads the clients: each has its own thread.
pub(crate) fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    socket.set_reuse_port(true)?;
    if let Err(error) = socket.set_recv_buffer_size(UDP_RECEIVE_BUFFER_OCTETS) {
        tracing::debug!(%error, "receive buffer not enlarged");
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    listener(address, socket(address, Type::STREAM, Protocol::TCP)?)
}

/// As [`tcp`], though another program may listen there.
pub(crate) fn tcp_beside(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_port(true)?;
    listener(address, socket)
}

fn listener(address: SocketAddr, socket: Socket) -> io::Result<TcpListener> {
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
