//! What strangers and broken peers may send: it ends their own stream or connection, is counted,
//! and touches nobody else.

use std::net::{Ipv4Addr, UdpSocket};

use tombolo_link::{CloseCode, Event, Links, RefusalReason};
use tombolo_link_wire::{Answer, Hello, Preface, limits};

use crate::cluster::{Cluster, Gateway, connect, eventually, exchange};
use crate::relay::Relay;
use crate::stranger::{Stranger, framed, hello};

#[tokio::test(flavor = "multi_thread")]
async fn garbage_replayed_and_oversized_datagrams_do_nothing_to_others() {
    let east = Cluster::new("east");
    let west = Cluster::new("west");
    let in_east = east.gateway("east-1");
    let address = in_east.address();
    in_east.links.set_peers(vec![west.peer(&[])]);
    let relay = Relay::new(vec![address]).await;
    let in_west = west.gateway("west-1");
    in_west.links.set_peers(vec![east.peer(&[relay.address()])]);
    in_west.connected("east").await;
    let (in_east, _echo) = in_east.echo();
    let stream = in_west.links.open("east", &connect()).await.unwrap();

    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    for length in [0, 1, 20, 21, 1200, 1452, 9000, 65_507] {
        for first in [0x00, 0x40, 0xc0, 0xc3, 0xff] {
            let mut datagram: Vec<u8> = (0..length)
                .map(|_| {
                    noise ^= noise << 13;
                    noise ^= noise >> 7;
                    noise ^= noise << 17;
                    noise.to_le_bytes()[0]
                })
                .collect();
            if let Some(byte) = datagram.first_mut() {
                *byte = first;
            }
            socket.send_to(&datagram, address).unwrap();
        }
    }
    assert!(relay.replay().await > 0);
    for reason in ["TooLong", "TooShort", "UnknownVersion", "UnknownConnection"] {
        let counted = || {
            let counts = in_east.counts().into_iter();
            counts
                .filter(|count| count.event == Event::StrayDatagram && count.reason == reason)
                .any(|count| count.value > 0)
        };
        eventually(reason, counted, || in_east.counts()).await;
    }

    assert_eq!(exchange(stream, "as if nothing").await, "as if nothing");
    let again = in_west.links.open("east", &connect()).await.unwrap();
    assert_eq!(exchange(again, "and again").await, "and again");
    let closed = in_east.counts().into_iter();
    let closed = closed.filter(|count| count.event == Event::ConnectionClosed);
    assert_eq!(closed.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialler_without_a_certificate_is_refused() {
    let net = Net::new().await;

    match Stranger::dial_as(net.gateway.address(), None).await {
        // The dialler's side of the handshake ends before the listener's.
        Ok(stranger) => {
            stranger.connection.closed().await;
        }
        Err(error) => drop(error),
    }

    net.gateway.counted(Event::Accept, "Tls").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_hello_closes_that_connection_with_its_code() {
    let net = Net::new().await;
    let (north, _) = &net.clusters;
    let mut of_another_cluster = hello(north, "north-1");
    of_another_cluster.cluster = "east".to_owned();
    let mut too_old = hello(north, "north-1");
    too_old.protocol_version = 0;
    let oversized = u32::try_from(limits::HELLO + 1).unwrap().to_be_bytes();
    let cases: [(Vec<u8>, CloseCode, &str); 5] = [
        (framed(&[0xff; 64]), CloseCode::Malformed, "NotProtobuf"),
        (oversized.to_vec(), CloseCode::Malformed, "FrameTooLarge"),
        (framed(b""), CloseCode::Malformed, "InvalidField"),
        (
            of_another_cluster.encode().to_vec(),
            CloseCode::IdentityMismatch,
            "IdentityMismatch",
        ),
        (
            too_old.encode().to_vec(),
            CloseCode::VersionMismatch,
            "VersionMismatch",
        ),
    ];
    for (bytes, code, reason) in cases {
        let mut stranger = Stranger::dial(north, net.gateway.address()).await;
        stranger.control(bytes).await;
        assert_eq!(stranger.closed().await, code);
        net.gateway.counted(Event::Accept, reason).await;
    }
    net.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialler_that_says_nothing_is_not_waited_for() {
    let net = Net::new().await;
    let (north, _) = &net.clusters;

    let stranger = Stranger::dial(north, net.gateway.address()).await;

    assert_eq!(stranger.closed().await, CloseCode::HelloTimeout);
    net.gateway.counted(Event::Accept, "HelloTimeout").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_diallers_do_not_keep_others_out_for_long() {
    let east = Cluster::new("east");
    let west = Cluster::new("west");
    let in_east = east.gateway_with("east-1", &east.issue(), |config| config.max_handshakes = 1);
    in_east.links.set_peers(vec![west.peer(&[])]);
    let in_west = west.gateway("west-1");
    let _silent = Stranger::dial(&west, in_east.address()).await;

    in_west
        .links
        .set_peers(vec![east.peer(&[in_east.address()])]);

    in_east.counted(Event::Accept, "Overloaded").await;
    in_west.connected("east").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_control_stream_closes_that_connection() {
    let net = Net::new().await;
    let (north, _) = &net.clusters;
    let oversized = u32::try_from(limits::CONTROL + 1).unwrap().to_be_bytes();
    let again = hello(north, "north-1").encode();
    for bytes in [
        framed(b"\xff\xff"),
        framed(b""),
        oversized.to_vec(),
        again.to_vec(),
    ] {
        let mut stranger = Stranger::linked(north, "north-1", net.gateway.address()).await;
        stranger.control(bytes).await;
        assert_eq!(stranger.closed().await, CloseCode::Malformed);
    }
    eventually(
        "four closed connections",
        || net.gateway.count(Event::ConnectionClosed, "Malformed") == 4,
        || net.gateway.links.counts(),
    )
    .await;
    net.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_answer_pings_is_closed() {
    let net = Net::new().await;
    let (north, _) = &net.clusters;

    let stranger = Stranger::linked(north, "north-1", net.gateway.address()).await;

    assert_eq!(stranger.closed().await, CloseCode::Unresponsive);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_preface_is_refused_and_the_connection_goes_on() {
    let net = Net::new().await;
    let (north, _) = &net.clusters;
    let mut stranger = Stranger::linked(north, "north-1", net.gateway.address()).await;
    stranger.answer_pings();
    let mut long_path = connect();
    long_path.path = vec!["c".to_owned(); limits::PATH + 1];
    let mut bad_name = connect();
    bad_name.service.name = "../etc".to_owned();
    let mut no_port = connect();
    no_port.port = 0;
    let oversized = u32::try_from(limits::PREFACE + 1).unwrap().to_be_bytes();
    let preface = |connect| Preface::Connect(Box::new(connect)).encode().to_vec();
    let cases: [(Vec<u8>, RefusalReason); 7] = [
        (framed(&[0x0a, 0xff, 0xff]), RefusalReason::Malformed),
        (framed(b""), RefusalReason::Malformed),
        (vec![0, 0], RefusalReason::Malformed),
        (oversized.to_vec(), RefusalReason::Malformed),
        (preface(bad_name), RefusalReason::Malformed),
        (preface(no_port), RefusalReason::Malformed),
        (preface(long_path), RefusalReason::Loop),
    ];

    for (bytes, reason) in cases {
        match stranger.ask(bytes.clone()).await {
            Some(Answer::Refused(refusal)) => assert_eq!(refusal.reason, reason, "{bytes:?}"),
            other => panic!("{bytes:?}: {other:?}"),
        }
    }

    for reason in ["NotProtobuf", "UnknownKind", "Truncated", "FrameTooLarge"] {
        assert_eq!(net.gateway.count(Event::StreamIn, reason), 1, "{reason}");
    }
    assert!(stranger.connection.close_reason().is_none());
    net.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_a_preface_is_reset_in_the_end() {
    let net = Net::new().await;
    let (north, _) = &net.clusters;
    let mut stranger = Stranger::linked(north, "north-1", net.gateway.address()).await;
    stranger.answer_pings();

    let (mut send, mut recv) = stranger.connection.open_bi().await.unwrap();
    send.write_all(&[0, 0]).await.unwrap();

    let read = crate::cluster::patiently(recv.read(&mut [0; 8])).await;
    assert!(matches!(read, Err(quinn::ReadError::Reset(_))), "{read:?}");
    net.gateway.counted(Event::StreamIn, "PrefaceTimeout").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_is_refused_as_overload() {
    let mut net = Net::new().await;
    let (north, _) = &net.clusters;
    let mut stranger = Stranger::linked(north, "north-1", net.gateway.address()).await;
    stranger.answer_pings();
    net.gateway.incoming.close();

    let preface = Preface::Connect(Box::new(connect())).encode();
    let Some(Answer::Refused(refusal)) = stranger.ask(preface).await else {
        panic!("not refused");
    };

    assert_eq!(refusal.reason, RefusalReason::Draining);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialler_that_finds_a_duplicate_leaves_no_trace() {
    let net = Net::new().await;
    let (north, _) = &net.clusters;
    let mut stranger = Stranger::dial(north, net.gateway.address()).await;
    stranger.control(hello(north, "north-1").encode()).await;

    let code = CloseCode::Duplicate.code().into();
    stranger.connection.close(code, b"");

    net.gateway.counted(Event::Accept, "Duplicate").await;
    assert!(
        net.gateway.links.status().borrow()["north"]
            .replicas
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_cannot_pile_up_connections() {
    let net = Net::new().await;
    let (north, _) = &net.clusters;
    let mut strangers = Vec::new();
    // Twice as many as a replica makes at most, and one.
    for _ in 0..17 {
        let mut stranger = Stranger::linked(north, "north-1", net.gateway.address()).await;
        stranger.answer_pings();
        strangers.push(stranger);
    }

    assert_eq!(strangers[0].closed().await, CloseCode::Superseded);
    assert!(strangers[16].connection.close_reason().is_none());
}

/// A gateway in east whose peers are west, with a gateway, and north, of which strangers come.
struct Net {
    gateway: Gateway,
    west: Links,
    clusters: (Cluster, Cluster),
}

impl Net {
    async fn new() -> Self {
        let east = Cluster::new("east");
        let west = Cluster::new("west");
        let north = Cluster::new("north");
        let gateway = east.gateway("east-1");
        gateway
            .links
            .set_peers(vec![west.peer(&[]), north.peer(&[])]);
        let in_west = west.gateway("west-1");
        in_west
            .links
            .set_peers(vec![east.peer(&[gateway.address()])]);
        in_west.connected("east").await;
        gateway.connected("west").await;
        let (west_links, _echo) = in_west.echo();
        Self {
            gateway,
            west: west_links,
            clusters: (north, west),
        }
    }

    /// West is linked as before, and serves.
    async fn still_works(&self) {
        assert_eq!(self.west.connections().len(), 1);
        let stream = self.gateway.links.open("west", &connect()).await.unwrap();
        assert_eq!(exchange(stream, "as before").await, "as before");
    }
}

#[test]
fn a_hello_is_not_a_control_message() {
    let west = Cluster::new("west");
    let content = hello(&west, "west-1").encode().slice(4..);

    assert!(Hello::decode(content.clone()).is_ok());
    assert!(tombolo_link_wire::Control::decode(content).is_err());
}
