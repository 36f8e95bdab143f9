//! For a client here: find the cluster, open a stream to it, and only then take the client's bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time;
use tombolo_link::{Connect, LinkStream, OpenError, Source};

use super::DataPlane;
use crate::affinity::Client;
use crate::metrics::Direction;
use crate::routes::NoRoute;
use crate::service::Protocol;
use crate::splice;

/// Why a client's connection was not opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotOpened {
    #[error(transparent)]
    NoRoute(#[from] NoRoute),
    /// What the last cluster that was asked answered.
    #[error("{cluster}: {error}")]
    Open { cluster: Arc<str>, error: OpenError },
    #[error("no answer in time")]
    Timeout,
}

// === impl NotOpened ===

impl NotOpened {
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::NoRoute(error) => error.reason(),
            Self::Open { error, .. } => error.reason(),
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
        let opened = time::timeout(self.limits.open, self.open(Protocol::Tcp, port, address)).await;
        match opened.unwrap_or(Err(NotOpened::Timeout)) {
            Ok((cluster, stream)) => {
                self.splice(Direction::Outbound, &cluster, client, stream)
                    .await;
            }
            Err(error) => {
                self.metrics.refuse(Direction::Outbound, error.reason());
                tracing::debug!(port, client = %address, %error, "refused");
            }
        }
    }

    // The link itself goes on to another connection to the same cluster if one is lost or about to
    // end; here another cluster is asked.
    pub(super) async fn open(
        &self,
        protocol: Protocol,
        port: u16,
        address: SocketAddr,
    ) -> Result<(Arc<str>, LinkStream), NotOpened> {
        let (candidates, connect) = {
            let routes = self.snapshots.routes.load();
            let route = routes.get(protocol, port)?;
            let status = self.links_status.borrow();
            let client = Client::new(&self.own_cluster, address.ip());
            let candidates = route.candidates(client, |cluster| {
                status.get(cluster).is_some_and(|peer| peer.is_connected())
            })?;
            let connect = Connect {
                service: route.import.clone(),
                protocol: protocol.on_link().ok_or(NoRoute::UnknownPort)?,
                port: route.port,
                endpoint: route.endpoint.as_deref().map(str::to_owned),
                source: self.source(address),
                path: Vec::new(),
                traceparent: String::new(),
                selector: BTreeMap::new(),
                zone: String::new(),
                affinity: None,
            };
            (candidates, connect)
        };
        let mut last = NotOpened::NoRoute(NoRoute::NotLinked);
        for cluster in candidates {
            match self.links.open(&cluster, &connect).await {
                Ok(stream) => return Ok((cluster, stream)),
                Err(error) => {
                    tracing::debug!(%cluster, %error, "not opened");
                    last = NotOpened::Open { cluster, error };
                }
            }
        }
        Err(last)
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
