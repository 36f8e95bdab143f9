//! Addresses of which the network says that nobody is there (ICMP).
//!
//! The kernel passes on what it hears of a socket's packets if it is asked to (`IP_RECVERR`, ip(7)): a
//! process that was killed is known by the next packet that is sent to it. Anybody can forge such
//! a message who guesses two addresses and two ports, so it raises a question and decides nothing.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn6, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::broadcast;

/// Messages that a connection's task may be behind. What it misses it hears again with the next
/// packet.
const BEHIND: usize = 64;

/// Tells whoever asks which packets did not arrive. Clones tell the same.
#[derive(Clone, Debug)]
pub(crate) struct Unreachable {
    told: broadcast::Sender<Route>,
}

/// From where to where nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    port: u16,
    remote: SocketAddr,
}

/// What is heard of one's packets.
pub(crate) type Hearing = broadcast::Receiver<Route>;

// === impl Route ===

impl Route {
    /// From this port of the host.
    pub(crate) fn new(port: u16, remote: SocketAddr) -> Self {
        // A socket that takes both families writes IPv4 as IPv6.
        let ip = remote.ip().to_canonical();
        let remote = SocketAddr::new(ip, remote.port());
        Self { port, remote }
    }
}

// === impl Unreachable ===

impl Unreachable {
    pub(crate) fn hearing(&self) -> Hearing {
        self.told.subscribe()
    }

    /// Tells what the kernel hears of the packets of a socket that was [asked](ask), for good.
    pub(crate) async fn hear(self, socket: Arc<UdpSocket>) {
        let Ok(port) = socket.local_addr().map(|own| own.port()) else {
            return;
        };
        // The errors of a socket are no readiness of tokio's UdpSocket.
        while socket.ready(Interest::ERROR).await.is_ok() {
            let drained = socket.try_io(Interest::ERROR, || {
                loop {
                    if let Some(remote) = next(&socket)? {
                        // Nobody listens as long as there is no connection.
                        let _ = self.told.send(Route::new(port, remote));
                    }
                }
            });
            let _: io::Result<()> = drained;
        }
    }
}

impl Default for Unreachable {
    fn default() -> Self {
        let (told, _) = broadcast::channel(BEHIND);
        Self { told }
    }
}

/// Asks the kernel to keep what ICMP says of this socket's packets.
pub(crate) fn ask(socket: &std::net::UdpSocket) -> io::Result<()> {
    // A socket of IPv6 may send to IPv4, too.
    setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
    if socket.local_addr()?.is_ipv6() {
        setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
    }
    Ok(())
}

/// Takes the next message that the kernel keeps; the address if it says that nobody is there.
///
/// # Errors
/// `WouldBlock` if there is none.
fn next(socket: &UdpSocket) -> io::Result<Option<SocketAddr>> {
    let mut packet = [0];
    let mut packet = [IoSliceMut::new(&mut packet)];
    // quinn asks for each packet's address and traffic class, which come first.
    let mut space = nix::cmsg_space!(
        libc::in6_pktinfo,
        libc::c_int,
        libc::sock_extended_err,
        libc::sockaddr_in6
    );
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let fd = socket.as_raw_fd();
    let message = recvmsg::<SockaddrStorage>(fd, &mut packet, Some(&mut space), flags)?;
    let unreachable = message.cmsgs()?.any(|control| {
        use ControlMessageOwned::{Ipv4RecvErr, Ipv6RecvErr};
        matches!(control, Ipv4RecvErr(error, _) | Ipv6RecvErr(error, _) if is_unreachable(&error))
    });
    let remote = message.address.as_ref().and_then(address);
    Ok(remote.filter(|_| unreachable))
}

fn is_unreachable(error: &libc::sock_extended_err) -> bool {
    let is_of_icmp = matches!(
        error.ee_origin,
        libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6
    );
    // A packet that is too large for the path is MTU discovery's business.
    let too_large = i32::try_from(error.ee_errno) == Ok(Errno::EMSGSIZE as i32);
    is_of_icmp && !too_large
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddrV4::from(*v4));
    let v6 = |v6: &SockaddrIn6| SocketAddrV6::from(*v6);
    v4.map(SocketAddr::from)
        .or_else(|| storage.as_sockaddr_in6().map(v6).map(SocketAddr::from))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use quinn::udp::UdpSocketState;

    use super::*;

    async fn heard(from: SocketAddr, to: SocketAddr) {
        let gone = std::net::UdpSocket::bind(to).unwrap();
        let to = gone.local_addr().unwrap();
        drop(gone);
        let socket = std::net::UdpSocket::bind(from).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _as_quinn_sets_it = UdpSocketState::new((&socket).into()).unwrap();
        ask(&socket).unwrap();
        let socket = Arc::new(UdpSocket::from_std(socket).unwrap());
        let unreachable = Unreachable::default();
        let mut hearing = unreachable.hearing();
        let hears = tokio::spawn(unreachable.hear(Arc::clone(&socket)));

        // The first may be answered before anybody listens.
        for _ in 0..3 {
            // The second tells of the first, and sends nothing.
            let _ = socket.send_to(b"anybody?", mapped(to, from)).await;
        }

        let port = socket.local_addr().unwrap().port();
        assert_eq!(hearing.recv().await, Ok(Route::new(port, to)));
        hears.abort();
    }

    fn mapped(to: SocketAddr, from: SocketAddr) -> SocketAddr {
        match to {
            SocketAddr::V4(v4) if from.is_ipv6() => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            SocketAddr::V4(_) | SocketAddr::V6(_) => to,
        }
    }

    #[tokio::test]
    async fn who_is_not_there_is_told_by_both_families() {
        let v4: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let v6: SocketAddr = (Ipv6Addr::LOCALHOST, 0).into();
        let any: SocketAddr = (Ipv6Addr::UNSPECIFIED, 0).into();

        heard(v4, v4).await;
        heard(v6, v6).await;
        heard(any, v4).await;
        heard(any, v6).await;
    }

    #[test]
    fn a_packet_too_large_for_the_path_is_no_such_message() {
        let mut error = libc::sock_extended_err {
            ee_errno: Errno::EMSGSIZE as u32,
            ee_origin: libc::SO_EE_ORIGIN_ICMP,
            ee_type: 3,
            ee_code: 4,
            ee_pad: 0,
            ee_info: 1400,
            ee_data: 0,
        };
        assert!(!is_unreachable(&error));

        error.ee_errno = Errno::ECONNREFUSED as u32;
        assert!(is_unreachable(&error));
        error.ee_origin = libc::SO_EE_ORIGIN_LOCAL;
        assert!(!is_unreachable(&error));
    }
}
