//! For another cluster's client: decide whether and where to, dial, and answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time;
use tombolo_link::{Connect, Incoming, Refusal, RefusalReason};

use super::DataPlane;
use crate::affinity::Client;
use crate::endpoints::NoEndpoint;
use crate::metrics::Direction;
use crate::proxy_protocol;
use crate::service::Protocol;
use crate::splice;

// === impl DataPlane ===

impl DataPlane {
    /// Answers what other clusters ask for, until the links are closed.
    pub async fn serve(self: Arc<Self>, mut incoming: mpsc::Receiver<Incoming>) {
        while let Some(incoming) = incoming.recv().await {
            let this = Arc::clone(&self);
            drop(
                self.tasks
                    .spawn("inbound", async move { this.answer(incoming).await }),
            );
        }
    }

    async fn answer(&self, incoming: Incoming) {
        let Incoming {
            peer,
            connect,
            responder,
            ..
        } = incoming;
        if connect.protocol == tombolo_link::Protocol::Udp {
            return self.answer_flow(&peer, &connect, responder).await;
        }
        let admission = self.admit();
        let dialled = match admission {
            Some(_) => self.dial(&peer, &connect).await,
            None => Err(refusal(RefusalReason::Overloaded, "too many connections")),
        };
        match dialled {
            Ok(endpoint) => match responder.opened().await {
                Ok(stream) => {
                    self.splice(Direction::Inbound, &peer, endpoint, stream)
                        .await
                }
                Err(error) => {
                    self.metrics.refuse(Direction::Inbound, error.reason());
                    tracing::debug!(%peer, %error, "gone before it was opened");
                }
            },
            Err(Refusal { reason, message }) => {
                self.metrics.refuse(Direction::Inbound, reason.as_str());
                tracing::debug!(
                    %peer,
                    service = %connect.service,
                    port = connect.port,
                    reason = reason.as_str(),
                    message,
                    "refused"
                );
                responder.refused(reason, &message).await;
            }
        }
    }

    async fn dial(&self, peer: &str, connect: &Connect) -> Result<TcpStream, Refusal> {
        let mut failure = None;
        for endpoint in self.pick(peer, connect, Protocol::Tcp)? {
            match self.dial_one(peer, connect, endpoint).await {
                Ok(stream) => {
                    splice::prepare(&stream);
                    return Ok(stream);
                }
                Err(error) => {
                    self.metrics.dial_failures.inc();
                    tracing::debug!(%endpoint, error, "dial failed");
                    failure = Some(error);
                }
            }
        }
        Err(refusal(
            RefusalReason::DialFailed,
            failure.unwrap_or_default(),
        ))
    }

    /// The endpoints to try, in order.
    pub(super) fn pick(
        &self,
        peer: &str,
        connect: &Connect,
        protocol: Protocol,
    ) -> Result<Vec<SocketAddr>, Refusal> {
        let address = connect.source.address;
        let client = address.map(|address| Client::new(peer, address.ip()));
        let endpoints = self.snapshots.endpoints.load();
        let (service, port) = (&connect.service, connect.port);
        let picked = match &connect.endpoint {
            Some(id) => endpoints.pick_single(service, protocol, port, id),
            None => endpoints.pick(service, protocol, port, client),
        };
        picked.map_err(|error| refusal(reason(error), error))
    }

    async fn dial_one(
        &self,
        peer: &str,
        connect: &Connect,
        endpoint: SocketAddr,
    ) -> Result<TcpStream, String> {
        let dialling = async {
            let mut stream = TcpStream::connect(endpoint).await?;
            if self.is_announced(connect) {
                let header = proxy_protocol::header(peer, connect, endpoint)?;
                stream.write_all(&header).await?;
            }
            Ok(stream)
        };
        match time::timeout(self.limits.dial, dialling).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(io::Error::to_string(&error)),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    fn is_announced(&self, connect: &Connect) -> bool {
        let endpoints = self.snapshots.endpoints.load();
        endpoints.is_announced(&connect.service)
    }
}

pub(super) fn refusal(reason: RefusalReason, message: impl ToString) -> Refusal {
    Refusal::new(reason, message.to_string())
}

fn reason(error: NoEndpoint) -> RefusalReason {
    match error {
        NoEndpoint::NotExported => RefusalReason::NotExported,
        NoEndpoint::PortNotExported => RefusalReason::PortNotExported,
        NoEndpoint::NoReadyEndpoint => RefusalReason::NoReadyEndpoint,
        NoEndpoint::EndpointRefused => RefusalReason::EndpointRefused,
    }
}
