//! One TCP connection and one stream of a link, as if they were one connection.
//!
//! Each direction runs to its own end, so a half-close crosses as one. A reset, a stop or a lost
//! link ends both at once, as it does for a TCP connection: nothing that was cut short may look
//! complete to the other side. Back-pressure needs no code: what one side does not take, the other
//! does not read.

use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::BytesMut;
use prometheus_client::metrics::counter::Counter;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncWriteExt, Interest, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tombolo_link::{LinkStream, RecvHalf, SendHalf, Stopped, StreamCode, StreamError};

/// Buffers grow with what a connection has carried: small for the many that say little, large for
/// the few where each system call should move much (the steps are those of istio's ztunnel).
const BUFFER_STEPS: [(u64, usize); 3] =
    [(0, 1 << 10), (128 << 10, 16 << 10), (10 << 20, 256 << 10)];
/// Pieces that are taken from a stream at once: each is what one packet brought, and a system call
/// for each of them would cost more than all else.
const PIECES: usize = 32;

/// The buffer of each direction of a connection within this cluster.
const LOCAL: usize = 16 << 10;

/// A host that is gone is noticed within about two minutes on an idle connection …
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 4;
/// … and within this time if it owes an acknowledgement.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both directions were finished.
    Finished,
    /// The TCP side was reset, timed out or refused more.
    TcpReset,
    /// The other gateway reset it or stopped reading.
    PeerReset,
    /// The link was lost.
    LinkLost,
}

/// Counters of a connection's payload.
#[derive(Clone, Debug, Default)]
pub struct Bytes {
    /// To the link.
    pub sent: Counter,
    /// From the link.
    pub received: Counter,
}

// === impl End ===

impl End {
    /// Label for metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Finished => "Finished",
            Self::TcpReset => "TcpReset",
            Self::PeerReset => "PeerReset",
            Self::LinkLost => "LinkLost",
        }
    }
}

impl From<StreamError> for End {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Reset(_) | StreamError::Stopped(_) => Self::PeerReset,
            StreamError::Lost(_) | StreamError::Closed => Self::LinkLost,
        }
    }
}

/// Sets what every carried TCP connection has. A socket on which that fails is dead, which the
/// splice will find out.
pub fn prepare(tcp: &TcpStream) {
    let socket = SockRef::from(tcp);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
        .and_then(|()| socket.set_tcp_user_timeout(Some(USER_TIMEOUT)))
        // Whatever becomes of this process, a connection that it did not finish ends by RST.
        .and_then(|()| socket.set_linger(Some(Duration::ZERO)));
    if let Err(error) = set {
        tracing::debug!(%error, "cannot set socket options");
    }
}

/// Carries bytes both ways until both directions have ended. `tcp` must have been
/// [prepared](prepare): unless both were finished, it is reset.
pub async fn splice(mut tcp: TcpStream, stream: LinkStream, bytes: &Bytes) -> End {
    let LinkStream { send, recv, .. } = stream;
    let abort = Abort::default();
    let (read, write) = tcp.split();
    tokio::join!(
        outward(read, send, &bytes.sent, &abort),
        inward(recv, write, &bytes.received, &abort),
    );
    if let Some(end) = abort.cause.get() {
        return *end;
    }
    // What the kernel still has to send is sent after the close.
    if let Err(error) = SockRef::from(&tcp).set_linger(None) {
        tracing::debug!(%error, "cannot close in order");
    }
    End::Finished
}

/// Carries bytes both ways between a client and an endpoint of this cluster. Both must have been
/// [prepared](prepare): unless both directions were finished, both are reset.
pub async fn splice_here(mut client: TcpStream, mut endpoint: TcpStream, bytes: &Bytes) -> End {
    let copied = copy_bidirectional_with_sizes(&mut client, &mut endpoint, LOCAL, LOCAL).await;
    let Ok((sent, received)) = copied else {
        return End::TcpReset;
    };
    bytes.sent.inc_by(sent);
    bytes.received.inc_by(received);
    for tcp in [&client, &endpoint] {
        if let Err(error) = SockRef::from(tcp).set_linger(None) {
            tracing::debug!(%error, "cannot close in order");
        }
    }
    End::Finished
}

/// What ends both directions at once.
#[derive(Default)]
struct Abort {
    cause: OnceLock<End>,
    raised: Notify,
}

// === impl Abort ===

impl Abort {
    fn raise(&self, cause: End) {
        if self.cause.set(cause).is_ok() {
            self.raised.notify_one();
        }
    }

