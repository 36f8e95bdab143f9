//! Dialling a peer: a name becomes an address, an address a connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, TransportConfig, VarInt};

use crate::connection::{Connection, ControlStream, Credentials, Established};
use crate::fault::Ended;
use crate::hello::{self, HelloError};
use crate::identity::ClusterId;
use crate::local::Local;
use crate::pool::DialEnd;
use crate::socket;
use crate::status::LinkFault;
use crate::tls::{self, TlsError};
use crate::transport;
use crate::trust::{PeerVerifier, Role, TrustError};
use crate::tunnel::{self, Tunnel, TunnelError};

const RESOLVE: Duration = Duration::from_secs(5);
/// How long a handshake may take; it takes two round trips, or three with a Retry.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Why a dial brought no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("cannot resolve {address}: {error}")]
    Resolve { address: String, error: io::Error },
    #[error("{remote}: {error}")]
    Socket {
        remote: SocketAddr,
        error: io::Error,
    },
    #[error("{remote}: {error}")]
    Config {
        remote: SocketAddr,
        error: ConfigError,
    },
    #[error("{remote}: {error}")]
    Untrusted {
        remote: SocketAddr,
        error: TrustError,
    },
    #[error("{remote}: no answer over UDP within {} s", HANDSHAKE.as_secs())]
    Timeout { remote: SocketAddr },
    #[error("{remote}: {error}")]
    Tunnel {
        remote: SocketAddr,
        error: TunnelError,
    },
    #[error("{remote}: {}", ended.message)]
    Ended { remote: SocketAddr, ended: Ended },
    #[error("{remote}: {error}")]
    Hello {
        remote: SocketAddr,
        error: Box<HelloError>,
    },
}

/// A dial cannot be configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Connect(#[from] quinn::ConnectError),
}

/// Dials one of the addresses that `address` resolves to, from a port of its own.
pub(crate) async fn dial(
    local: &Local,
    cluster: &str,
    address: &str,
    attempt: u32,
) -> Result<Established, DialError> {
    let remote = resolve(address, attempt).await?;
    let socket = |error| DialError::Socket { remote, error };
    let bound = socket::dial(remote).map_err(socket)?;
    let (strays, unreachable) = (&local.strays, &local.unreachable);
    let endpoint = transport::endpoint(&local.config, None, bound, strays, unreachable);
    let endpoint = endpoint.map_err(socket)?;
    handshake(local, cluster, remote, endpoint, None).await
}

/// Dials one of the addresses that `address` resolves to over TCP, at the same port.
pub(crate) async fn dial_tunnel(
    local: &Local,
    cluster: &str,
    address: &str,
    attempt: u32,
) -> Result<Established, DialError> {
    let remote = resolve(address, attempt).await?;
    let failed = |error| {
        if let TunnelError::Untrusted(error) = error {
            return DialError::Untrusted { remote, error };
        }
        DialError::Tunnel { remote, error }
    };
    let (tunnel, endpoint) = tunnel::dial(local, cluster, remote).await.map_err(failed)?;
    let carried = Arc::clone(&tunnel);
    tokio::select! {
        established = handshake(local, cluster, remote, endpoint, Some(carried)) => established,
        why = tunnel.lost() => Err(failed(TunnelError::Lost(why.to_owned()))),
    }
}

/// Dials once more what a connection leads to. From the same port a load balancer chooses the same
/// replica.
pub(crate) async fn dial_beside(
    local: &Local,
    connection: &Connection,
) -> Result<Established, DialError> {
    let endpoint = connection.endpoint.clone();
    let remote = connection.quic.remote_address();
    handshake(local, &connection.cluster, remote, endpoint, None).await
}

async fn handshake(
    local: &Local,
    cluster: &str,
    remote: SocketAddr,
    endpoint: quinn::Endpoint,
    tunnel: Option<Arc<Tunnel>>,
) -> Result<Established, DialError> {
    let transport = match tunnel {
        Some(_) => &local.tunnel_transport,
        None => &local.transport,
    };
    let (verifier, outcome) = PeerVerifier::new(
        Arc::clone(&local.trust),
        Some(cluster.to_owned()),
        Arc::clone(&local.provider),
    );
    let connecting = connect(local, &endpoint, remote, verifier, transport)?;
    let quic = match tokio::time::timeout(HANDSHAKE, connecting).await {
        Ok(Ok(quic)) => quic,
        Ok(Err(error)) => {
            return Err(match outcome.get() {
                Some(Err(error)) => DialError::Untrusted {
                    remote,
                    error: error.clone(),
                },
                Some(Ok(_)) | None => DialError::Ended {
                    remote,
                    ended: Ended::from(&error),
                },
            });
        }
        Err(_) => return Err(DialError::Timeout { remote }),
    };
    let way = (endpoint, tunnel);
    introduce(local, cluster, remote, way, quic).await
}

