//! What a Corefile asks for, at work: a listener for each place, routes from names to chains, and
//! the HTTP endpoints. A reload changes the routes under listeners that stay.

mod endpoints;
mod handler;
mod load;
mod routes;
mod sockets;
mod tls;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use arc_swap::ArcSwap;
use hickory_proto::rr::Name;
use parking_lot::RwLock;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tombolo_dns_corefile::plugins::{Multicluster, Reload};
use tombolo_dns_corefile::{Config, Scheme};
use tombolo_runtime::readiness::Readiness;

use crate::chain::{Chain, CoreMetrics, Loops, SetupError, Shared};
use crate::metrics::DnsMetrics;
use crate::publisher::Published;

use self::endpoints::Endpoints;
pub use self::handler::ChainHandler;
pub(crate) use self::load::Loaded;
use self::routes::Routes;
use self::sockets::{OpenError, Sockets};
use self::tls::{Identity, TlsError};

/// A place where questions come in.
type Place = (Scheme, SocketAddr);

/// Everything that a Corefile asks for.
pub(crate) struct Servers {
    path: PathBuf,
    loaded: Loaded,
    shared: Shared,
    core: CoreMetrics,
    dns: DnsMetrics,
    listening: HashMap<Place, Listening>,
    endpoints: Endpoints,
    loops: mpsc::UnboundedReceiver<Name>,
    lost: (mpsc::Sender<anyhow::Error>, mpsc::Receiver<anyhow::Error>),
}

struct Listening {
    routes: Arc<ArcSwap<Routes>>,
    address: SocketAddr,
    identity: Option<Identity>,
    _task: AbortOnDropHandle<()>,
}

/// A Corefile that was understood cannot be followed here.
#[derive(Debug, thiserror::Error)]
enum ApplyError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{0} has server blocks with different certificates")]
    Certificates(SocketAddr),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("HTTP on {0}")]
    Endpoint(SocketAddr, #[source] std::io::Error),
    #[error("the zone of the clusterset, its TTLs and servers change with a restart only")]
    Multicluster,
}

// === impl Servers ===

impl Servers {
    /// Listens wherever the Corefile says, and answers from then on.
    ///
    /// # Errors
    /// If an address cannot be had, or a file of it is missing.
    pub(crate) fn start(
        path: PathBuf,
        loaded: Loaded,
        zone: Published,
        readiness: Readiness,
        dns: DnsMetrics,
    ) -> anyhow::Result<Self> {
        let mut registry = Registry::default();
        let core = CoreMetrics::register(&mut registry);
        let (sender, loops) = Loops::new();
        let mut servers = Self {
            path,
            shared: Shared {
                zone,
                loops: sender,
            },
            core,
            dns,
            listening: HashMap::new(),
            endpoints: Endpoints::new(readiness, Arc::new(RwLock::new(registry))),
            loops,
            lost: mpsc::channel(1),
            loaded,
        };
        let config = servers.loaded.config.clone();
        servers.apply(&config)?;
        Ok(servers)
    }

