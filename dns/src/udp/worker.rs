//! The loop of one socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::handed_on::HandedOn;
use super::socket::{Path, Received, Socket};
use super::{FastPath, Verdict};

pub(super) struct Worker<F> {
    socket: Arc<Socket>,
    fast_path: F,
    queue: mpsc::Sender<HandedOn>,
}

// === impl Worker ===

impl<F: FastPath> Worker<F> {
    pub(super) fn new(
        socket: UdpSocket,
        fast_path: F,
        queue: mpsc::Sender<HandedOn>,
    ) -> io::Result<Self> {
        Ok(Self {
            socket: Arc::new(Socket::new(socket)?),
            fast_path,
            queue,
        })
    }

    /// Answers until it is dropped.
    pub(super) async fn run(self) -> io::Result<()> {
        let mut received = Received::new();
        let mut response = Vec::new();
        loop {
            self.socket.receive(&mut received).await?;
            for (query, path) in received.queries() {
                if !is_answerable(path.client) {
                    continue;
                }
                match self.fast_path.answer(query, path.client, &mut response) {
                    Verdict::Answered => self.socket.send(path, &response),
                    Verdict::HandOn => self.hand_on(query, path),
                    Verdict::Dropped => {}
                }
            }
        }
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