async fn resolve(address: &str, attempt: u32) -> Result<SocketAddr, DialError> {
    let failed = |error| DialError::Resolve {
        address: address.to_owned(),
        error,
    };
    let lookup = tokio::net::lookup_host(address);
    let resolved = tokio::time::timeout(RESOLVE, lookup)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(failed)?;
    let mut resolved: Vec<SocketAddr> = resolved.collect();
    // Servers rotate their answers; the attempts are to take every address in turn.
    resolved.sort_unstable();
    resolved.dedup();
    let turn = usize::try_from(attempt).unwrap_or(0) % resolved.len().max(1);
    let no_address = || failed(io::Error::other("the name has no address"));
    resolved.get(turn).copied().ok_or_else(no_address)
}

fn connect(
    local: &Local,
    endpoint: &quinn::Endpoint,
    remote: SocketAddr,
    verifier: Arc<PeerVerifier>,
    transport: &Arc<TransportConfig>,
) -> Result<quinn::Connecting, DialError> {
    let config = |error: ConfigError| DialError::Config { remote, error };
    let tls = tls::dialler(&local.provider, &local.identity.load(), verifier)
        .map_err(|error| config(error.into()))?;
    let mut client = ClientConfig::new(Arc::new(tls));
    client.transport_config(Arc::clone(transport));
    endpoint
        .connect_with(client, remote, tls::SERVER_NAME)
        .map_err(|error| config(error.into()))
}

async fn introduce(
    local: &Local,
    cluster: &str,
    remote: SocketAddr,
    (endpoint, tunnel): (quinn::Endpoint, Option<Arc<Tunnel>>),
    quic: quinn::Connection,
) -> Result<Established, DialError> {
    let ended = |error: &quinn::ConnectionError| DialError::Ended {
        remote,
        ended: Ended::from(error),
    };
    let (send, recv) = quic.open_bi().await.map_err(|error| ended(&error))?;
    let mut control = ControlStream::new(send, recv);
    let certified = ClusterId {
        clusterset: local.own.clusterset.clone(),
        cluster: cluster.to_owned(),
    };
    let own = local.hello();
    match hello::exchange(&own, &certified, &mut control.send, &mut control.recv).await {
        Ok(hello) => match Credentials::of(&quic, Role::Listener) {
            Some(credentials) => Ok(Established {
                quic,
                endpoint,
                tunnel,
                control,
                hello,
                credentials,
            }),
            None => Err(DialError::Untrusted {
                remote,
                error: TrustError::UnknownCluster(cluster.to_owned()),
            }),
        },
        Err(error) => {
            // If the connection is gone, its end says more than the stream's.
            if let Some(reason) = quic.close_reason() {
                return Err(ended(&reason));
            }
            let text = error.to_string();
            quic.close(VarInt::from_u32(error.close_code().code()), text.as_bytes());
            Err(DialError::Hello {
                remote,
                error: Box::new(error),
            })
        }
    }
}

// === impl DialError ===

impl DialError {
    pub(crate) fn fault(&self) -> LinkFault {
        LinkFault {
            reason: self.reason(),
            message: self.to_string(),
        }
    }

    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "Unresolvable",
            Self::Socket { .. } => "Socket",
            Self::Config { .. } => "Config",
            Self::Untrusted { error, .. } => error.reason(),
            Self::Timeout { .. } => "TimedOut",
            Self::Tunnel { error, .. } => error.reason(),
            Self::Ended { ended, .. } => ended.reason,
            Self::Hello { error, .. } => error.reason(),
        }
    }

    pub(crate) fn end(&self) -> DialEnd {
        match self {
            Self::Ended { ended, .. } if ended.turned_away() => DialEnd::TurnedAway,
            Self::Timeout { .. } => DialEnd::Unanswered,
            Self::Ended { .. }
            | Self::Resolve { .. }
            | Self::Socket { .. }
            | Self::Config { .. }
            | Self::Untrusted { .. }
            | Self::Tunnel { .. }
            | Self::Hello { .. } => DialEnd::Failed,
        }
    }
}
