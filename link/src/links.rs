//! The handle that a gateway holds.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tombolo_catalog::{Headcounts, ServiceName};
use tombolo_link_wire::Connect;

use crate::catalog::{self, CatalogSnapshot, CatalogStream};
use crate::config::{LinkConfig, PeerConfig};
use crate::counts::{Count, Counts, Event};
use crate::datagrams::Strays;
use crate::headcounts::AllHeadcounts;
use crate::identity::{IdentityError, IdentityFiles, IdentityPem};
use crate::incoming::Incoming;
use crate::listen::listen;
use crate::local::{Local, Status};
use crate::open::{OpenError, open};
use crate::peer::Peer;
use crate::refusals::RefusalLog;
use crate::status::ConnectionStats;
use crate::stream::LinkStream;
use crate::tls::{self, TlsError};
use crate::trust::{PeerVerifier, Trust};
use crate::tunnel::{self, Admission};
use crate::unreachable::Unreachable;
use crate::{socket, transport};

/// Connections that wait for the gateway to look at them; further ones are refused.
const INCOMING: usize = 1024;
/// Between two looks at the identity's files.
const IDENTITY_RELOAD: Duration = Duration::from_secs(5);
/// How long closing may take: peers that do not hear of it find out by themselves.
const CLOSE: Duration = Duration::from_secs(2);

/// All links of one gateway replica. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Links {
    local: Arc<Local>,
    address: SocketAddr,
}

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
    /// The certificate cannot be used for TLS.
    #[error("TLS: {0}")]
    Tls(String),
}

// === impl Links ===

impl Links {
    /// Starts to listen. Everything runs on the current tokio runtime, from wherever the handle is
    /// used. `catalog` is this cluster's own, `None`
    /// while it is not known completely; `siblings` is how many replicas its gateway has, 0 while
    /// unknown.
    ///
    /// # Errors
    /// When the identity cannot be read, or the port not be had.
    pub fn start(
        config: LinkConfig,
        identity: IdentityFiles,
        catalog: watch::Receiver<Option<Arc<CatalogSnapshot>>>,
        siblings: watch::Receiver<u32>,
    ) -> Result<(Self, mpsc::Receiver<Incoming>), StartError> {
        let provider = tls::provider();
        let pem = identity.read()?;
        let loaded = pem.parse(&provider)?;
        let own = loaded.id.clone();
        let trust = Arc::new(Trust::new(own.clone()));
        let transport = transport::transport(&config);
        let tunnel_transport = transport::tunnel_transport(&config);
        let listening = |error| StartError::Listen {
            address: config.listen,
            error,
        };
        let (verifier, _) = PeerVerifier::new(Arc::clone(&trust), None, Arc::clone(&provider));
        let tls = tls::listener(&provider, &loaded, verifier)
            .map_err(|error: TlsError| StartError::Tls(error.to_string()))?;
        let mut server_config = quinn::ServerConfig::with_crypto(Arc::new(tls));
        server_config
            .transport_config(Arc::clone(&transport))
            .max_incoming(config.max_handshakes);
        let strays = Arc::new(Strays::default());
        let unreachable = Unreachable::default();
        let socket = socket::listen(config.listen).map_err(listening)?;
        let server = Some(server_config.clone());
        let endpoint = transport::endpoint(&config, server, socket, &strays, &unreachable)
            .map_err(listening)?;
        let address = endpoint.local_addr().map_err(listening)?;
        let (sender, incoming) = mpsc::channel(INCOMING);
        let admission = Admission::new(config.max_handshakes);
        let local = Arc::new(Local {
            config,
            own,
            provider,
            identity: ArcSwap::from_pointee(loaded),
            trust,
            transport,
            tunnel_transport,
            endpoint,
            server_config,
            peers: RwLock::default(),
            status: watch::Sender::default(),
            incoming: sender,
            catalog,
            siblings,
            headcounts: watch::Sender::default(),
            counts: Counts::default(),
            strays,
            unreachable,
            admission,
            refusals: Mutex::new(RefusalLog::default()),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            draining: CancellationToken::new(),
            closed: CancellationToken::new(),
        });
        local.spawn(listen(Arc::clone(&local)));
        local.spawn(reload_identity(Arc::clone(&local), identity, pem));
        Ok((Self { local, address }, incoming))
    }

