//! Datagrams by the batch.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Datagrams of a batch: more of them save nothing more.
const DATAGRAMS: usize = quinn_udp::BATCH_SIZE;
/// A query is a name and a few options, but the kernel may hand over many of one client as one.
const BUFFER_OCTETS: usize = 1 << 14;

/// A socket that says to which of its addresses a datagram came: the client hears of no other.
#[derive(Debug)]
pub(super) struct Socket {
    udp: UdpSocket,
    state: UdpSocketState,
}

/// Whom a datagram is between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) client: SocketAddr,
    /// The address that the client knows.
    server: Option<IpAddr>,
}

/// Room for a batch of queries, and the batch.
pub(super) struct Received {
    buffers: Box<[Box<[u8]>; DATAGRAMS]>,
    metas: [RecvMeta; DATAGRAMS],
    count: usize,
}

// === impl Socket ===

impl Socket {
    pub(super) fn new(udp: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&udp).into())?;
        Ok(Self { udp, state })
    }

    /// Waits for a query, and takes with it those that have come by then.
    pub(super) async fn receive(&self, received: &mut Received) -> io::Result<()> {
        let Received {
            buffers,
            metas,
            count,
        } = received;
        let receive = || {
            let mut slices = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
            self.state.recv((&self.udp).into(), &mut slices, metas)
        };
        *count = self.udp.async_io(Interest::READABLE, receive).await?;
        Ok(())
    }

    /// Sends a response. One that finds no room is lost, as any datagram may be.
    pub(super) fn send(&self, path: Path, response: &[u8]) {
        let transmit = Transmit {
            destination: path.client,
            ecn: None,
            contents: response,
            segment_size: None,
            src_ip: path.server,
        };
        if let Err(error) = self.state.try_send((&self.udp).into(), &transmit) {
            tracing::debug!(client = %path.client, %error, "answer not sent");
        }
    }
}

// === impl Received ===

impl Received {
    pub(super) fn new() -> Self {
        Self {
            buffers: Box::new(std::array::from_fn(|_| vec![0; BUFFER_OCTETS].into())),
            metas: [RecvMeta::default(); DATAGRAMS],
            count: 0,
        }
    }

    pub(super) fn queries(&self) -> impl Iterator<Item = (&[u8], Path)> {
        let batch = self.metas.iter().zip(self.buffers.iter()).take(self.count);
        batch.flat_map(|(meta, buffer)| {
            let path = Path {
                client: meta.addr,
                server: meta.dst_ip,
            };
            let queries = buffer[..meta.len].chunks(meta.stride.max(1));
            queries.map(move |query| (query, path))
        })
    }
}
