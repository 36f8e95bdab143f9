//! A client's connection as it crosses the link: two halves that end on their own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use quinn::VarInt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tombolo_link_wire::{FlowId, StreamCode};

use crate::connection::Connection;
use crate::flow::LinkFlow;
use crate::flows::Deliver;

/// A stream on which both sides have agreed.
#[derive(Debug)]
pub struct LinkStream {
    /// Towards the peer.
    pub send: SendHalf,
    /// From the peer.
    pub recv: RecvHalf,
    /// The peer's replica at the other end.
    pub replica: Arc<str>,
    pub(crate) connection: Arc<Connection>,
}

/// The half of a stream that is written. Dropped before [`finish`](Self::finish), it is reset: a
/// truncated stream must not look complete.
#[derive(Debug)]
pub struct SendHalf {
    inner: quinn::SendStream,
    ended: bool,
    _in_flight: Option<Arc<InFlight>>,
}

/// The half of a stream that is read. Dropped before its end, the peer is told to stop.
#[derive(Debug)]
pub struct RecvHalf {
    inner: quinn::RecvStream,
    ended: bool,
    _in_flight: Option<Arc<InFlight>>,
}

/// Why a half of a stream has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The peer reset what it was sending.
    #[error("reset by the peer: {0}")]
    Reset(StreamCode),
    /// The peer does not read any further.
    #[error("the peer stopped reading: {0}")]
    Stopped(StreamCode),
    /// The connection is gone.
    #[error("connection lost: {0}")]
    Lost(String),
    /// This side ended the half before.
    #[error("ended by this side")]
    Closed,
}

/// How the peer's reading of a [`SendHalf`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The peer does not read any further.
    Stopped(StreamCode),
    /// The peer has received everything up to the end.
    Received,
    /// The connection is gone.
    Lost(String),
}

/// Counts a stream for as long as one of its halves lives.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<AtomicUsize>);

// === impl LinkStream ===

impl LinkStream {
    pub(crate) fn new(
        send: quinn::SendStream,
        recv: quinn::RecvStream,
        in_flight: InFlight,
        connection: Arc<Connection>,
    ) -> Self {
        let in_flight = Arc::new(in_flight);
        Self {
            send: SendHalf::new(send, Some(Arc::clone(&in_flight))),
            recv: RecvHalf::new(recv, Some(in_flight)),
            replica: Arc::clone(&connection.replica),
            connection,
        }
    }

    /// Does not count it any longer: it is no client's, and lasts as long as its connection. Counted,
    /// it would keep new streams off that connection, and a connection that drains open.
    pub(crate) fn uncounted(mut self) -> Self {
        self.send._in_flight = None;
        self.recv._in_flight = None;
        self
    }

    /// Makes it a UDP client's flow: `deliver` gets the payloads that come as datagrams. The peer
    /// has done the same before it answered, so that what is sent from now on finds its flow.
    #[must_use]
    pub fn into_flow(self, deliver: Deliver) -> LinkFlow {
        LinkFlow::new(self, deliver)
    }
}

// === impl SendHalf ===

impl SendHalf {
    pub(crate) fn new(inner: quinn::SendStream, in_flight: Option<Arc<InFlight>>) -> Self {
        Self {
            inner,
            ended: false,
            _in_flight: in_flight,
        }
    }

    pub(crate) fn flow(&self) -> FlowId {
        FlowId::of_stream(VarInt::from(self.inner.id()).into_inner())
    }

    /// Sends all of `chunk`, without copying it. Waits while the peer's window is full.
    ///
    /// # Errors
    /// When the peer stopped reading or the connection is gone.
    pub async fn write_chunk(&mut self, chunk: Bytes) -> Result<(), StreamError> {
        self.inner.write_chunk(chunk).await?;
        Ok(())
    }

    /// Ends the half: the peer reads an end after what was sent. Nothing happens if it has ended.
    pub fn finish(&mut self) {
        self.ended = true;
        // It fails only if the half has ended already.
        let _ = self.inner.finish();
    }

    /// Ends the half at once: what was not received yet is lost.
    pub fn reset(&mut self, code: StreamCode) {
        self.ended = true;
        let _ = self.inner.reset(VarInt::from_u32(code.code()));
    }