    /// This cluster's ID, by its certificate.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.local.own.cluster
    }

    /// This cluster's clusterset, by its certificate.
    #[must_use]
    pub fn clusterset(&self) -> &str {
        &self.local.own.clusterset
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Sets all peers. Connections of peers that are gone, or whose certificate does not chain to
    /// the present bundle, are closed; all others go on. Of two peers with one ID, the first
    /// counts; one with this cluster's own ID does not.
    pub fn set_peers(&self, configs: Vec<PeerConfig>) {
        let mut wanted: BTreeMap<String, PeerConfig> = BTreeMap::new();
        for config in configs {
            if config.cluster != self.local.own.cluster {
                wanted.entry(config.cluster.clone()).or_insert(config);
            }
        }
        let bundles = wanted
            .iter()
            .map(|(cluster, config)| (cluster.clone(), config.bundle.clone()));
        // Held over both steps: two calls at a time must not mix.
        let mut peers = self.local.peers.write();
        self.local.trust.set_peers(bundles.collect());
        peers.retain(|cluster, peer| {
            let stays = wanted.contains_key(cluster);
            if !stays {
                peer.removed.cancel();
            }
            stays
        });
        for (cluster, config) in wanted {
            match peers.get(&cluster) {
                Some(peer) => {
                    peer.set_addresses(config.addresses);
                    peer.trust_changed();
                }
                None => {
                    let peer = Peer::start(&self.local, &cluster, config.addresses);
                    peers.insert(cluster, peer);
                }
            }
        }
    }

    /// Opens a connection to a service of `cluster`: the usable connections are tried, the one
    /// with the fewest streams first, until a far gateway has `Opened` it or refused definitely.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing of the client was sent then.
    pub async fn open(&self, cluster: &str, connect: &Connect) -> Result<LinkStream, OpenError> {
        let Some(peer) = self.local.peer(cluster) else {
            return Err(OpenError::UnknownCluster(cluster.to_owned()));
        };
        open(&self.local, &peer, connect).await
    }

    /// Subscribes to the catalog of `cluster`. The stream ends at once if that is no peer.
    #[must_use]
    pub fn catalog(&self, cluster: &str) -> CatalogStream {
        catalog::subscribe(&self.local, self.local.peer(cluster))
    }

    /// Sets what the peers are told of this cluster's endpoints.
    pub fn set_headcounts(&self, headcounts: Arc<AllHeadcounts>) {
        self.local.headcounts.send_if_modified(|told| {
            let is_news = !Arc::ptr_eq(told, &headcounts);
            *told = headcounts;
            is_news
        });
    }

    /// The endpoints of a service in `cluster`, by place. `None` if it has not told, or has not
    /// been heard since.
    #[must_use]
    pub fn headcounts(&self, cluster: &str, service: &ServiceName) -> Option<Arc<Headcounts>> {
        self.local.peer(cluster)?.headcounts.get(service)
    }

    /// The shortest round-trip time to `cluster` that a ping has measured lately.
    #[must_use]
    pub fn round_trip(&self, cluster: &str) -> Option<Duration> {
        let peer = self.local.peer(cluster)?;
        let active = peer.active.borrow();
        active
            .iter()
            .filter_map(|connection| connection.round_trip())
            .min()
    }

    /// The links by cluster. It changes when connections come or go, not with every ping.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Arc<Status>> {
        self.local.status.subscribe()
    }

    /// Figures of every usable connection.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionStats> {
        let peers: Vec<_> = self.local.peers.read().values().cloned().collect();
        let connections = peers
            .iter()
            .flat_map(|peer| peer.active.borrow().iter().cloned().collect::<Vec<_>>());
        connections.map(|connection| connection.stats()).collect()
    }

    /// What happened how often.
    #[must_use]
    pub fn counts(&self) -> Vec<Count> {
        let mut counts = self.local.counts.snapshot();
        counts.extend(self.local.strays.snapshot());
        counts
    }

    /// Takes a TCP connection that came to the link's port: a peer whose UDP is blocked, a load
    /// balancer that checks whether it can connect, or a stranger. Where no link may be carried so,
    /// it is closed at once.
    pub fn accept_tcp(&self, stream: TcpStream, remote: SocketAddr) {
        let is_over = self.local.draining.is_cancelled() || self.local.closed.is_cancelled();
        if self.local.config.tcp_fallback && !is_over {
            let taken = tunnel::take(Arc::clone(&self.local), stream, remote);
            self.local.spawn(taken);
        }
    }

    /// Asks all peers to open nothing new through this replica, dials nobody and takes no new
    /// connection. Streams go on, and connections can be opened towards the peers.
    pub fn drain(&self) {
        self.local.draining.cancel();
    }

    /// Closes everything, and waits until the peers have been told.
    pub async fn close(&self) {
        let peers: Vec<_> = self.local.peers.read().values().cloned().collect();
        let mut endpoints = vec![self.local.endpoint.clone()];
        for peer in peers {
            let active = peer.active.borrow();
            endpoints.extend(active.iter().map(|connection| connection.endpoint.clone()));
        }
        self.local.draining.cancel();
        self.local.closed.cancel();
        self.local.tasks.close();
        let told = async {
            self.local.tasks.wait().await;
            for endpoint in endpoints {
                endpoint.wait_idle().await;
            }
        };
        if tokio::time::timeout(CLOSE, told).await.is_err() {
            tracing::debug!("some peers did not confirm the end of their connections");
        }
    }
}

/// Reads the identity's files again and again: Secrets change in place.
async fn reload_identity(local: Arc<Local>, files: IdentityFiles, mut current: IdentityPem) {
    loop {
        tokio::select! {
            () = local.closed.cancelled() => return,
            () = tokio::time::sleep(IDENTITY_RELOAD) => {}
        }
        let read = files.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || read.read()).await else {
            return;
        };
        let reloaded = match read {
            Ok(pem) if pem == current => continue,
            Ok(pem) => {
                let parsed = pem
                    .parse(&local.provider)
                    .and_then(|identity| identity.successor_of(&local.identity.load()));
                // Not to be tried again until it changes again; certificate and key may be swapped
                // one after the other.
                current = pem;
                parsed
            }
            Err(error) => Err(error),
        };
        match reloaded {
            Ok(identity) => {
                local.counts.add(Event::IdentityReload, "Loaded");
                tracing::info!(not_after = identity.not_after.as_secs(), "new certificate");
                local.identity.store(Arc::new(identity));
            }
            Err(error) => {
                local.counts.add(Event::IdentityReload, error.reason());
                tracing::warn!(%error, "the certificate stays as it was");
            }
        }
    }
}
