//! A UDP client's flow as it crosses the link.
//!
//! It begins as a stream with the same preface and answer as a TCP connection's. Payloads go as
//! datagrams, which may be lost and may overtake each other as on any other way. The stream stays:
//! its end is the flow's, and it carries what fits into no datagram.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use quinn::SendDatagramError;
use tombolo_link_wire::{Answer, FlowDatagram, FlowId, StreamCode, frame_payload, limits};

use crate::connection::Connection;
use crate::flows::{Deliver, Registration};
use crate::framing::{FrameError, FrameReader};
use crate::stream::{LinkStream, RecvHalf, SendHalf, Stopped, StreamError};

/// A flow on which both sides have agreed.
#[derive(Debug)]
pub struct LinkFlow {
    /// Sends datagrams.
    pub sender: FlowSender,
    /// The stream towards the peer.
    pub writer: FlowWriter,
    /// The stream from the peer.
    pub reader: FlowReader,
    /// The peer's replica at the other end.
    pub replica: Arc<str>,
}

/// Sends payloads of a flow as datagrams.
#[derive(Clone, Debug)]
pub struct FlowSender {
    connection: Arc<Connection>,
    flow: FlowId,
}

/// Sends payloads of a flow that fit into no datagram. Dropped before [`finish`](Self::finish), it
/// tells the peer that the flow was abandoned.
#[derive(Debug)]
pub struct FlowWriter(SendHalf);

/// Receives payloads of a flow that fit into no datagram, and its end. While it lives, datagrams of
/// the flow are delivered.
#[derive(Debug)]
pub struct FlowReader {
    recv: RecvHalf,
    frames: FrameReader,
    _registration: Registration,
}

/// Why a payload was not sent as a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The path takes no datagram of this size, now or at all: the stream may carry it.
    #[error("it does not fit into a datagram")]
    TooLarge,
    /// More is sent than the path takes.
    #[error("too many datagrams wait to be sent")]
    QueueFull,
    /// The connection is gone.
    #[error("connection lost")]
    Lost,
}

/// Why a flow ended otherwise than by the peer's finishing it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    /// Its stream has ended.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The peer sent what is no payload.
    #[error("{0}")]
    Malformed(String),
}

// === impl LinkFlow ===

impl LinkFlow {
    pub(crate) fn new(stream: LinkStream, deliver: Deliver) -> Self {
        let LinkStream {
            send,
            recv,
            replica,
            connection,
        } = stream;
        let flow = send.flow();
        let registration = connection.flows.register(flow, deliver);
        Self {
            sender: FlowSender { connection, flow },
            writer: FlowWriter(send),
            reader: FlowReader {
                recv,
                frames: FrameReader::new(limits::PAYLOAD),
                _registration: registration,
            },
            replica,
        }
    }
}

// === impl FlowSender ===

impl FlowSender {
    /// Sends a payload, unless there is no room for it now: what is late is worth little.
    ///
    /// # Errors
    /// See [`NotSent`].
    pub fn send(&self, payload: &[u8]) -> Result<(), NotSent> {
        let datagram = FlowDatagram::encode(self.flow, payload);
        // One that is older is not pushed out for it: the peer would miss it without a trace.
        let sent = self.connection.quic.send_datagram_wait(datagram);
        match sent.now_or_never() {
            Some(Ok(())) => Ok(()),
            None => Err(NotSent::QueueFull),
            Some(Err(error)) => Err(error.into()),
        }
    }
}

// === impl FlowWriter ===

impl FlowWriter {
    /// Tells the peer that the flow is open: its first message, before any payload.
    pub(crate) async fn open(&mut self) -> Result<(), StreamError> {
        self.0.write_chunk(Answer::Opened.encode()).await
    }

    /// Sends a payload, and waits while the peer's window is full.
    ///
    /// # Errors
    /// When the peer ended the flow or the connection is gone.
    pub async fn write(&mut self, payload: &[u8]) -> Result<(), StreamError> {
        self.0.write_chunk(frame_payload(payload)).await
    }

    /// Ends the flow.
    pub fn finish(&mut self) {
        self.0.finish();
    }

    /// Ends the flow and says why.
    pub fn reset(&mut self, code: StreamCode) {
        self.0.reset(code);
    }

    /// Waits until the peer has ended the flow.
    pub fn stopped(&self) -> impl Future<Output = Stopped> + Send + Sync + 'static {
        self.0.stopped()
    }
}

// === impl FlowReader ===

impl FlowReader {
    /// The next payload, `None` when the peer has ended the flow. May be dropped and called again.
    ///
    /// # Errors
    /// When the flow ended otherwise.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FlowError> {
        match self.frames.next(&mut self.recv).await {
            Ok(payload) => Ok(payload),
            Err(FrameError::Stream(error)) => Err(error.into()),
            Err(error @ (FrameError::TooLarge(_) | FrameError::Truncated)) => {
                self.recv.stop(StreamCode::Malformed);
                Err(FlowError::Malformed(error.to_string()))
            }
        }
    }

    /// Tells the peer that the flow has ended.
    pub fn stop(&mut self, code: StreamCode) {
        self.recv.stop(code);
    }
}

// === impl NotSent ===

impl NotSent {
    /// A stable word for it, for metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "TooLarge",
            Self::QueueFull => "QueueFull",
            Self::Lost => "Lost",
        }
    }
}

impl From<SendDatagramError> for NotSent {
    fn from(error: SendDatagramError) -> Self {
        match error {
            SendDatagramError::TooLarge
            | SendDatagramError::UnsupportedByPeer
            | SendDatagramError::Disabled => Self::TooLarge,
            SendDatagramError::ConnectionLost(_) => Self::Lost,
        }
    }
}
