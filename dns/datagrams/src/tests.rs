use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use super::*;

fn socket(address: impl Into<IpAddr>) -> UdpSocket {
    let socket = UdpSocket::bind((address.into(), 0)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2_048];
    let (octets, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..octets].to_vec(), from)
}

#[test]
fn each_datagram_goes_to_its_own_client() {
    let server = socket(Ipv4Addr::LOCALHOST);
    let clients = [(); 5].map(|()| socket(Ipv4Addr::LOCALHOST));
    let contents: Vec<_> = (0..5).map(|n| vec![n; usize::from(n) * 300]).collect();
    let datagrams = clients
        .iter()
        .zip(&contents)
        .map(|(client, contents)| Datagram {
            contents,
            to: client.local_addr().unwrap(),
            from: None,
        });

    assert_eq!(send(&server, datagrams).unwrap(), 5);

    for (client, contents) in clients.iter().zip(contents) {
        assert_eq!(receive(client), (contents, server.local_addr().unwrap()));
    }
}

#[test]
fn a_datagram_comes_from_the_address_that_it_is_to_come_from() {
    let cases: [(IpAddr, [&str; 2]); 3] = [
        (Ipv4Addr::UNSPECIFIED.into(), ["127.0.0.2", "127.3.2.1"]),
        (Ipv6Addr::UNSPECIFIED.into(), ["::1", "::1"]),
        // As a socket of both families tells it.
        (
            Ipv6Addr::UNSPECIFIED.into(),
            ["::ffff:127.0.0.2", "::ffff:127.3.2.1"],
        ),
    ];
    for (bound, sources) in cases {
        let server = socket(bound);
        let port = server.local_addr().unwrap().port();
        let sources = sources.map(|source| source.parse::<IpAddr>().unwrap());
        let clients = sources.map(|source| match source.to_canonical() {
            IpAddr::V4(_) => socket(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => socket(Ipv6Addr::LOCALHOST),
        });
        let datagrams = sources.iter().zip(&clients).map(|(&source, client)| {
            let to = client.local_addr().unwrap();
            let to = match (source, to.ip()) {
                (IpAddr::V6(_), IpAddr::V4(v4)) => (v4.to_ipv6_mapped(), to.port()).into(),
                _ => to,
            };
            Datagram {
                contents: b"x",
                to,
                from: Some(source),
            }
        });

        assert_eq!(send(&server, datagrams).unwrap(), 2, "{sources:?}");

        for (client, source) in clients.iter().zip(sources) {
            let from = SocketAddr::new(source.to_canonical(), port);
            assert_eq!(receive(client), (b"x".to_vec(), from));
        }
    }
}

#[test]
fn one_that_cannot_be_sent_stops_the_batch_before_it_and_is_told_next() {
    let server = socket(Ipv4Addr::LOCALHOST);
    let client = socket(Ipv4Addr::LOCALHOST);
    let too_long = vec![0; 1 << 16];
    let datagrams = [b"1".as_slice(), b"2", &too_long, b"3"].map(|contents| Datagram {
        contents,
        to: client.local_addr().unwrap(),
        from: None,
    });

    assert_eq!(send(&server, datagrams).unwrap(), 2);
    let error = send(&server, datagrams[2..].iter().copied()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    assert_eq!(send(&server, datagrams[3..].iter().copied()).unwrap(), 1);

    for contents in [b"1", b"2", b"3"] {
        assert_eq!(receive(&client).0, contents);
    }
}

#[test]
fn no_more_than_a_batch_is_sent_at_once() {
    let server = socket(Ipv4Addr::LOCALHOST);
    let client = socket(Ipv4Addr::LOCALHOST);
    let datagram = Datagram {
        contents: b"x",
        to: client.local_addr().unwrap(),
        from: None,
    };

    assert_eq!(send(&server, [datagram; MAX + 1]).unwrap(), MAX);
    assert_eq!(send(&server, []).unwrap(), 0);
}
