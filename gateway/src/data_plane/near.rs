//! For a client here: find the cluster, open a stream to it, and only then take the client's bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time;
use tombolo_link::{Connect, LinkStream, OpenError, Refusal, Source};

use super::DataPlane;
use super::attempts::selector;
use super::dial::Endpoint;
use crate::choice::Attempt;
use crate::endpoints::InUse;
use crate::limiter::{Limited, Permit};
use crate::metrics::Direction;
use crate::routes::NoRoute;
use crate::splice;

/// Why a client's connection was not opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotOpened {
    #[error(transparent)]
    NoRoute(#[from] NoRoute),
    /// What the last cluster that was asked answered.
    #[error("{cluster}: {error}")]
    Open { cluster: Arc<str>, error: OpenError },
    /// No endpoint of this cluster took it.
    #[error("here: {0}")]
    Here(#[from] Refusal),
    #[error(transparent)]
    Limited(#[from] Limited),
    #[error("no answer in time")]
    Timeout,
}

/// How a connection, or a flow, goes on.
pub(super) enum Way<E> {
    /// Through a stream to another cluster.
    Peer(Arc<str>, LinkStream),
    /// Straight to an endpoint of this one.
    Here(E, InUse),
}

/// A connection, or a flow, that was opened for a client here.
pub(super) struct Opened<E> {
    pub(super) way: Way<E>,
    /// What was asked for.
    pub(super) connect: Connect,
    /// To be held for as long as it is open.
    pub(super) permit: Option<Permit>,
}

// === impl NotOpened ===

impl NotOpened {
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::NoRoute(error) => error.reason(),
            Self::Open { error, .. } => error.reason(),
            Self::Here(refusal) => refusal.reason.as_str(),
            Self::Limited(limited) => limited.reason(),
            Self::Timeout => "Timeout",
        }
    }
}

// === impl DataPlane ===

impl DataPlane {
    /// Carries a client that was accepted on an import's port.
    pub fn accept(self: &Arc<Self>, port: u16, client: TcpStream, address: SocketAddr) {
        let this = Arc::clone(self);
        drop(self.tasks.spawn("outbound", async move {
            this.carry(port, client, address).await
        }));
    }

    async fn carry(&self, port: u16, client: TcpStream, address: SocketAddr) {
        splice::prepare(&client);
        let Some(_admission) = self.admit() else {
            self.metrics.refuse(Direction::Outbound, "Overloaded");
            return;
        };
        // What it takes to open a connection is let go before the connection is carried.
        let opening = Box::pin(self.open::<TcpStream>(port, address));
        let opened = time::timeout(self.limits.open, opening).await;
        match opened.unwrap_or(Err(NotOpened::Timeout)) {
            Ok(Opened {
                way,
                permit: _permit,
                ..
            }) => match way {
                Way::Peer(cluster, stream) => {
                    self.splice(Direction::Outbound, &cluster, client, stream)
                        .await;
                }
                Way::Here(endpoint, _in_use) => self.splice_here(client, endpoint).await,
            },
            Err(error) => {
                self.metrics.refuse(Direction::Outbound, error.reason());
                tracing::debug!(port, client = %address, %error, "refused");
            }
        }
    }

    // The link itself goes on to another connection to the same cluster if one is lost or about to
    // end; here another cluster, or other pods, are asked. No byte of the client has been read yet.
    pub(super) async fn open<E: Endpoint>(
        &self,
        port: u16,
        address: SocketAddr,
    ) -> Result<Opened<E>, NotOpened> {
        let (attempts, rules, mut connect) = {
            let routes = self.snapshots.routes.load();
            let route = routes.get(E::PROTOCOL, port)?;
            // A single endpoint is where it is: there is nothing to choose.
            let rules = match &route.endpoint {
                Some(_) => Arc::default(),
                None => Arc::clone(self.snapshots.rules.load().of(&route.import)),
            };
            let connect = Connect {
                service: route.import.clone(),
                protocol: E::PROTOCOL.on_link().ok_or(NoRoute::UnknownPort)?,
                port: route.port,
                endpoint: route.endpoint.as_deref().map(str::to_owned),
                source: self.source(address),
                path: Vec::new(),
                traceparent: String::new(),
                selector: BTreeMap::new(),
                zone: String::new(),
                affinity: rules.affinity,
            };
            let attempts = self.attempts(E::PROTOCOL, route, &rules, address)?;
            (attempts, rules, connect)
        };
        let permit = self.admit_to(&connect.service, &rules)?;
        let limit = rules.connect_timeout.unwrap_or(self.limits.open);
        let mut last = NotOpened::NoRoute(NoRoute::NotLinked);
        for attempt in attempts {
            connect.selector = selector(&rules, &attempt);
            connect.zone = attempt.zone.to_string();
            let opened = time::timeout(limit, self.attempt(&attempt, &connect)).await;
            match opened.unwrap_or(Err(NotOpened::Timeout)) {
                Ok(way) => {
                    return Ok(Opened {
                        way,
                        connect,
                        permit,
                    });
                }
                Err(error) => {
                    tracing::debug!(cluster = %attempt.cluster, %error, "not opened");
                    last = error;
                }
            }
        }
        Err(last)
    }

    async fn attempt<E: Endpoint>(
        &self,
        attempt: &Attempt,
        connect: &Connect,
    ) -> Result<Way<E>, NotOpened> {
        if !attempt.own {
            let opened = self.links.open(&attempt.cluster, connect).await;
            let cluster = Arc::clone(&attempt.cluster);
            return match opened {
                Ok(stream) => Ok(Way::Peer(cluster, stream)),
                Err(error) => Err(NotOpened::Open { cluster, error }),
            };
        }
        let (endpoint, in_use) = self.dial(&self.own_cluster, connect).await?;
        Ok(Way::Here(endpoint, in_use))
    }

    // A client that is no certain pod has an address all the same, and affinity goes by it.
    fn source(&self, address: SocketAddr) -> Source {
        let source = Source {
            cluster: self.own_cluster.to_string(),
            address: Some(address),
            ..Source::default()
        };
        let endpoints = self.snapshots.endpoints.load();
        match endpoints.pods().source(address.ip()) {
            None => source,
            Some(pod) => Source {
                namespace: pod.namespace.clone(),
                pod: pod.name.clone(),
                service_account: pod.service_account.clone(),
                ..source
            },
        }
    }
}
