//! What quinn takes for a UDP socket.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use parking_lot::Mutex;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::mpsc;

use super::outbox::Outbox;

/// One end of a tunnel. It ends with the endpoint that has it.
#[derive(Debug)]
pub(super) struct TunnelSocket {
    pub(super) outbox: Arc<Outbox>,
    pub(super) inbox: Mutex<mpsc::Receiver<Bytes>>,
    pub(super) address: SocketAddr,
    pub(super) remote: SocketAddr,
}

/// Waits for room in an outbox, for one of the tasks that send.
struct RoomPoller {
    outbox: Arc<Outbox>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

// === impl TunnelSocket ===

impl AsyncUdpSocket for TunnelSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(RoomPoller {
            outbox: Arc::clone(&self.outbox),
            waiting: None,
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.outbox.push(transmit.contents) {
            true => Ok(()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut inbox = self.inbox.lock();
        let mut received = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            // What closed the tunnel is told by the tunnel: to quinn there is just silence.
            let Poll::Ready(Some(packet)) = inbox.poll_recv(cx) else {
                break;
            };
            // The pump lets no longer packet through than the endpoint has room for.
            let length = packet.len().min(buf.len());
            buf[..length].copy_from_slice(&packet[..length]);
            *meta = RecvMeta {
                addr: self.remote,
                len: length,
                stride: length,
                ecn: None,
                dst_ip: None,
            };
            received += 1;
        }
        match received {
            0 => Poll::Pending,
            received => Poll::Ready(Ok(received)),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl Drop for TunnelSocket {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

// === impl RoomPoller ===

impl UdpPoller for RoomPoller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_none() && self.outbox.has_room() {
            return Poll::Ready(Ok(()));
        }
        let outbox = Arc::clone(&self.outbox);
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(outbox.room()));
        ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for RoomPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomPoller").finish_non_exhaustive()
    }
}