    async fn wait(&self) {
        // The direction that raises it does not wait any more, so there is one to be told.
        if self.cause.get().is_none() {
            self.raised.notified().await;
        }
    }
}

async fn outward(mut tcp: ReadHalf<'_>, mut send: SendHalf, sent: &Counter, abort: &Abort) {
    let copied = tokio::select! {
        copied = copy_outward(&mut tcp, &mut send, sent) => copied,
        () = abort.wait() => Err(End::TcpReset),
    };
    match copied {
        // After a reset that the other direction was told of, the kernel reads as if finished.
        Ok(()) if abort.cause.get().is_none() => send.finish(),
        Ok(()) => send.reset(StreamCode::TcpReset),
        Err(cause) => {
            abort.raise(cause);
            send.reset(StreamCode::TcpReset);
        }
    }
}

async fn copy_outward(
    tcp: &mut ReadHalf<'_>,
    send: &mut SendHalf,
    sent: &Counter,
) -> Result<(), End> {
    let mut total = 0;
    let mut buffer = BytesMut::new();
    let mut stopped = pin!(send.stopped());
    loop {
        let size = buffer_size(total);
        // A quarter left is not worth an allocation; less is not worth a system call.
        if buffer.capacity() < size / 4 {
            buffer = BytesMut::with_capacity(size);
        }
        match tcp.try_read_buf(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                total += read as u64;
                sent.inc_by(read as u64);
                let chunk = buffer.split().freeze();
                tokio::select! {
                    written = send.write_chunk(chunk) => written.map_err(End::from)?,
                    // While the peer takes nothing, nobody reads, and only so is a reset heard of.
                    _ = tcp.ready(Interest::ERROR) => return Err(End::TcpReset),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Idle connections hold no memory.
                buffer = BytesMut::new();
                tokio::select! {
                    readable = tcp.readable() => readable.map_err(|_| End::TcpReset)?,
                    stopped = &mut stopped => return Err(match stopped {
                        Stopped::Lost(_) => End::LinkLost,
                        Stopped::Stopped(_) | Stopped::Received => End::PeerReset,
                    }),
                }
            }
            Err(_) => return Err(End::TcpReset),
        }
    }
}

async fn inward(mut recv: RecvHalf, mut tcp: WriteHalf<'_>, received: &Counter, abort: &Abort) {
    let copied = tokio::select! {
        copied = copy_inward(&mut recv, &mut tcp, received) => copied,
        () = abort.wait() => Err(End::TcpReset),
    };
    if let Err(cause) = copied {
        abort.raise(cause);
        recv.stop(StreamCode::TcpReset);
    }
}

async fn copy_inward(
    recv: &mut RecvHalf,
    tcp: &mut WriteHalf<'_>,
    received: &Counter,
) -> Result<(), End> {
    let mut pieces = [const { bytes::Bytes::new() }; PIECES];
    loop {
        let filled = recv.read_chunks(&mut pieces).await?;
        if filled == 0 {
            break;
        }
        let pieces = &mut pieces[..filled];
        let taken: usize = pieces.iter().map(bytes::Bytes::len).sum();
        received.inc_by(taken as u64);
        write_all(tcp, pieces).await.map_err(|_| End::TcpReset)?;
        // Each of them keeps a packet's memory.
        pieces.fill(bytes::Bytes::new());
    }
    tcp.shutdown().await.map_err(|_| End::TcpReset)
}

async fn write_all(tcp: &mut WriteHalf<'_>, pieces: &[bytes::Bytes]) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); PIECES];
    for (slice, piece) in slices.iter_mut().zip(pieces) {
        *slice = IoSlice::new(piece);
    }
    let mut left = &mut slices[..pieces.len()];
    while !left.is_empty() {
        match tcp.write_vectored(left).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut left, written),
        }
    }
    Ok(())
}

fn buffer_size(carried: u64) -> usize {
    let step = BUFFER_STEPS.iter().rev().find(|(from, _)| carried >= *from);
    step.map_or(0, |(_, size)| *size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_grow_with_what_was_carried() {
        let sizes = [
            0,
            (128 << 10) - 1,
            128 << 10,
            (10 << 20) - 1,
            10 << 20,
            u64::MAX,
        ];

        let sizes = sizes.map(buffer_size);

        assert_eq!(
            sizes,
            [1 << 10, 1 << 10, 16 << 10, 16 << 10, 256 << 10, 256 << 10]
        );
    }
}
