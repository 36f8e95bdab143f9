//! For a UDP client here: a flow to the cluster that serves it, and its packets.
//!
//! Packets of a flow that is being opened wait: UDP clients repeat themselves after a second or
//! later, which is what a dropped first packet would cost each of them.

mod here;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc};
use tokio::task::coop;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tombolo_link::{Deliver, LinkFlow, LinkStream};

use super::DataPlane;
use super::flow::{self, End, Held, Outward};
use super::near::{Opened, Way};
use crate::flows::{Activity, FlowKey};
use crate::import_socket::{ImportSocket, Sender};
use crate::metrics::{Carrier, DataPlaneMetrics, Direction, Flow, PeerLabels};

/// Packets that are read between two looks at whether the port is still wanted.
const BATCH: usize = 32;
/// Packets of one flow that may wait: a burst of a QUIC client whose packets fit into no datagram.
const HELD: usize = 128;
/// How long packets of a flow that was refused are dropped before it is tried again.
const REFUSED: Duration = Duration::from_millis(200);
/// Reading fails for want of memory, which some end of something will give back.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// A client's flow.
#[derive(Debug)]
pub(super) struct NearFlow {
    key: FlowKey,
    activity: Arc<Activity>,
    /// Set once the flow is open, unless its endpoint is one of this cluster.
    outward: OnceLock<Outward>,
    /// What waits for that, or for the flow's stream.
    held: mpsc::Sender<Held>,
    displaced: Notify,
}

/// Where a flow's replies go.
struct Client {
    socket: Arc<ImportSocket>,
    sender: Sender,
}

// === impl Client ===

impl Client {
    /// Sends the replies to it.
    fn deliver(self, activity: &Arc<Activity>, metrics: &DataPlaneMetrics) -> Deliver {
        let (activity, metrics) = (Arc::clone(activity), metrics.clone());
        Arc::new(move |payload| {
            activity.handle_reply(Instant::now());
            if let Err(error) = self.socket.send(&self.sender, payload) {
                let reason = flow::drop_reason(&error);
                metrics.flows.drop_payload(Flow::Received, reason);
            }
        })
    }
}

// === impl DataPlane ===

impl DataPlane {
    /// Serves the clients of an import's UDP port until it is told to stop.
    pub fn receive(self: &Arc<Self>, port: u16, socket: ImportSocket, stop: CancellationToken) {
        let this = Arc::clone(self);
        let serving = async move { this.receive_until(port, socket, stop).await };
        drop(self.tasks.spawn_service("udp-listener", serving));
    }

