//! TCP in the place of UDP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tombolo_link::{
    Carrier, CatalogEvent, CatalogSnapshot, Connect, Event, LinkConfig, PeerLink, Protocol,
};

use crate::cluster::{Cluster, Gateway, connect, exchange, patiently, read_all};
use crate::front::{Front, serve};

/// More than UDP over Ethernet carries, less than a tunnel's packet.
const LONG_PAYLOAD: usize = 9_000;

#[tokio::test(flavor = "multi_thread")]
async fn where_udp_is_blocked_tcp_carries_streams_datagrams_and_catalogs_both_ways() {
    let before = SystemTime::now();
    let (mut east, west, _front) = blocked().await;
    let link = west.connected("east").await;
    let there = east.connected("west").await;
    assert!(link.is_over_tcp() && there.is_over_tcp());
    assert_eq!(link.replicas["east-1"].carrier, Carrier::Tcp);
    assert!(link.unanswered_since.is_some_and(|since| since > before));
    let stats = &west.links.connections()[0];
    assert!(stats.mtu > 10_000, "{stats:?}");

    let snapshot = CatalogSnapshot {
        revision: 7,
        ..CatalogSnapshot::default()
    };
    east.catalog.send_replace(Some(Arc::new(snapshot)));
    let told = patiently(west.links.catalog("east").next()).await.unwrap();
    assert!(
        matches!(&told, CatalogEvent::Snapshot(update) if update.revision == 7),
        "{told:?}"
    );

    let udp = Connect {
        protocol: Protocol::Udp,
        ..connect()
    };
    let links = west.links.clone();
    let opening = tokio::spawn(async move { links.open("east", &udp).await.unwrap() });
    let (sender, mut arrives) = mpsc::unbounded_channel();
    let deliver = move |payload: &[u8]| {
        let _ = sender.send(payload.len());
    };
    let responder = east.next_incoming().await.responder;
    let _there = responder.opened_flow(Arc::new(deliver)).await.unwrap();
    let flow = patiently(opening).await.unwrap();
    let flow = flow.into_flow(Arc::new(|_: &[u8]| {}));
    flow.sender.send(&[7; LONG_PAYLOAD]).unwrap();
    assert_eq!(patiently(arrives.recv()).await, Some(LONG_PAYLOAD));

    let (at_east, at_west) = (east.links.clone(), west.links.clone());
    let (_east, _echo) = east.echo();
    let (_west, _other_echo) = west.echo();
    for _ in 0..20 {
        let there = at_west.open("east", &connect()).await.unwrap();
        let back = at_east.open("west", &connect()).await.unwrap();
        assert_eq!(exchange(there, "there").await, "there");
        assert_eq!(exchange(back, "back").await, "back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_crosses_a_tunnel_whole() {
    const CHUNK: usize = 64 * 1024;
    // More than flow control lets through at once.
    const CHUNKS: usize = 96;
    let (east, west, _front) = blocked().await;
    west.connected("east").await;
    let links = west.links.clone();
    let (_east, _echo) = east.echo();

    let mut stream = links.open("east", &connect()).await.unwrap();
    let sending = async {
        for number in 0..CHUNKS {
            let chunk = vec![number.to_le_bytes()[0]; CHUNK];
            stream.send.write_chunk(chunk.into()).await.unwrap();
        }
        stream.send.finish();
    };
    let receiving = async {
        let mut received = Vec::new();
        while let Some(chunk) = stream.recv.read_chunk(CHUNK).await.unwrap() {
            received.extend_from_slice(&chunk);
        }
        received
    };

    let (received, ()) = patiently(async { tokio::join!(receiving, sending) }).await;
    assert_eq!(received.len(), CHUNK * CHUNKS);
    for (number, chunk) in received.chunks(CHUNK).enumerate() {
        assert!(chunk == vec![number.to_le_bytes()[0]; CHUNK], "{number}");
    }
    let connections = links.connections();
    assert_eq!(connections[0].lost_packets, 0, "{connections:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_udp_answers_again_what_is_new_goes_there_and_nothing_is_cut() {
    let (east, west, front) = blocked().await;
    west.until("east", PeerLink::is_over_tcp).await;
    let (_east, _echo) = east.echo();
    let mut long = west.links.open("east", &connect()).await.unwrap();

    front.unblock_udp();
    let over_udp = |link: &PeerLink| link.is_connected() && !link.is_over_tcp();
    let link = west.until("east", over_udp).await;
    assert_eq!(link.unanswered_since, None);
    let new = west.links.open("east", &connect()).await.unwrap();
    assert_eq!(exchange(new, "new").await, "new");
    // Once UDP has proven good, the tunnel goes as soon as it is not needed, and not before.
    west.until("east", |link| link.replicas["east-1"].connections == 1)
        .await;
    assert_eq!(west.count(Event::ConnectionClosed, "Superseded"), 0);
    long.send.write_chunk("goes on".into()).await.unwrap();
    long.send.finish();
    assert_eq!(read_all(&mut long).await, "goes on");
    drop(long);
    west.counted(Event::ConnectionClosed, "Superseded").await;
    assert!(over_udp(&west.connected("east").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_udp_is_blocked_under_a_link_tcp_takes_over() {
    let (east, west, front) = linked(|_| {}).await;
    assert!(!west.connected("east").await.is_over_tcp());
    let (_east, _echo) = east.echo();

    front.block_udp();

    west.until("east", PeerLink::is_over_tcp).await;
    let stream = west.links.open("east", &connect()).await.unwrap();
    assert_eq!(exchange(stream, "over TCP").await, "over TCP");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_is_cut_ends_its_connection_at_once_and_is_dialled_again() {
    let (east, west, front) = blocked().await;
    west.connected("east").await;
    east.connected("west").await;
    let at_east = east.links.clone();
    let (_echoing, _echo) = east.echo();
    let mut stream = west.links.open("east", &connect()).await.unwrap();

    front.cut_tcp();

    patiently(stream.recv.read_chunk(1)).await.unwrap_err();
    west.counted(Event::ConnectionClosed, "TunnelLost").await;
    assert_eq!(west.count(Event::ConnectionClosed, "Unresponsive"), 0);
    west.connected("east").await;
    let stream = west.links.open("east", &connect()).await.unwrap();
    assert_eq!(exchange(stream, "again").await, "again");
    let closed = at_east.counts().into_iter();
    let closed = closed.filter(|count| count.event == Event::ConnectionClosed);
    let reasons: Vec<_> = closed.map(|count| count.reason).collect();
    assert_eq!(reasons, ["TunnelLost"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_closes_says_so_through_the_tunnel() {
    let (east, west, _front) = blocked().await;
    west.connected("east").await;

    east.links.drain();
    west.until("east", |link| !link.is_connected()).await;
    patiently(east.links.close()).await;

    west.counted(Event::ConnectionClosed, "Shutdown").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_needs_the_right_ca_on_both_sides() {
    let (east, west) = (Cluster::new("east"), Cluster::new("west"));
    let impostor = Cluster::new("west");
    let gateway = east.gateway("east-1");
    gateway.links.set_peers(vec![west.peer(&[])]);
    let front = Front::blocked(&gateway.links).await;
    let of_impostor = impostor.gateway("west-1");
    of_impostor
        .links
        .set_peers(vec![east.peer(&[front.address()])]);

    gateway.counted(Event::TunnelAccept, "BadChain").await;

    let mistaken = west.gateway("west-2");
    let another_east = Cluster::new("east");
    mistaken
        .links
        .set_peers(vec![another_east.peer(&[front.address()])]);
    mistaken.counted(Event::TunnelDial, "BadChain").await;
    for links in [&gateway.links, &of_impostor.links, &mistaken.links] {
        assert_eq!(links.connections().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_at_the_tcp_port_hold_no_place() {
    const PLACES: usize = 4;
    let (east, west, front) = linked(|config| config.max_handshakes = PLACES).await;
    front.block_udp();
    let (listener, address) = listener().await;
    tokio::spawn(serve(listener, east.links.clone()));

    drop(TcpStream::connect(address).await.unwrap());
    east.counted(Event::TunnelAccept, "Probe").await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 4096]] {
        let mut stranger = TcpStream::connect(address).await.unwrap();
        stranger.write_all(garbage).await.unwrap();
        closed(&mut stranger).await;
    }
    assert_eq!(east.count(Event::TunnelAccept, "NotTls"), 2);
    // A record of four bytes that are no message of TLS.
    let hello = [22, 3, 1, 0, 4, 0xff, 0, 0, 0];
    let mut stranger = TcpStream::connect(address).await.unwrap();
    stranger.write_all(&hello).await.unwrap();
    closed(&mut stranger).await;
    east.counted(Event::TunnelAccept, "Tls").await;

    let mut silent = Vec::new();
    for number in 0..3 * PLACES {
        let mut stranger = TcpStream::connect(address).await.unwrap();
        if number % 2 == 0 {
            // The beginning of a record, and then nothing.
            stranger.write_all(&[22, 3, 1]).await.unwrap();
        }
        silent.push(stranger);
    }
    east.counted(Event::TunnelAccept, "Displaced").await;
    let (_east, _echo) = east.echo();
    west.until("east", PeerLink::is_over_tcp).await;
    let stream = west.links.open("east", &connect()).await.unwrap();
    assert_eq!(exchange(stream, "as if nothing").await, "as if nothing");
    for stranger in &mut silent {
        closed(stranger).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_answers_both_reasons_are_told() {
    let (east, west) = (Cluster::new("east"), Cluster::new("west"));
    let at_west = west.gateway("west-1");
    let (listener, address) = listener().await;
    drop(listener);

    at_west.links.set_peers(vec![east.peer(&[address])]);

    let both = |link: &PeerLink| {
        let told = link.last_error.as_ref();
        told.is_some_and(|fault| fault.reason == "TimedOut" && fault.message.contains("over TCP: "))
    };
    at_west.until("east", both).await;
    at_west.counted(Event::TunnelDial, "TcpRefused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_fallback_the_port_takes_a_connection_and_closes_it() {
    let (east, west, _front) = linked(|config| config.tcp_fallback = false).await;
    west.connected("east").await;
    let (listener, address) = listener().await;
    tokio::spawn(serve(listener, east.links.clone()));

    let mut checked = TcpStream::connect(address).await.unwrap();

    closed(&mut checked).await;
    assert_eq!(east.count(Event::TunnelAccept, "Probe"), 0);
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Waits until the other side closes.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // It may be reset, too.
    let _ = patiently(stream.read_to_end(&mut rest)).await;
}

/// A gateway in each of east and west; west dials, and UDP is blocked.
async fn blocked() -> (Gateway, Gateway, Front) {
    let (east, west) = (Cluster::new("east"), Cluster::new("west"));
    let (at_east, at_west) = (east.gateway("east-1"), west.gateway("west-1"));
    let front = Front::blocked(&at_east.links).await;
    introduce(&east, &at_east, &west, &at_west, &front);
    (at_east, at_west, front)
}

/// As [`blocked`], but UDP is not, and east is configured so.
async fn linked(configure: impl FnOnce(&mut LinkConfig)) -> (Gateway, Gateway, Front) {
    let (east, west) = (Cluster::new("east"), Cluster::new("west"));
    let at_east = east.gateway_with("east-1", &east.issue(), configure);
    let at_west = west.gateway("west-1");
    let front = Front::new(&at_east.links).await;
    introduce(&east, &at_east, &west, &at_west, &front);
    at_west.connected("east").await;
    (at_east, at_west, front)
}

fn introduce(east: &Cluster, at_east: &Gateway, west: &Cluster, at_west: &Gateway, front: &Front) {
    at_east.siblings.send_replace(1);
    at_east.links.set_peers(vec![west.peer(&[])]);
    at_west.links.set_peers(vec![east.peer(&[front.address()])]);
}
