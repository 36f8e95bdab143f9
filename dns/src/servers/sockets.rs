//! Where questions come in, of each kind, and the task that answers them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use hickory_server::server::Server;
use tokio::net::UdpSocket;
use tombolo_dns_corefile::Scheme;

use crate::listeners::{BindError, Listeners, every_family, tcp_beside, udp};

use super::handler::ChainHandler;
use super::tls::{Identity, TlsError};

/// Of a handshake, and of a connection on which nothing is asked.
const TIMEOUT: Duration = Duration::from_secs(10);
/// RFC 8484's example, and what every client has as its default.
const HTTP_PATH: &str = "/dns-query";

/// Bound sockets of one place.
pub(super) enum Sockets {
    Plain(Listeners),
    Encrypted(SocketAddr, Server<ChainHandler>),
}

/// A place cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("cannot listen on {0}")]
    Encrypted(SocketAddr, #[source] io::Error),
    #[error("TLS of {0}")]
    Tls(SocketAddr, #[source] TlsError),
}

// === impl Sockets ===

impl Sockets {
    /// Listens at a place; with an `identity` if that is not plain DNS.
    pub(super) fn open(
        (scheme, address): (Scheme, SocketAddr),
        identity: Option<&Identity>,
        handler: &ChainHandler,
    ) -> Result<Self, OpenError> {
        let Some(identity) = identity else {
            return Ok(Self::Plain(Listeners::bind_beside(address)?));
        };
        let failed = |error| OpenError::Encrypted(address, error);
        let config = identity
            .config(scheme)
            .map_err(|error| OpenError::Tls(address, error))?;
        let mut server = Server::new(handler.clone());
        let listening = if scheme == Scheme::Quic {
            // The kernel keeps a client at one of the sockets, and so a QUIC connection whole.
            let socket = every_family(address, udp).map_err(failed)?;
            let socket = UdpSocket::from_std(socket).map_err(failed)?;
            let listening = socket.local_addr();
            let registered = server.register_quic_listener_and_tls_config(socket, TIMEOUT, config);
            registered.map_err(|error| failed(io::Error::other(error)))?;
            listening
        } else {
            let listener = every_family(address, tcp_beside).map_err(failed)?;
            let listening = listener.local_addr();
            let registered = if scheme == Scheme::Https {
                let path = HTTP_PATH.to_owned();
                server
                    .register_https_listener_with_tls_config(listener, TIMEOUT, config, None, path)
            } else {
                server.register_tls_listener_with_tls_config(listener, TIMEOUT, config)
            };
            registered.map_err(failed)?;
            listening
        };
        Ok(Self::Encrypted(listening.map_err(failed)?, server))
    }

    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Plain(listeners) => listeners.address(),
            Self::Encrypted(address, _) => *address,
        }
    }

    /// Answers until it is dropped.
    pub(super) async fn serve(self, handler: ChainHandler) -> anyhow::Result<()> {
        match self {
            Self::Plain(listeners) => listeners.serve(handler).await,
            Self::Encrypted(address, mut server) => server
                .block_until_done()
                .await
                .with_context(|| format!("server of {address}")),
        }
    }
}