    /// Where questions come in.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listening
            .values()
            .map(|listening| listening.address)
            .collect()
    }

    /// Answers, and follows changes of the Corefile, until it is dropped.
    ///
    /// # Errors
    /// If a listener is lost, or a question goes round in a loop.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        loop {
            let reload = self
                .loaded
                .config
                .servers
                .iter()
                .find_map(|server| server.plugins.reload);
            tokio::select! {
                Some(zone) = self.loops.recv() => bail!(
                    "loop detected for zone {zone}: an upstream asks this resolver again; see the \
                     plugin `loop` in docs/dns.md"
                ),
                Some(error) = self.lost.1.recv() => return Err(error),
                () = interval(reload) => self.reload().await,
            }
        }
    }

    /// Follows the Corefile if it, or what it imports, has changed. One that cannot be followed
    /// changes nothing.
    async fn reload(&mut self) {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || Loaded::read(&path)).await;
        let loaded = match read {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(error)) => return self.keep(&error),
            Err(error) => return self.keep(&error.into()),
        };
        if loaded == self.loaded {
            return;
        }
        let config = loaded.config.clone();
        if let Err(error) = self.apply(&config) {
            return self.keep(&error.into());
        }
        self.loaded = loaded;
        tracing::info!(path = %self.path.display(), "Corefile reloaded");
    }

    fn keep(&self, error: &anyhow::Error) {
        self.core.reload_failed();
        tracing::error!("the Corefile cannot be followed, the last one stays: {error:#}");
    }

    /// All or nothing: what can fail comes before what changes something.
    fn apply(&mut self, config: &Config) -> Result<(), ApplyError> {
        let zones = (multicluster(config), multicluster(&self.loaded.config));
        let is_same_zone = match zones {
            (Some(new), Some(old)) => new.is_same_zone(old),
            (new, old) => new.is_none() && old.is_none(),
        };
        if !is_same_zone {
            return Err(ApplyError::Multicluster);
        }
        let mut chains = Vec::new();
        let mut plugins = Vec::new();
        let mut routes: HashMap<Place, Routes> = HashMap::new();
        for server in &config.servers {
            let addresses = server.addresses();
            let names = server.plugins.names();
            let metrics = |(scheme, address): Place, zone: &Name| {
                self.core.chain(&label(scheme, address), zone)
            };
            let (Some(key), Some(place)) = (server.keys.first(), addresses.first()) else {
                continue;
            };
            let own = metrics(*place, &key.zone);
            let chain = Chain::new(&server.plugins, &key.zone, self.shared.clone(), own)?;
            for key in &server.keys {
                let places = addresses.iter().filter(|(scheme, address)| {
                    *scheme == key.scheme && address.port() == key.port
                });
                for place in places {
                    let metrics = metrics(*place, &key.zone);
                    plugins.push((metrics.clone(), names.clone()));
                    let of_place = routes.entry(*place).or_default();
                    of_place.add(key.zone.clone(), Arc::clone(&chain), metrics);
                }
            }
            chains.push(chain);
        }
        let identities = identities(config)?;
        let mut opened = HashMap::new();
        for place in routes.keys() {
            let identity = identities.get(place);
            let stays = |listening: &Listening| listening.identity.as_ref() == identity;
            if !self.listening.get(place).is_some_and(stays) {
                let routes = Arc::new(ArcSwap::from_pointee(Routes::default()));
                let handler = ChainHandler::new(Arc::clone(&routes), self.dns.clone());
                let sockets = Sockets::open(*place, identity, &handler)?;
                opened.insert(*place, (sockets, handler, routes));
            }
        }
        self.endpoints.apply(config)?;

        self.listening.retain(|place, _| routes.contains_key(place));
        for (place, (sockets, handler, routes)) in opened {
            let listening = Listening {
                routes,
                address: sockets.address(),
                identity: identities.get(&place).cloned(),
                _task: self.serve(sockets, handler),
            };
            // In the place of one with another certificate, whose connections end.
            self.listening.insert(place, listening);
        }
        for (place, routes) in routes {
            if let Some(listening) = self.listening.get(&place) {
                listening.routes.store(Arc::new(routes));
            }
        }
        self.core.enabled(&plugins);
        for chain in chains {
            drop(tokio::spawn(async move { chain.detect_loop().await }));
        }
        Ok(())
    }

    fn serve(&self, sockets: Sockets, handler: ChainHandler) -> AbortOnDropHandle<()> {
        let address = sockets.address();
        let lost = self.lost.0.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let ended = sockets.serve(handler).await.err();
            let error = ended.unwrap_or_else(|| anyhow::anyhow!("the server of {address} ended"));
            // Full if another was lost before, which is as bad.
            drop(lost.try_send(error));
        }))
    }
}

/// What the zone of the clusterset is told, wherever it is answered.
pub(crate) fn multicluster(config: &Config) -> Option<&Multicluster> {
    config
        .servers
        .iter()
        .find_map(|server| server.plugins.multicluster.as_ref())
}

/// What is shown at each place that is not plain DNS.
fn identities(config: &Config) -> Result<HashMap<Place, Identity>, ApplyError> {
    let mut identities: HashMap<Place, Identity> = HashMap::new();
    for server in &config.servers {
        let Some(tls) = &server.plugins.tls else {
            continue;
        };
        let encrypted = server
            .addresses()
            .into_iter()
            .filter(|(scheme, _)| *scheme != Scheme::Dns);
        for place in encrypted {
            let identity = Identity::read(tls)?;
            let there = identities.entry(place).or_insert_with(|| identity.clone());
            if *there != identity {
                return Err(ApplyError::Certificates(place.1));
            }
        }
    }
    Ok(identities)
}

/// As CoreDNS names a server in its metrics.
fn label(scheme: Scheme, address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("{scheme}://:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    }
}

/// Until it is time to look for a change; for ever if nobody asks for that.
async fn interval(reload: Option<Reload>) {
    let Some(Reload { interval, jitter }) = reload else {
        return std::future::pending().await;
    };
    let spread = rand::random_range(0.0..=2.0);
    sleep((interval - jitter) + jitter.mul_f64(spread)).await;
}
