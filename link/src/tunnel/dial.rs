//! Dialling a tunnel.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tombolo_link_wire::TUNNEL_ALPN;

use super::{Tunnel, is_tunnel};
use crate::local::Local;
use crate::tls::{self, TlsError};
use crate::trust::{PeerVerifier, TrustError};

/// How long TCP and TLS may take together: two round trips, and a lost packet or two.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    #[error("TCP: {0}")]
    Tcp(io::Error),
    #[error("no answer over TCP within {} s", HANDSHAKE.as_secs())]
    Timeout,
    #[error("TLS over TCP: {0}")]
    Tls(io::Error),
    #[error(transparent)]
    Config(#[from] TlsError),
    #[error(transparent)]
    Untrusted(#[from] TrustError),
    #[error("what is there over TCP takes no links so")]
    NotATunnel,
    #[error("{0}")]
    Lost(String),
}

/// Opens a tunnel to a gateway of `cluster`.
pub(crate) async fn dial(
    local: &Local,
    cluster: &str,
    remote: SocketAddr,
) -> Result<(Arc<Tunnel>, quinn::Endpoint), TunnelError> {
    let (verifier, outcome) = PeerVerifier::new(
        Arc::clone(&local.trust),
        Some(cluster.to_owned()),
        Arc::clone(&local.provider),
    );
    let tls = tls::client(
        &local.provider,
        &local.identity.load(),
        verifier,
        TUNNEL_ALPN,
    )?;
    let name = ServerName::try_from(tls::SERVER_NAME)
        .map_err(|error| TunnelError::Tls(io::Error::other(error)))?;
    let handshake = async {
        let tcp = TcpStream::connect(remote).await.map_err(TunnelError::Tcp)?;
        let connecting = TlsConnector::from(Arc::new(tls)).connect(name, tcp);
        connecting.await.map_err(|error| match outcome.get() {
            Some(Err(error)) => error.clone().into(),
            // A health port, or a gateway that takes no links so.
            Some(Ok(_)) | None if error.kind() == io::ErrorKind::UnexpectedEof => {
                TunnelError::NotATunnel
            }
            Some(Ok(_)) | None => TunnelError::Tls(error),
        })
    };
    let stream = tokio::time::timeout(HANDSHAKE, handshake)
        .await
        .unwrap_or(Err(TunnelError::Timeout))?;
    let (_, session) = stream.get_ref();
    if !is_tunnel(session.alpn_protocol()) {
        return Err(TunnelError::NotATunnel);
    }
    super::open(local, stream.into(), remote, None, ()).map_err(TunnelError::Tcp)
}

// === impl TunnelError ===

impl TunnelError {
    /// A stable word for it, for metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Tcp(error) if error.kind() == io::ErrorKind::ConnectionRefused => "TcpRefused",
            Self::Tcp(_) => "Tcp",
            Self::Timeout => "TcpTimedOut",
            Self::Tls(_) => "Tls",
            Self::Config(_) => "Config",
            Self::Untrusted(error) => error.reason(),
            Self::NotATunnel => "NotATunnel",
            Self::Lost(_) => "TunnelLost",
        }
    }
}
