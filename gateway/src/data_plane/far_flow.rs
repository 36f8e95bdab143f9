//! For a UDP client of another cluster: a socket of its own to an endpoint.
//!
//! Nobody answers a UDP dial. So a flow is opened once an endpoint was picked, and over when the
//! endpoint leaves the service, or its host says that nobody listens there; the client's next packet
//! begins another flow, which gets another endpoint if there is one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::coop;
use tombolo_link::{Connect, Deliver, FlowWriter, LinkFlow, Refusal, RefusalReason, Responder};

use super::DataPlane;
use super::dial::refusal;
use super::flow::{self, End, Outward};
use crate::endpoints::InUse;
use crate::flows::Activity;
use crate::import_socket;
use crate::metrics::{Carrier, Direction, Flow, PeerLabels};

/// Packets that are read before others have their turn.
const BATCH: usize = 32;
/// The side of the client is to notice first that a flow is idle.
const LATER: Duration = Duration::from_secs(10);

// === impl DataPlane ===

impl DataPlane {
    pub(super) async fn answer_flow(&self, peer: &str, connect: &Connect, responder: Responder) {
        let Some(_admission) = self.admit() else {
            let refusal = refusal(RefusalReason::Overloaded, "too many connections");
            return self.refuse_flow_of(peer, connect, responder, refusal).await;
        };
        match self.dial(peer, connect).await {
            Ok(dialled) => self.run_flow_of(peer, connect, responder, dialled).await,
            Err(refusal) => {
                self.refuse_flow_of(peer, connect, responder, refusal).await;
            }
        }
    }

    async fn refuse_flow_of(
        &self,
        peer: &str,
        connect: &Connect,
        responder: Responder,
        Refusal { reason, message }: Refusal,
    ) {
        self.metrics
            .flows
            .refuse(Direction::Inbound, reason.as_str());
        tracing::debug!(
            peer,
            service = %connect.service,
            port = connect.port,
            reason = reason.as_str(),
            message,
            "flow refused"
        );
        responder.refused(reason, &message).await;
    }

    async fn run_flow_of(
        &self,
        peer: &str,
        connect: &Connect,
        responder: Responder,
        (socket, in_use): (UdpSocket, InUse),
    ) {
        let socket = Arc::new(socket);
        let activity = Activity::new(Instant::now());
        let gone = Arc::new(Notify::new());
        let received = self.metrics.payloads_of(Flow::Received, peer);
        let deliver: Deliver = {
            let (socket, activity) = (Arc::clone(&socket), Arc::clone(&activity));
            let (metrics, gone) = (self.metrics.clone(), Arc::clone(&gone));
            Arc::new(move |payload| {
                activity.handle_request(Instant::now());
                if let Err(error) = SockRef::from(&*socket).send(payload) {
                    let reason = flow::drop_reason(&error);
                    metrics.flows.drop_payload(Flow::Received, reason);
                    if flow::is_final(&error) {
                        gone.notify_one();
                    }
                }
            })
        };
        let opened = {
            let (deliver, received) = (Arc::clone(&deliver), received.clone());
            responder.opened_flow(Arc::new(move |payload: &[u8]| {
                received.count(Carrier::Datagram, payload.len());
                deliver(payload);
            }))
        };
        let LinkFlow {
            sender,
            mut writer,
            mut reader,
            ..
        } = match opened.await {
            Ok(flow) => flow,
            Err(error) => {
                self.metrics
                    .flows
                    .refuse(Direction::Inbound, error.reason());
                tracing::debug!(peer, %error, "gone before it was opened");
                return;
            }
        };
        let outward = Outward {
            sender,
            sent: self.metrics.payloads_of(Flow::Sent, peer),
            metrics: self.metrics.clone(),
            room: self.room.clone(),
        };
        let labels = PeerLabels {
            direction: Direction::Inbound,
            cluster: peer.to_owned(),
        };
        let _counted = self.metrics.flows.open(&labels);
        let end = tokio::select! {
            end = answers(&socket, &activity, &outward, &mut writer) => end,
            end = flow::inward(&mut reader, &deliver, &received) => end,
            end = flow::idle(&activity, LATER) => end,
            () = gone.notified() => End::EndpointGone,
            () = self.has_left(connect, &socket) => End::EndpointGone,
        };
        flow::judge(in_use.load(), end);
        writer.reset(end.code());
        reader.stop(end.code());
        self.metrics.flows.close(Direction::Inbound, end.reason());
        tracing::trace!(peer, end = end.reason(), "flow over");
    }
}

/// Carries what the endpoint sends until it can send no more.
async fn answers(
    socket: &UdpSocket,
    activity: &Activity,
    outward: &Outward,
    writer: &mut FlowWriter,
) -> End {
    loop {
        if let Err(end) = flow::readable(socket).await {
            return end;
        }
        let mut too_large = None;
        let drained = import_socket::drain(socket, BATCH, |payload| {
            activity.handle_reply(Instant::now());
            too_large = outward.send(payload);
            too_large.is_none()
        });
        if let Some(held) = too_large
            && let Err(end) = outward.write(writer, held).await
        {
            return end;
        }
        if drained.is_err_and(|error| flow::is_final(&error)) {
            return End::EndpointGone;
        }
        coop::consume_budget().await;
    }
}
