//! The handle that a gateway holds.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tombolo_link_wire::{Connect, DecodeError, Refusal, RefusalReason};

use crate::catalog::{CatalogSnapshot, CatalogStream};
use crate::config::{LinkConfig, PeerConfig};
use crate::counts::Count;
use crate::identity::{IdentityError, IdentityFiles};
use crate::status::{ConnectionStats, PeerLink};
use crate::stream::{LinkStream, StreamError};

/// All links of one gateway replica. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Links {}

/// Why links cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no usable certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The UDP port cannot be had.
    #[error("UDP {address}: {error}")]
    Listen {
        /// The address to listen on.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
}

/// Why a connection was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no such peer.
    #[error("{0} is no peer")]
    UnknownCluster(String),
    /// No connection to the peer is usable.
    #[error("not connected to {0}")]
    NotConnected(String),
    /// The preface breaks a rule.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// The far gateway refused, and another replica would too; or all did.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Every connection was lost, or did not answer in time.
    #[error("no answer: {0}")]
    Lost(String),
}

/// A peer's wish to connect a client to a service of this cluster.
#[derive(Debug)]
pub struct Incoming {
    /// The peer's cluster, by its certificate.
    pub peer: Arc<str>,
    /// The peer's replica.
    pub replica: Arc<str>,
    /// What it wants.
    pub connect: Box<Connect>,
    /// Takes the answer.
    pub responder: Responder,
}

/// Takes the answer to an [`Incoming`]. Dropped without one, the stream is reset.
#[derive(Debug)]
pub struct Responder {
    stream: LinkStream,
}

// === impl Links ===

impl Links {
    /// Starts to listen, within the current tokio runtime.
    ///
    /// # Errors
    /// When the identity cannot be read, or the port not be had.
    pub fn start(
        config: LinkConfig,
        identity: IdentityFiles,
        catalog: watch::Receiver<Option<Arc<CatalogSnapshot>>>,
        siblings: watch::Receiver<u32>,
    ) -> Result<(Self, mpsc::Receiver<Incoming>), StartError> {
        let _ = (config, identity, catalog, siblings);
        todo!()
    }

    /// This cluster's ID, by its certificate.
    #[must_use]
    pub fn cluster(&self) -> &str {
        todo!()
    }

    /// This cluster's clusterset, by its certificate.
    #[must_use]
    pub fn clusterset(&self) -> &str {
        todo!()
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        todo!()
    }

    /// Sets all peers. Connections of peers that are gone, or whose certificate does not chain to
    /// the present bundle, are closed.
    pub fn set_peers(&self, peers: Vec<PeerConfig>) {
        let _ = peers;
        todo!()
    }

    /// Opens a connection to a service of `cluster`.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing of the client was sent then.
    pub async fn open(&self, cluster: &str, connect: &Connect) -> Result<LinkStream, OpenError> {
        let _ = (cluster, connect, std::future::ready(()).await);
        todo!()
    }

    /// Subscribes to the catalog of `cluster`.
    #[must_use]
    pub fn catalog(&self, cluster: &str) -> CatalogStream {
        let _ = cluster;
        todo!()
    }

    /// The links by cluster.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Arc<BTreeMap<String, PeerLink>>> {
        todo!()
    }

    /// Figures of every connection.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionStats> {
        todo!()
    }

    /// What happened how often.
    #[must_use]
    pub fn counts(&self) -> Vec<Count> {
        todo!()
    }

    /// Asks all peers to open nothing new through this replica, and takes no new connection.
    pub fn drain(&self) {
        todo!()
    }

    /// Closes everything.
    pub async fn close(&self) {
        std::future::ready(()).await;
        todo!()
    }
}

// === impl OpenError ===

impl OpenError {
    /// A stable word for it, for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownCluster(_) => "UnknownCluster",
            Self::NotConnected(_) => "NotConnected",
            Self::Malformed(_) => "Malformed",
            Self::Refused(refusal) => refusal.reason.as_str(),
            Self::Lost(_) => "Lost",
        }
    }
}

// === impl Responder ===

impl Responder {
    /// The server accepted.
    ///
    /// # Errors
    /// When the peer went away meanwhile.
    pub async fn opened(self) -> Result<LinkStream, StreamError> {
        std::future::ready(()).await;
        Ok(self.stream)
    }

    /// The connection is refused; `message` is for people.
    pub async fn refused(self, reason: RefusalReason, message: &str) {
        let _ = (reason, message, std::future::ready(()).await);
    }
}
