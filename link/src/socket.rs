//! UDP sockets with buffers for bursts.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// 16 ms at 4 Gbit/s: what arrives while the gateway is not scheduled must not count as loss.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;
/// 16 ms at 1 Gbit/s; a full one only makes the sender wait.
const SEND_BUFFER: usize = 2 * 1024 * 1024;

/// The socket to listen on. An unspecified IPv6 address takes IPv4 too; where there is no IPv6,
/// IPv4 alone.
pub(crate) fn listen(address: SocketAddr) -> io::Result<UdpSocket> {
    let bound = match bind(address) {
        Err(_) if address.ip() == Ipv6Addr::UNSPECIFIED => {
            bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        bound => bound,
    };
    let socket = bound?;
    warn_of_small_buffers(&socket);
    Ok(socket.into())
}

/// A socket with a port of its own, to dial `remote`.
pub(crate) fn dial(remote: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match remote {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    Ok(bind(any)?.into())
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Asking for more than the node allows is no error: it gives what is allowed.
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn warn_of_small_buffers(socket: &Socket) {
    let buffers = [
        (
            "net.core.rmem_max",
            socket.recv_buffer_size(),
            RECEIVE_BUFFER,
        ),
        ("net.core.wmem_max", socket.send_buffer_size(), SEND_BUFFER),
    ];
    for (sysctl, granted, wanted) in buffers {
        // The kernel reports twice what it grants, for its own bookkeeping (socket(7)).
        let Ok(granted) = granted.map(|granted| granted / 2) else {
            continue;
        };
        if granted < wanted {
            tracing::warn!(
                sysctl,
                granted,
                wanted,
                "the node limits UDP buffers: bursts will be lost; raise the sysctl on the node"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_takes_ipv4_too() {
        let listener = listen((Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let dialler = dial((Ipv4Addr::LOCALHOST, port).into()).unwrap();

        dialler
            .send_to(b"hello", (Ipv4Addr::LOCALHOST, port))
            .unwrap();

        let mut buffer = [0; 16];
        let (length, _) = listener.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"hello");
    }

    #[test]
    fn each_dial_has_a_port_of_its_own() {
        let remote = (Ipv4Addr::LOCALHOST, 7843).into();

        let ports = [(); 2].map(|()| dial(remote).unwrap().local_addr().unwrap().port());

        assert_ne!(ports[0], ports[1]);
    }
}
