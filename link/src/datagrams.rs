//! What arrives at the port and is of no connection: strangers, and the past.
//!
//! QUIC drops it without a word. It is counted on the way in, by what can be seen of a datagram
//! from outside, and by the connection IDs that quinn does not find.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, ConnectionId, ConnectionIdGenerator, UdpPoller};
use quinn_proto::{HashedConnectionIdGenerator, InvalidCid};

use crate::counts::{Count, Event};

/// QUIC version 1 (RFC 9000, 15).
const VERSION: [u8; 4] = [0, 0, 0, 1];
/// The first bit of a packet with a long header (RFC 9000, 17.2).
const LONG_HEADER: u8 = 0x80;
/// No shorter datagram can be of a connection (RFC 9000, 10.3).
const SHORTEST: usize = 21;
/// The most that one call of the kernel's segment offload takes, in bytes. quinn packs ten packets
/// into one whatever their size, and takes the kernel's refusal for a lost packet.
pub(crate) const SEGMENTED: usize = 65_507;

/// Datagrams that were of no connection.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    too_long: AtomicU64,
    too_short: AtomicU64,
    unknown_version: AtomicU64,
    unknown_connection: AtomicU64,
    past_connection: AtomicU64,
}

/// A socket that counts strays, and sends no more at a time than the kernel takes.
#[derive(Debug)]
pub(crate) struct GuardedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    strays: Arc<Strays>,
    mtu: u16,
}

/// quinn asks it about the IDs of which it knows no connection.
struct CountingIds {
    inner: HashedConnectionIdGenerator,
    strays: Arc<Strays>,
}

// === impl Strays ===

impl Strays {
    pub(crate) fn snapshot(&self) -> impl Iterator<Item = Count> {
        let counts = [
            ("TooLong", &self.too_long),
            ("TooShort", &self.too_short),
            ("UnknownVersion", &self.unknown_version),
            ("UnknownConnection", &self.unknown_connection),
            ("PastConnection", &self.past_connection),
        ];
        counts.into_iter().map(|(reason, value)| Count {
            event: Event::StrayDatagram,
            reason,
            value: value.load(Ordering::Relaxed),
        })
    }

    /// A generator of connection IDs that counts those that nobody has.
    pub(crate) fn connection_ids(self: &Arc<Self>) -> Box<dyn ConnectionIdGenerator> {
        Box::new(CountingIds {
            inner: HashedConnectionIdGenerator::new(),
            strays: Arc::clone(self),
        })
    }

    fn inspect(&self, datagram: &[u8], longest: usize) {
        let counter = match datagram {
            _ if datagram.len() > longest => &self.too_long,
            _ if datagram.len() < SHORTEST => &self.too_short,
            [first, version @ ..] if first & LONG_HEADER != 0 && !version.starts_with(&VERSION) => {
                &self.unknown_version
            }
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

// === impl GuardedSocket ===

impl GuardedSocket {
    pub(crate) fn new(inner: Arc<dyn AsyncUdpSocket>, strays: Arc<Strays>, mtu: u16) -> Arc<Self> {
        Arc::new(Self { inner, strays, mtu })
    }
}

impl AsyncUdpSocket for GuardedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = ready!(self.inner.poll_recv(cx, bufs, meta))?;
        for (buf, meta) in bufs.iter().zip(meta.iter()).take(received) {
            // Several datagrams of one sender may come as one.
            for datagram in buf[..meta.len].chunks(meta.stride.max(1)) {
                self.strays.inspect(datagram, self.mtu.into());
            }
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        let fitting = SEGMENTED / usize::from(self.mtu);
        self.inner.max_transmit_segments().min(fitting)
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

// === impl CountingIds ===

impl ConnectionIdGenerator for CountingIds {
    fn generate_cid(&mut self) -> ConnectionId {
        self.inner.generate_cid()
    }

    fn validate(&self, cid: &ConnectionId) -> Result<(), InvalidCid> {
        let verdict = self.inner.validate(cid);
        let counter = match verdict {
            Ok(()) => &self.strays.past_connection,
            Err(InvalidCid) => &self.strays.unknown_connection,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        verdict
    }

    fn cid_len(&self) -> usize {
        self.inner.cid_len()
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        self.inner.cid_lifetime()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_of_a_connection_is_not_counted() {
        let strays = Strays::default();
        let mut initial = vec![0xc3, 0, 0, 0, 1];
        initial.resize(1200, 7);

        strays.inspect(&initial, 1472);
        strays.inspect(&[0x40; SHORTEST], 1472);

        assert!(strays.snapshot().all(|count| count.value == 0));
    }

    #[test]
    fn each_stray_is_counted_by_what_is_seen_of_it() {
        let strays = Arc::new(Strays::default());
        strays.inspect(&[0x40; 1473], 1472);
        strays.inspect(&[], 1472);
        strays.inspect(&[0xc3; 1200], 1472);
        let mut ids = strays.connection_ids();
        let own = ids.generate_cid();
        assert!(ids.validate(&own).is_ok());
        assert!(ids.validate(&ConnectionId::new(&[1; 8])).is_err());

        for count in strays.snapshot() {
            assert_eq!(count.value, 1, "{}", count.reason);
        }
    }
}
