//! Taking the TCP connections that come to the link's port: tunnels of peers, the checks of load
//! balancers, and strangers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tombolo_link_wire::TUNNEL_ALPN;

use super::admission::Place;
use super::is_tunnel;
use crate::counts::Event;
use crate::listen::{Arriving, accept};
use crate::local::Local;
use crate::pool::MAX_CONNECTIONS;
use crate::tls::{self, TlsError};
use crate::trust::{PeerVerifier, TrustError};

/// How long somebody may take to say what he wants, and then to show a certificate.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// What may come through a tunnel before the connection in it is taken, in bytes.
const UNACCEPTED: u64 = 64 * 1024;
/// The first byte of TLS: of a record with a handshake message (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Why a TCP connection became no tunnel.
#[derive(Debug, thiserror::Error)]
enum TakeError {
    #[error("it was closed before anything was said")]
    Probe,
    #[error("nothing was said")]
    Silence,
    #[error("not TLS")]
    NotTls,
    #[error("the handshake took longer than {} s", HANDSHAKE.as_secs())]
    Timeout,
    #[error("too many TCP connections at a time")]
    Displaced,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Config(#[from] TlsError),
    #[error(transparent)]
    Untrusted(#[from] TrustError),
    #[error("it names another protocol")]
    NotATunnel,
    #[error("the cluster has {MAX_CONNECTIONS} tunnels already")]
    TooMany,
    #[error("this replica is about to stop")]
    Draining,
    #[error("no QUIC connection came through it")]
    Unused,
}

/// One of the tunnels that a peer may have.
struct Share(Arc<AtomicUsize>);

/// Takes a connection that came to the link's TCP port.
pub(crate) async fn take(local: Arc<Local>, stream: TcpStream, remote: SocketAddr) {
    let place = local.admission.enter();
    let authenticated = tokio::select! {
        biased;
        () = local.closed.cancelled() => return,
        () = place.displaced() => Err(TakeError::Displaced),
        authenticated = authenticate(&local, stream) => authenticated,
    };
    drop::<Place>(place);
    let served = match authenticated {
        Ok((stream, cluster)) => serve(&local, stream, remote, cluster).await,
        Err(error) => Err(error),
    };
    match served {
        Ok(()) => {}
        Err(error @ TakeError::Probe) => local.counts.add(Event::TunnelAccept, error.reason()),
        Err(error) => local.refuse(Event::TunnelAccept, error.reason(), remote, &error),
    }
}

/// Which cluster it is that has dialled.
async fn authenticate(
    local: &Local,
    stream: TcpStream,
) -> Result<(TlsStream<TcpStream>, String), TakeError> {
    let mut first = [0];
    let peeked = tokio::time::timeout(HANDSHAKE, stream.peek(&mut first))
        .await
        .map_err(|_| TakeError::Silence)?;
    match peeked {
        Ok(0) | Err(_) => return Err(TakeError::Probe),
        Ok(_) if first != [TLS_HANDSHAKE] => return Err(TakeError::NotTls),
        Ok(_) => {}
    }
    let (verifier, outcome) =
        PeerVerifier::new(Arc::clone(&local.trust), None, Arc::clone(&local.provider));
    let tls = tls::server(
        &local.provider,
        &local.identity.load(),
        verifier,
        TUNNEL_ALPN,
    )?;
    let accepting = TlsAcceptor::from(Arc::new(tls)).accept(stream);
    let handshake = tokio::time::timeout(HANDSHAKE, accepting)
        .await
        .map_err(|_| TakeError::Timeout)?;
    let stream = match (handshake, outcome.get()) {
        (_, Some(Err(error))) => return Err(error.clone().into()),
        (Err(error), _) => return Err(error.into()),
        (Ok(stream), _) => stream,
    };
    let (_, session) = stream.get_ref();
    if !is_tunnel(session.alpn_protocol()) {
        return Err(TakeError::NotATunnel);
    }
    match outcome.get() {
        Some(Ok(cluster)) => {
            let cluster = cluster.clone();
            Ok((stream, cluster))
        }
        Some(Err(_)) | None => Err(TakeError::NotATunnel),
    }
}

/// Takes the one QUIC connection that comes through a tunnel.
async fn serve(
    local: &Arc<Local>,
    stream: TlsStream<TcpStream>,
    remote: SocketAddr,
    cluster: String,
) -> Result<(), TakeError> {
    let peer = local
        .peer(&cluster)
        .ok_or_else(|| TrustError::UnknownCluster(cluster.clone()))?;
    let share = Share::of(&peer.tunnels).ok_or(TakeError::TooMany)?;
    if local.draining.is_cancelled() {
        return Err(TakeError::Draining);
    }
    let mut server = local.server_config.clone();
    server
        .transport_config(Arc::clone(&local.tunnel_transport))
        .max_incoming(1)
        .incoming_buffer_size_total(UNACCEPTED);
    let (tunnel, endpoint) = super::open(local, stream.into(), remote, Some(server), share)?;
    let incoming = tokio::select! {
        biased;
        () = local.closed.cancelled() => return Ok(()),
        _ = tunnel.lost() => None,
        incoming = tokio::time::timeout(HANDSHAKE, endpoint.accept()) => incoming.ok().flatten(),
    };
    let incoming = incoming.ok_or(TakeError::Unused)?;
    local.counts.add(Event::TunnelAccept, "Opened");
    let arriving = Arriving {
        endpoint: endpoint.clone(),
        tunnel: Some(Arc::clone(&tunnel)),
        expected: Some(cluster),
    };
    tokio::select! {
        () = accept(local, incoming, arriving) => {}
        _ = tunnel.lost() => {}
    }
    // One tunnel carries one connection: what TCP holds up is held up for all in it.
    endpoint.set_server_config(None);
    Ok(())
}

// === impl Share ===

impl Share {
    fn of(tunnels: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |count| (count < MAX_CONNECTIONS).then_some(count + 1);
        tunnels
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(Self(Arc::clone(tunnels)))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl TakeError ===

impl TakeError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Probe => "Probe",
            Self::Silence => "Silence",
            Self::NotTls => "NotTls",
            Self::Timeout => "TimedOut",
            Self::Displaced => "Displaced",
            Self::Io(_) => "Tls",
            Self::Config(_) => "Config",
            Self::Untrusted(error) => error.reason(),
            Self::NotATunnel => "NotATunnel",
            Self::TooMany => "TooMany",
            Self::Draining => "Draining",
            Self::Unused => "Unused",
        }
    }
}
