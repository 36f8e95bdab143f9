//! What both sides of a UDP flow do alike.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time;
use tombolo_link::{
    Deliver, FlowError, FlowReader, FlowSender, FlowWriter, NotSent, StreamCode, StreamError,
};

use crate::endpoints::Load;
use crate::flows::Activity;
use crate::metrics::{Carrier, DataPlaneMetrics, Flow, PayloadCounters};

/// What payloads that wait may take in all, in bytes: those of flows that are being opened, and
/// those that wait for a stream.
const ROOM: usize = 32 << 20;

/// How a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The other gateway ended it.
    Finished,
    /// Nothing was seen of it for its time-out.
    Idle,
    /// Another flow had to have its place, or its port is closed.
    Displaced,
    /// The endpoint takes no packets.
    EndpointGone,
    /// The other gateway sent what is no payload, or stopped reading.
    PeerReset,
    /// The link was lost.
    LinkLost,
}

/// The room for payloads that wait.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Semaphore>);

/// A payload that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) payload: Bytes,
    _room: OwnedSemaphorePermit,
}

/// The way of a flow's payloads to the other cluster.
#[derive(Clone, Debug)]
pub(super) struct Outward {
    pub(super) sender: FlowSender,
    pub(super) sent: PayloadCounters,
    pub(super) metrics: DataPlaneMetrics,
    pub(super) room: Room,
}

// === impl End ===

impl End {
    /// Label for metrics.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Finished => "Finished",
            Self::Idle => "Idle",
            Self::Displaced => "Displaced",
            Self::EndpointGone => "EndpointGone",
            Self::PeerReset => "PeerReset",
            Self::LinkLost => "LinkLost",
        }
    }

    /// What the other gateway is told.
    pub(super) fn code(self) -> StreamCode {
        match self {
            Self::Finished | Self::Idle | Self::Displaced | Self::LinkLost => StreamCode::FlowOver,
            Self::EndpointGone => StreamCode::EndpointGone,
            Self::PeerReset => StreamCode::Malformed,
        }
    }
}

impl From<StreamError> for End {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Reset(StreamCode::FlowOver)
            | StreamError::Stopped(StreamCode::FlowOver) => Self::Finished,
            StreamError::Reset(StreamCode::EndpointGone)
            | StreamError::Stopped(StreamCode::EndpointGone) => Self::EndpointGone,
            StreamError::Reset(_) | StreamError::Stopped(_) => Self::PeerReset,
            StreamError::Lost(_) | StreamError::Closed => Self::LinkLost,
        }
    }
}

impl From<FlowError> for End {
    fn from(error: FlowError) -> Self {
        match error {
            FlowError::Stream(error) => error.into(),
            FlowError::Malformed(_) => Self::PeerReset,
        }
    }
}

// === impl Room ===

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(ROOM)))
    }

    /// Keeps a payload, if there is room for it.
    pub(super) fn hold(&self, payload: &[u8]) -> Option<Held> {
        // An empty one takes room too.
        let taken = u32::try_from(payload.len() + size_of::<Held>()).ok()?;
        let room = Arc::clone(&self.0).try_acquire_many_owned(taken).ok()?;
        Some(Held {
            payload: Bytes::copy_from_slice(payload),
            _room: room,
        })
    }
}

// === impl Outward ===

impl Outward {
    /// Sends a payload as a datagram, or gives it back if it fits into none.
    pub(super) fn send(&self, payload: &[u8]) -> Option<Held> {
        match self.sender.send(payload) {
            Ok(()) => self.sent.count(Carrier::Datagram, payload.len()),
            Err(NotSent::TooLarge) => {
                let held = self.room.hold(payload);
                if held.is_none() {
                    self.drop_payload("NoRoom");
                }
                return held;
            }
            Err(error @ (NotSent::QueueFull | NotSent::Lost)) => self.drop_payload(error.reason()),
        }
        None
    }

    /// As [`send`](Self::send), of a payload that is held already.
    pub(super) fn send_held(&self, held: Held) -> Option<Held> {
        match self.sender.send(&held.payload) {
            Ok(()) => self.sent.count(Carrier::Datagram, held.payload.len()),
            Err(NotSent::TooLarge) => return Some(held),
            Err(error @ (NotSent::QueueFull | NotSent::Lost)) => self.drop_payload(error.reason()),
        }
        None
    }

    /// Sends a payload that fits into no datagram.
    pub(super) async fn write(&self, writer: &mut FlowWriter, held: Held) -> Result<(), End> {
        writer.write(&held.payload).await?;
        self.sent.count(Carrier::Stream, held.payload.len());
        Ok(())
    }

    pub(super) fn drop_payload(&self, reason: &'static str) {
        self.metrics.flows.drop_payload(Flow::Sent, reason);
    }
}

/// Hands on what comes by the flow's stream, until the other gateway ends the flow.
pub(super) async fn inward(
    reader: &mut FlowReader,
    deliver: &Deliver,
    received: &PayloadCounters,
) -> End {
    loop {
        match reader.next().await {
            Ok(Some(payload)) => {
                received.count(Carrier::Stream, payload.len());
                deliver(&payload);
            }
            Ok(None) => return End::Finished,
            Err(error) => return error.into(),
        }
    }
}

/// Waits until nothing was seen of a flow for its time-out and `more`.
pub(super) async fn idle(activity: &Activity, more: Duration) -> End {
    loop {
        let end = activity.expires() + more;
        if Instant::now() >= end {
            return End::Idle;
        }
        time::sleep_until(end.into()).await;
    }
}

/// Waits until an endpoint's socket may have something to read.
pub(super) async fn readable(socket: &UdpSocket) -> Result<(), End> {
    match socket.ready(Interest::READABLE | Interest::ERROR).await {
        Ok(ready) if ready.is_error() => {
            // Reading the error clears it; a second look finds none.
            let error = socket.try_io(Interest::ERROR, || match socket.take_error()? {
                Some(error) => Ok(error),
                None => Err(io::ErrorKind::WouldBlock.into()),
            });
            if error.is_ok_and(|error| is_final(&error)) {
                return Err(End::EndpointGone);
            }
        }
        Ok(_) => {}
        Err(_) => return Err(End::EndpointGone),
    }
    Ok(())
}

/// Remembers what a flow's end tells of its endpoint: only that it takes no packets is told.
pub(super) fn judge(endpoint: &Load, end: End) {
    let now = Instant::now();
    match end {
        End::EndpointGone => endpoint.failed(now),
        End::Finished | End::Idle | End::Displaced | End::PeerReset | End::LinkLost => {
            endpoint.answered(now, Duration::ZERO);
        }
    }
}

/// Label for metrics of a packet that a socket did not take.
pub(super) fn drop_reason(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::WouldBlock {
        "SocketFull"
    } else if is_final(error) {
        "EndpointGone"
    } else {
        "SocketError"
    }
}

/// Whether nothing that is sent after this error will arrive either: ICMP said so.
pub(super) fn is_final(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}
