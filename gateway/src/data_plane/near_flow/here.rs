//! For a UDP client for which the policy chose an endpoint of this cluster: its packets, without a
//! link.

use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::coop;
use tombolo_link::{Connect, Deliver};

use super::{BATCH, NearFlow};
use crate::data_plane::DataPlane;
use crate::data_plane::flow::{self, End, Held};
use crate::endpoints::InUse;
use crate::import_socket;
use crate::metrics::{Carrier, Direction, Flow, PeerLabels};

// === impl DataPlane ===

impl DataPlane {
    pub(super) async fn run_here(
        &self,
        flow: &NearFlow,
        connect: &Connect,
        mut waiting: mpsc::Receiver<Held>,
        (socket, in_use): (UdpSocket, InUse),
        deliver: Deliver,
    ) {
        let cluster = &*self.own_cluster;
        let sent = self.metrics.payloads_of(Flow::Sent, cluster);
        let received = self.metrics.payloads_of(Flow::Received, cluster);
        let labels = PeerLabels {
            direction: Direction::Outbound,
            cluster: cluster.to_owned(),
        };
        let _counted = self.metrics.flows.open(&labels);
        let sending = async {
            while let Some(held) = waiting.recv().await {
                match socket.send(&held.payload).await {
                    Ok(length) => sent.count(Carrier::Datagram, length),
                    Err(error) => {
                        let reason = flow::drop_reason(&error);
                        self.metrics.flows.drop_payload(Flow::Sent, reason);
                        if flow::is_final(&error) {
                            return End::EndpointGone;
                        }
                    }
                }
            }
            End::Displaced
        };
        let answers = answers(&socket, |payload| {
            received.count(Carrier::Datagram, payload.len());
            deliver(payload);
        });
        let end = tokio::select! {
            end = sending => end,
            end = answers => end,
            end = flow::idle(&flow.activity, Duration::ZERO) => end,
            () = self.has_left(connect, &socket) => End::EndpointGone,
            () = flow.displaced.notified() => End::Displaced,
        };
        flow::judge(in_use.load(), end);
        self.metrics.flows.close(Direction::Outbound, end.reason());
        tracing::trace!(
            client = %flow.key.client,
            end = end.reason(),
            "flow over, to an endpoint here"
        );
    }
}

/// Hands on what the endpoint sends until it can send no more.
async fn answers(socket: &UdpSocket, mut hand_on: impl FnMut(&[u8])) -> End {
    loop {
        if let Err(end) = flow::readable(socket).await {
            return end;
        }
        let drained = import_socket::drain(socket, BATCH, |payload| {
            hand_on(payload);
            true
        });
        if drained.is_err_and(|error| flow::is_final(&error)) {
            return End::EndpointGone;
        }
        coop::consume_budget().await;
    }
}
