//! The UDP socket of an endpoint.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

use crate::poller::Poller;
use crate::unreachable::{self, Unreachable};

/// A socket that hears which of its packets did not arrive.
#[derive(Debug)]
pub(crate) struct HearingSocket {
    io: Arc<UdpSocket>,
    state: UdpSocketState,
    _hears: Option<AbortOnDropHandle<()>>,
}

// === impl HearingSocket ===

impl HearingSocket {
    /// Makes quinn's socket of `socket`, and tells `unreachable` what ICMP says of its packets.
    pub(crate) fn new(
        socket: std::net::UdpSocket,
        unreachable: &Unreachable,
    ) -> io::Result<Arc<Self>> {
        let state = UdpSocketState::new((&socket).into())?;
        let asked = unreachable::ask(&socket);
        let io = Arc::new(UdpSocket::from_std(socket)?);
        let hears = match asked {
            Ok(()) => {
                let hears = unreachable.clone().hear(Arc::clone(&io));
                Some(AbortOnDropHandle::new(tokio::spawn(hears)))
            }
            Err(error) => {
                tracing::debug!(%error, "the kernel does not tell what ICMP says");
                None
            }
        };
        Ok(Arc::new(Self {
            io,
            state,
            _hears: hears,
        }))
    }
}

impl AsyncUdpSocket for HearingSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        let io = Arc::clone(&self.io);
        Box::pin(Poller::new(move || {
            let io = Arc::clone(&io);
            Box::pin(async move { io.writable().await })
        }))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || {
            // What ICMP says of an earlier packet, of whomever, is told by the next call, which sends
            // nothing. Other errors than a full socket are a lost packet.
            match self.state.try_send((&*self.io).into(), transmit) {
                Ok(()) => Ok(()),
                Err(_) => self.state.send((&*self.io).into(), transmit),
            }
        })
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            // An error is of a packet that was sent, or the readiness was a false one.
            let received = self.io.try_io(Interest::READABLE, || {
                self.state.recv((&*self.io).into(), bufs, meta)
            });
            if let Ok(received) = received {
                return Poll::Ready(Ok(received));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}
