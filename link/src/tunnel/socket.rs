//! What quinn takes for a UDP socket.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::mpsc;

use super::outbox::Outbox;
use crate::poller::Poller;

/// One end of a tunnel. It ends with the endpoint that has it.
#[derive(Debug)]
pub(super) struct TunnelSocket {
    pub(super) outbox: Arc<Outbox>,
    pub(super) inbox: Mutex<mpsc::Receiver<Bytes>>,
    pub(super) address: SocketAddr,
    pub(super) remote: SocketAddr,
}

// === impl TunnelSocket ===

impl AsyncUdpSocket for TunnelSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        let outbox = Arc::clone(&self.outbox);
        Box::pin(Poller::new(move || {
            let room = Arc::clone(&outbox).room();
            Box::pin(async move {
                room.await;
                Ok(())
            })
        }))
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
