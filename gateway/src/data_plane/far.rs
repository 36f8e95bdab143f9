//! For another cluster's client: connect it to an endpoint, and answer.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tombolo_link::{Incoming, Refusal, RefusalReason};

use super::DataPlane;
use super::dial::refusal;
use crate::metrics::Direction;

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
            return Box::pin(self.answer_flow(&peer, &connect, responder)).await;
        }
        let admission = self.admit();
        let dialled = match admission {
            // What it takes to dial is let go before the connection is carried.
            Some(_) => Box::pin(self.dial::<TcpStream>(&peer, &connect)).await,
            None => Err(refusal(RefusalReason::Overloaded, "too many connections")),
        };
        match dialled {
            Ok((endpoint, _in_use)) => match responder.opened().await {
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
}
