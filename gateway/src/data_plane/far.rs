//! For another cluster's client: decide whether and where to, dial, and answer.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time;
use tombolo_link::{Connect, Incoming, Refusal, RefusalReason};

use super::DataPlane;
use crate::affinity::Client;
use crate::endpoints::NoEndpoint;
use crate::metrics::Direction;
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
        if connect.protocol != tombolo_link::Protocol::Tcp {
            return Err(refusal(
                RefusalReason::PortNotExported,
                "only TCP is carried",
            ));
        }
        let endpoints = self.snapshots.endpoints.load_full();
        let address = connect.source.address;
        let client = address.map(|address| Client::new(peer, address.ip()));
        let (service, protocol, port) = (&connect.service, Protocol::Tcp, connect.port);
        let picked = match &connect.endpoint {
            Some(id) => endpoints.pick_single(service, protocol, port, id),
            None => endpoints.pick(service, protocol, port, client),
        };
        let mut failure = None;
        for endpoint in picked.map_err(|error| refusal(reason(error), error))? {
            match self.dial_one(endpoint).await {
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

    async fn dial_one(&self, endpoint: SocketAddr) -> Result<TcpStream, String> {
        match time::timeout(self.limits.dial, TcpStream::connect(endpoint)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        }
    }
}

fn refusal(reason: RefusalReason, message: impl ToString) -> Refusal {
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
