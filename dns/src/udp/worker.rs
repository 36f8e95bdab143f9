//! The loop of one socket.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use mio::{Events, Poll, Token, Waker};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::handed_on::HandedOn;
use super::outbox::Outbox;
use super::socket::{Path, Received, Socket};
use super::{FastPath, Verdict};

const QUERIES: Token = Token(0);
const STOP: Token = Token(1);

pub(super) struct Worker<F> {
    poll: Poll,
    socket: Arc<Socket>,
    fast_path: F,
    queue: mpsc::Sender<HandedOn>,
    stop: CancellationToken,
    /// Closed before it has woken anybody, a waker wakes nobody.
    waker: Arc<Waker>,
}

// === impl Worker ===

impl<F: FastPath> Worker<F> {
    /// A worker that ends with `stop`, if it is also woken then.
    pub(super) fn new(
        socket: UdpSocket,
        fast_path: F,
        queue: mpsc::Sender<HandedOn>,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let socket = Arc::new(Socket::new(socket)?);
        socket.register(poll.registry(), QUERIES)?;
        let waker = Arc::new(Waker::new(poll.registry(), STOP)?);
        Ok(Self {
            poll,
            socket,
            fast_path,
            queue,
            stop,
            waker,
        })
    }

    /// What it is woken with.
    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Answers, in the thread that calls, until it is told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut received = Received::new();
        let mut outbox = Outbox::default();
        let mut events = Events::with_capacity(2);
        while !self.stop.is_cancelled() {
            match self.socket.receive(&mut received) {
                Ok(()) => self.answer(&received, &mut outbox),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            // Where there were fewer than asked for, to ask again would be in vain. What comes
            // from here on is an event of its own.
            if !received.is_whole_batch() {
                match self.poll.poll(&mut events, None) {
                    Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
        }
        Ok(())
    }

    fn answer(&self, received: &Received, outbox: &mut Outbox) {
        for (query, path) in received.queries() {
            if !is_answerable(path.client) {
                continue;
            }
            let verdict = outbox.put(path, |response| {
                self.fast_path.answer(query, path.client, response)
            });
            if verdict == Verdict::HandOn {
                self.hand_on(query, path);
            }
            if outbox.is_full() {
                self.socket.send_all(outbox);
            }
        }
        self.socket.send_all(outbox);
    }

    /// Into the queue; where that is full, the client asks again.
    fn hand_on(&self, query: &[u8], path: Path) {
        let question = HandedOn::new(query, path, Arc::clone(&self.socket));
        if self.queue.try_send(question).is_err() {
            tracing::debug!(client = %path.client, "too many questions wait, one is dropped");
        }
    }
}

/// Whether the address is one that anybody has: the others are only ever forged.
fn is_answerable(client: SocketAddr) -> bool {
    let address = client.ip().to_canonical();
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    client.port() != 0 && !address.is_unspecified() && !address.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forged_addresses_are_not_answered() {
        for (client, answerable) in [
            ("10.0.0.1:53", true),
            ("[fd00::1]:1024", true),
            ("[::ffff:10.0.0.1]:1024", true),
            ("10.0.0.1:0", false),
            ("0.0.0.0:1024", false),
            ("255.255.255.255:1024", false),
            ("[::ffff:224.0.0.251]:5353", false),
            ("[ff02::1]:1024", false),
            ("[::]:1024", false),
        ] {
            let is_ours = is_answerable(client.parse().unwrap());
            assert_eq!(is_ours, answerable, "{client}");
        }
    }
}
