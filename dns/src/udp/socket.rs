//! Datagrams by the batch.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};

use super::outbox::{self, Outbox};

/// Datagrams of a batch: more of them save nothing more.
const DATAGRAMS: usize = quinn_udp::BATCH_SIZE;
/// A query is a name and a few options, but the kernel may hand over many of one client as one.
const BUFFER_OCTETS: usize = 1 << 14;
/// How long answers wait for room in the socket's send buffer. A network card makes room at once;
/// clients whose address nobody has fill it for seconds, and the others must not wait for them.
const ROOM_PATIENCE: Duration = Duration::from_millis(5);

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
    pub(super) server: Option<IpAddr>,
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

    /// Has it told when queries come. Not when there is room to send: the kernel would tell of that
    /// after each datagram that has gone out.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        SourceFd(&self.udp.as_raw_fd()).register(registry, token, Interest::READABLE)
    }

    /// Takes the queries that have come, of which there may be more if they are a whole batch.
    ///
    /// # Errors
    /// `WouldBlock` if there are none.
    pub(super) fn receive(&self, received: &mut Received) -> io::Result<()> {
        let Received {
            buffers,
            metas,
            count,
        } = received;
        let mut slices = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
        *count = 0;
        *count = self.state.recv((&self.udp).into(), &mut slices, metas)?;
        Ok(())
    }

    /// Sends what is in the outbox, which is empty then. What finds no room for some time is lost,
    /// as any datagram may be.
    pub(super) fn send_all(&self, outbox: &mut Outbox) {
        let mut unsent = outbox.answers();
        let mut has_waited = false;
        while let Some(first) = unsent.first() {
            match outbox::send(&self.udp, unsent) {
                Ok(count) => {
                    unsent = &unsent[count..];
                    has_waited = false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !has_waited => {
                    if let Err(error) = self.wait_for_room() {
                        tracing::debug!(%error, "room to send cannot be waited for");
                    }
                    has_waited = true;
                }
                Err(error) => {
                    let client = first.path.client;
                    let is_full = error.kind() == io::ErrorKind::WouldBlock;
                    let lost = if is_full { unsent.len() } else { 1 };
                    tracing::debug!(%client, %error, lost, "answer not sent");
                    unsent = &unsent[lost..];
                }
            }
        }
        outbox.clear();
    }

    fn wait_for_room(&self) -> io::Result<()> {
        let mut poll = Poll::new()?;
        let fd = self.udp.as_raw_fd();
        SourceFd(&fd).register(poll.registry(), Token(0), Interest::WRITABLE)?;
        poll.poll(&mut Events::with_capacity(1), Some(ROOM_PATIENCE))
    }

    /// Sends a response from wherever, now. One that finds no room is lost.
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

    /// Whether there may be more where they came from.
    pub(super) fn is_whole_batch(&self) -> bool {
        self.count == DATAGRAMS
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