    /// Waits until the peer reads no more, or has read all.
    pub fn stopped(&self) -> impl Future<Output = Stopped> + Send + Sync + 'static {
        let stopped = self.inner.stopped();
        async {
            match stopped.await {
                Ok(Some(code)) => Stopped::Stopped(StreamCode::from(code.into_inner())),
                Ok(None) => Stopped::Received,
                Err(error) => Stopped::Lost(error.to_string()),
            }
        }
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        if !self.ended {
            self.reset(StreamCode::Abandoned);
        }
    }
}

impl AsyncWrite for SendHalf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf));
        Poll::Ready(written.map_err(|error| StreamError::from(error).into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

// === impl RecvHalf ===

impl RecvHalf {
    pub(crate) fn new(inner: quinn::RecvStream, in_flight: Option<Arc<InFlight>>) -> Self {
        Self {
            inner,
            ended: false,
            _in_flight: in_flight,
        }
    }

    /// The next bytes, at most `max`, without copying them; `None` at the end.
    ///
    /// # Errors
    /// When the peer reset the stream or the connection is gone.
    pub async fn read_chunk(&mut self, max: usize) -> Result<Option<Bytes>, StreamError> {
        let chunk = self.inner.read_chunk(max, true).await?;
        self.ended |= chunk.is_none();
        Ok(chunk.map(|chunk| chunk.bytes))
    }

    /// The next bytes, in pieces as they came and without copying them; how many of `pieces` have
    /// some, 0 at the end.
    ///
    /// # Errors
    /// When the peer reset the stream or the connection is gone.
    pub async fn read_chunks(&mut self, pieces: &mut [Bytes]) -> Result<usize, StreamError> {
        let filled = self.inner.read_chunks(pieces).await?;
        self.ended |= filled.is_none();
        Ok(filled.unwrap_or_default())
    }

    /// Tells the peer that nothing more is read.
    pub fn stop(&mut self, code: StreamCode) {
        self.ended = true;
        let _ = self.inner.stop(VarInt::from_u32(code.code()));
    }
}

impl Drop for RecvHalf {
    fn drop(&mut self) {
        if !self.ended {
            self.stop(StreamCode::Abandoned);
        }
    }
}

impl AsyncRead for RecvHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match ready!(self.inner.poll_read_buf(cx, buf)) {
            Ok(()) => {
                self.ended |= buf.filled().len() == before && buf.remaining() > 0;
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(StreamError::from(error).into())),
        }
    }
}

// === impl StreamError ===

impl StreamError {
    /// A stable word for it, for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Reset(_) => "Reset",
            Self::Stopped(_) => "Stopped",
            Self::Lost(_) => "Lost",
            Self::Closed => "Closed",
        }
    }
}

impl From<quinn::WriteError> for StreamError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::Stopped(code) => Self::Stopped(code.into_inner().into()),
            quinn::WriteError::ConnectionLost(error) => Self::Lost(error.to_string()),
            quinn::WriteError::ClosedStream | quinn::WriteError::ZeroRttRejected => Self::Closed,
        }
    }
}

impl From<quinn::ReadError> for StreamError {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::Reset(code) => Self::Reset(code.into_inner().into()),
            quinn::ReadError::ConnectionLost(error) => Self::Lost(error.to_string()),
            quinn::ReadError::ClosedStream
            | quinn::ReadError::IllegalOrderedRead
            | quinn::ReadError::ZeroRttRejected => Self::Closed,
        }
    }
}

impl From<Stopped> for StreamError {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Stopped(code) => Self::Stopped(code),
            Stopped::Received => Self::Closed,
            Stopped::Lost(error) => Self::Lost(error),
        }
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match error {
            StreamError::Reset(_) => io::ErrorKind::ConnectionReset,
            StreamError::Stopped(_) => io::ErrorKind::BrokenPipe,
            StreamError::Lost(_) => io::ErrorKind::ConnectionAborted,
            StreamError::Closed => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}

// === impl InFlight ===

impl InFlight {
    pub(crate) fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