    async fn receive_until(
        self: Arc<Self>,
        port: u16,
        socket: ImportSocket,
        stop: CancellationToken,
    ) {
        let socket = Arc::new(socket);
        loop {
            let received = socket.receive(BATCH, |sender, payload| {
                self.carry_packet(port, &socket, sender, payload);
            });
            match stop.run_until_cancelled(received).await {
                None => break,
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::debug!(port, %error, "cannot receive");
                    time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
            // A port that is flooded is always ready.
            coop::consume_budget().await;
        }
        for flow in self.near_flows.lock().remove_port(port) {
            flow.displaced.notify_one();
        }
    }

    fn carry_packet(
        self: &Arc<Self>,
        port: u16,
        socket: &Arc<ImportSocket>,
        sender: &Sender,
        payload: &[u8],
    ) {
        let key = FlowKey {
            port,
            client: sender.client(),
        };
        let found = self.near_flows.lock().get(&key).cloned();
        let flow = found.unwrap_or_else(|| self.begin(key, socket, sender));
        flow.activity.handle_request(Instant::now());
        let held = match flow.outward.get() {
            Some(outward) => match outward.send(payload) {
                Some(held) => held,
                None => return,
            },
            None => match self.room.hold(payload) {
                Some(held) => held,
                None => return self.metrics.flows.drop_payload(Flow::Sent, "NoRoom"),
            },
        };
        if let Err(error) = flow.held.try_send(held) {
            let reason = match error {
                mpsc::error::TrySendError::Full(_) => "QueueFull",
                mpsc::error::TrySendError::Closed(_) => "Closed",
            };
            self.metrics.flows.drop_payload(Flow::Sent, reason);
        }
    }

    fn begin(
        self: &Arc<Self>,
        key: FlowKey,
        socket: &Arc<ImportSocket>,
        sender: &Sender,
    ) -> Arc<NearFlow> {
        let activity = Activity::new(Instant::now());
        let (held, waiting) = mpsc::channel(HELD);
        let flow = Arc::new(NearFlow {
            key,
            activity: Arc::clone(&activity),
            outward: OnceLock::new(),
            held,
            displaced: Notify::new(),
        });
        let displaced = self
            .near_flows
            .lock()
            .insert(key, Arc::clone(&flow), activity);
        if let Some(displaced) = displaced {
            displaced.displaced.notify_one();
        }
        let this = Arc::clone(self);
        let begun = Arc::clone(&flow);
        let client = Client {
            socket: Arc::clone(socket),
            sender: sender.clone(),
        };
        drop(self.tasks.spawn("flow", async move {
            this.run_flow(&begun, waiting, client).await;
            this.near_flows.lock().remove(&key, &begun);
        }));
        flow
    }

    async fn run_flow(&self, flow: &NearFlow, mut waiting: mpsc::Receiver<Held>, client: Client) {
        let FlowKey {
            port,
            client: address,
        } = flow.key;
        let opening = self.open::<UdpSocket>(port, address);
        let opening = time::timeout(self.limits.open, opening);
        let opened = tokio::select! {
            opened = opening => opened,
            () = flow.displaced.notified() => {
                return self.refuse_flow(address, &"another flow has its place", "Displaced");
            }
        };
        match opened {
            Ok(Ok(Opened {
                way,
                connect,
                permit: _permit,
            })) => {
                let deliver = client.deliver(&flow.activity, &self.metrics);
                match way {
                    Way::Peer(cluster, stream) => {
                        self.run_open(flow, waiting, (&cluster, stream), deliver)
                            .await;
                    }
                    Way::Here(socket, in_use) => {
                        self.run_here(flow, &connect, waiting, (socket, in_use), deliver)
                            .await;
                    }
                }
            }
            Ok(Err(error)) => {
                self.refuse_flow(address, &error, error.reason());
                waiting.close();
                while waiting.try_recv().is_ok() {
                    self.metrics.flows.drop_payload(Flow::Sent, "Refused");
                }
                let _ = time::timeout(REFUSED, flow.displaced.notified()).await;
            }
            Err(_) => self.refuse_flow(address, &"no answer in time", "Timeout"),
        }
    }

    fn refuse_flow(&self, client: SocketAddr, error: &dyn std::fmt::Display, reason: &'static str) {
        self.metrics.flows.refuse(Direction::Outbound, reason);
        tracing::debug!(%client, %error, "flow refused");
    }

    async fn run_open(
        &self,
        flow: &NearFlow,
        mut waiting: mpsc::Receiver<Held>,
        (cluster, stream): (&str, LinkStream),
        deliver: Deliver,
    ) {
        let received = self.metrics.payloads_of(Flow::Received, cluster);
        let LinkFlow {
            sender,
            mut writer,
            mut reader,
            ..
        } = {
            let (deliver, received) = (Arc::clone(&deliver), received.clone());
            stream.into_flow(Arc::new(move |payload: &[u8]| {
                received.count(Carrier::Datagram, payload.len());
                deliver(payload);
            }))
        };
        let outward = Outward {
            sender,
            sent: self.metrics.payloads_of(Flow::Sent, cluster),
            metrics: self.metrics.clone(),
            room: self.room.clone(),
        };
        let labels = PeerLabels {
            direction: Direction::Outbound,
            cluster: cluster.to_owned(),
        };
        let _counted = self.metrics.flows.open(&labels);
        let sending = async {
            // What waited goes first.
            while let Ok(held) = waiting.try_recv() {
                if let Err(end) = send_or_write(&outward, &mut writer, held).await {
                    return end;
                }
            }
            // Only this task sets it.
            let _ = flow.outward.set(outward.clone());
            while let Some(held) = waiting.recv().await {
                if let Err(end) = send_or_write(&outward, &mut writer, held).await {
                    return end;
                }
            }
            End::Displaced
        };
        let end = tokio::select! {
            end = sending => end,
            end = flow::inward(&mut reader, &deliver, &received) => end,
            end = flow::idle(&flow.activity, Duration::ZERO) => end,
            () = flow.displaced.notified() => End::Displaced,
        };
        writer.reset(end.code());
        reader.stop(end.code());
        self.metrics.flows.close(Direction::Outbound, end.reason());
        tracing::trace!(client = %flow.key.client, cluster, end = end.reason(), "flow over");
    }
}

async fn send_or_write(
    outward: &Outward,
    writer: &mut tombolo_link::FlowWriter,
    held: Held,
) -> Result<(), End> {
    match outward.send_held(held) {
        Some(held) => outward.write(writer, held).await,
        None => Ok(()),
    }
}
