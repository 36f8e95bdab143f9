//! The UDP socket of an import's port.
//!
//! One socket serves all clients of a port. UDP leaves it to the kernel from which of a host's
//! addresses a reply comes, and a client takes none from another address than it sent to: so there
//! is a socket for each address of the pod, from which no reply can come otherwise.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::net::UdpSocket;

/// The longest payload of a UDP packet without jumbograms.
const LONGEST: usize = 65_535;
/// Bursts of clients wait here while the thread is not scheduled. The kernel cuts it to
/// `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 1 << 20;

thread_local! {
    /// Where packets are read into: one for each thread, not for each socket, of which there are
    /// thousands.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; LONGEST].into_boxed_slice());
}

/// The socket of an import's port.
#[derive(Debug)]
pub struct ImportSocket {
    socket: UdpSocket,
}

/// The sender of a packet, to whom its reply goes.
#[derive(Clone, Debug)]
pub struct Sender {
    /// As the kernel has it: an IPv4 client of an IPv6 socket is mapped.
    raw: SockAddr,
    client: SocketAddr,
}

// === impl ImportSocket ===

impl ImportSocket {
    /// Listens; must be called within the runtime on which packets are carried.
    ///
    /// # Errors
    /// If the port cannot be had.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        if address.is_ipv6() {
            // A specific address takes no IPv4 anyway.
            socket.set_only_v6(false)?;
        }
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(Self {
            socket: UdpSocket::from_std(socket.into())?,
        })
    }

    /// Waits for packets and gives as many as have come to `handle`, at most `most`.
    ///
    /// # Errors
    /// What the system says; the next call may succeed.
    pub async fn receive(
        &self,
        most: usize,
        mut handle: impl FnMut(&Sender, &[u8]),
    ) -> io::Result<()> {
        self.socket.readable().await?;
        let received = BUFFER.with_borrow_mut(|buffer| {
            for _ in 0..most {
                let (length, address) = self.socket.try_recv_from(buffer)?;
                handle(&Sender::from(address), &buffer[..length]);
            }
            Ok(())
        });
        received.or_else(nothing_left)
    }

    /// Answers a client, or fails: it does not wait.
    ///
    /// # Errors
    /// What the system says: it may have no room for it now.
    pub fn send(&self, client: &Sender, payload: &[u8]) -> io::Result<()> {
        let sent = SockRef::from(&self.socket).send_to(payload, &client.raw);
        sent.map(drop)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

// === impl Sender ===

impl Sender {
    /// The client's address and port.
    #[must_use]
    pub fn client(&self) -> SocketAddr {
        self.client
    }
}

impl From<SocketAddr> for Sender {
    fn from(address: SocketAddr) -> Self {
        Self {
            raw: address.into(),
            client: SocketAddr::new(address.ip().to_canonical(), address.port()),
        }
    }
}

/// Reads what has come for `socket`, at most `most` packets, while `handle` takes more.
///
/// # Errors
/// What the system says.
pub fn drain(
    socket: &UdpSocket,
    most: usize,
    mut handle: impl FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    let drained = BUFFER.with_borrow_mut(|buffer| {
        for _ in 0..most {
            let length = socket.try_recv(buffer)?;
            if !handle(&buffer[..length]) {
                break;
            }
        }
        Ok(())
    });
    drained.or_else(nothing_left)
}

fn nothing_left(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::WouldBlock {
        return Ok(());
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_is_answered_from_the_address_that_it_asked() {
        for (listen, any) in [("127.7.7.7:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")] {
            let socket = ImportSocket::bind(listen.parse().unwrap()).unwrap();
            // Connected, so that it hears nobody else.
            let client = UdpSocket::bind(any).await.unwrap();
            client.connect(socket.local_addr().unwrap()).await.unwrap();

            client.send(b"question").await.unwrap();
            let (from, question) = receive_one(&socket).await;
            socket.send(&from, b"answer").unwrap();

            assert_eq!(question, b"question");
            assert_eq!(from.client(), client.local_addr().unwrap());
            let mut answer = [0; 16];
            let length = client.recv(&mut answer).await.unwrap();
            assert_eq!(&answer[..length], b"answer");
        }
    }

    #[tokio::test]
    async fn an_ipv4_client_of_an_ipv6_socket_is_known_by_its_ipv4_address() {
        let socket = ImportSocket::bind("[::]:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();

        client.send_to(b"hello", ("127.0.0.1", port)).await.unwrap();

        let (from, _) = receive_one(&socket).await;
        assert_eq!(from.client(), client.local_addr().unwrap());
        socket.send(&from, b"hello").unwrap();
    }

    #[tokio::test]
    async fn the_longest_packet_is_received_whole() {
        let socket = ImportSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let longest = vec![7; 65_507];

        client
            .send_to(&longest, socket.local_addr().unwrap())
            .await
            .unwrap();

        assert_eq!(receive_one(&socket).await.1.len(), 65_507);
    }

    async fn receive_one(socket: &ImportSocket) -> (Sender, Vec<u8>) {
        let mut came = None;
        while came.is_none() {
            let heard =
                |from: &Sender, payload: &[u8]| came = Some((from.clone(), payload.to_vec()));
            socket.receive(1, heard).await.unwrap();
        }
        came.unwrap()
    }
}
