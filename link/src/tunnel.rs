//! QUIC where UDP is blocked: its packets in frames over TLS over TCP.
//!
//! ```text
//!  quinn ── try_send ─► outbox ──► pump ── TLS ── TCP ── TLS ── pump ──► inbox ── poll_recv ─► quinn
//! ```
//!
//! A tunnel looks like a UDP socket to an endpoint of its own, and carries one QUIC connection. All
//! that is above does not know of it. Both sides show their certificates twice: TLS lets nobody but
//! peers come as far as QUIC, and QUIC's own handshake is the one that counts.
//!
//! TCP loses and reorders nothing, so what does not fit waits where it is made: a full outbox stops
//! quinn, a full inbox stops TCP.

mod accept;
mod admission;
mod dial;
mod outbox;
mod pump;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsStream;
use tokio_util::sync::CancellationToken;
use tombolo_link_wire::TUNNEL_ALPN;

pub(crate) use self::accept::take;
pub(crate) use self::admission::Admission;
pub(crate) use self::dial::{TunnelError, dial};
use self::outbox::Outbox;
use self::socket::TunnelSocket;
use crate::local::Local;
use crate::transport;

/// Packets that wait for quinn; with more, TCP waits.
const INBOX: usize = 32;

/// What the kernel may hold unsent, in bytes: what waits there cannot be overtaken, be it a ping or a
/// UDP client's packet. 1 ms at 1 Gbit/s.
const UNSENT: u32 = 128 * 1024;

/// A TCP connection that carries a QUIC connection.
#[derive(Debug, Default)]
pub(crate) struct Tunnel {
    lost: CancellationToken,
    why: OnceLock<String>,
}

// === impl Tunnel ===

impl Tunnel {
    /// Waits until the TCP connection is gone, and says why that is.
    pub(crate) async fn lost(&self) -> &str {
        self.lost.cancelled().await;
        self.why.get().map_or("", String::as_str)
    }

    fn lose(&self, why: String) {
        // The first reason is the one that counts.
        let _ = self.why.set(why);
        self.lost.cancel();
    }
}

/// Waits until the TCP connection that carries a connection is gone: for ever, if none does.
pub(crate) async fn lost(tunnel: Option<&Tunnel>) -> &str {
    match tunnel {
        Some(tunnel) => tunnel.lost().await,
        None => std::future::pending().await,
    }
}

/// Makes an endpoint of a TLS connection that both sides have agreed on, which takes connections if
/// it has a `server` configuration. It lives as long as the endpoint; `held` is dropped at its end.
fn open(
    local: &Local,
    stream: TlsStream<TcpStream>,
    remote: SocketAddr,
    server: Option<quinn::ServerConfig>,
    held: impl Send + 'static,
) -> io::Result<(Arc<Tunnel>, quinn::Endpoint)> {
    let address = {
        let (tcp, _) = stream.get_ref();
        tcp.set_nodelay(true)?;
        SockRef::from(tcp).set_tcp_notsent_lowat(UNSENT)?;
        tcp.local_addr()?
    };
    let outbox = Arc::new(Outbox::default());
    let (sender, inbox) = mpsc::channel::<Bytes>(INBOX);
    let socket = TunnelSocket {
        outbox: Arc::clone(&outbox),
        inbox: Mutex::new(inbox),
        address,
        remote,
    };
    let tunnel = Arc::new(Tunnel::default());
    let endpoint = transport::tunnel_endpoint(server, Arc::new(socket))?;
    let carried = Arc::clone(&tunnel);
    // Not one of the tasks that a close waits for: it has to carry what they say at last.
    local.runtime.spawn(async move {
        let why = pump::run(stream, &outbox, sender).await;
        tracing::debug!(%remote, why, "tunnel ended");
        carried.lose(why);
        drop(held);
    });
    Ok((tunnel, endpoint))
}

/// Whether the other side speaks what goes through tunnels. TLS lets it pass that it names nothing.
fn is_tunnel(alpn: Option<&[u8]>) -> bool {
    alpn == Some(TUNNEL_ALPN)
}
