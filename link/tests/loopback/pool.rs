//! Which replicas are linked, and what becomes of connections when one goes.

use std::net::SocketAddr;
use std::time::Duration;

use tombolo_link::{Event, LinkStream, PeerConfig};

use crate::cluster::{Cluster, Gateway, connect, eventually, exchange, patiently, read_all};
use crate::relay::Relay;

#[tokio::test(flavor = "multi_thread")]
async fn a_dialler_reaches_every_replica_behind_a_load_balancer() {
    let net = Net::new().await;

    let replicas = net.west.replicas("east", 2).await;

    assert_eq!(replicas, ["east-1", "east-2"]);
    // Without knowing how many there are, two are looked for all the same.
    for gateway in &net.east {
        gateway.connected("west").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_side_that_cannot_dial_opens_streams_through_every_replica_that_dialled() {
    let net = Net::new().await;
    let other = net.west_cluster.gateway("west-2");
    other.links.set_peers(vec![net.east_peer()]);
    net.west.replicas("east", 2).await;
    other.replicas("east", 2).await;

    let dialled = &net.east[0];
    assert_eq!(dialled.replicas("west", 2).await, ["west-1", "west-2"]);
    let links = dialled.links.clone();
    let (_west, _echo) = net.west.echo();
    let (_other, _other_echo) = other.echo();
    let mut reached = Vec::new();
    let mut held = Vec::new();
    for _ in 0..2 {
        let stream = links.open("west", &connect()).await.unwrap();
        reached.push(stream.replica.to_string());
        held.push(stream);
    }
    reached.sort();
    assert_eq!(reached, ["west-1", "west-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_to_one_replica_only_has_one_connection() {
    let net = Net::new().await;
    net.west.replicas("east", 2).await;

    net.relay.silence(net.east[1].address());
    net.west.replicas("east", 1).await;
    // More dials land on the first replica, or in the silence.
    net.west.counted(Event::Dial, "TimedOut").await;

    let connections = net.west.links.connections();
    assert_eq!(connections.len(), 1, "{connections:?}");
    assert!(connections[0].dialled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_replica_is_found_dead_and_the_other_one_serves() {
    let mut net = Net::new().await;
    net.west.replicas("east", 2).await;
    net.relay.silence(net.east[0].address());

    let links = net.west.links.clone();
    let opening = tokio::spawn(async move {
        // Of two tries at least one begins at the silent replica.
        let first = links.open("east", &connect()).await.unwrap();
        let second = links.open("east", &connect()).await.unwrap();
        [first, second].map(|stream| stream.replica.to_string())
    });
    let alive = net.east.remove(1);
    let (_alive, _echo) = alive.echo();

    assert_eq!(patiently(opening).await.unwrap(), ["east-2", "east-2"]);
    for waited in ["Lost", "AnswerTimeout"] {
        let count = net.west.count(Event::StreamOut, waited);
        assert_eq!(count, 0, "nobody waited for the end of the connection");
    }
    assert_eq!(net.west.replicas("east", 1).await, ["east-2"]);
    assert_eq!(net.west.count(Event::ConnectionClosed, "Unresponsive"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_replica_is_killed_connections_open_through_the_other() {
    let net = Net::new().await;
    let doomed = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let cluster = Cluster::new("north");
    let killed = {
        let _inside = doomed.enter();
        cluster.gateway("north-killed")
    };
    let alive = cluster.gateway("north-alive");
    for gateway in [&killed, &alive] {
        gateway
            .links
            .set_peers(vec![net.west_cluster.peer(&[net.west.address()])]);
    }
    net.west.links.set_peers(vec![cluster.peer(&[])]);
    net.west.replicas("north", 2).await;
    let (_alive, _echo) = alive.echo();

    // Its tasks are dropped where they are: nothing is said to anybody.
    doomed.shutdown_background();

    for _ in 0..4 {
        let stream = patiently(net.west.links.open("north", &connect()))
            .await
            .unwrap();
        assert_eq!(stream.replica.as_ref(), "north-alive");
        assert_eq!(exchange(stream, "still there").await, "still there");
    }
    drop(killed);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_a_replica_was_killed_the_network_tells_either_side() {
    for killed_dials in [true, false] {
        let (east, west) = (Cluster::new("east"), Cluster::new("west"));
        let alive = west.gateway("west-1");
        let doomed = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let killed = {
            let _inside = doomed.enter();
            east.gateway("east-1")
        };
        let (at_alive, at_killed) = ([alive.address()], [killed.address()]);
        let (dials, is_dialled) = match killed_dials {
            true => (west.peer(&at_alive), east.peer(&[])),
            false => (west.peer(&[]), east.peer(&at_killed)),
        };
        killed.links.set_peers(vec![dials]);
        alive.links.set_peers(vec![is_dialled]);
        alive.connected("east").await;

        // Its tasks end, and then its sockets: nothing is said to anybody.
        let stop = move || doomed.shutdown_timeout(Duration::from_secs(10));
        tokio::task::spawn_blocking(stop).await.unwrap();
        drop(killed);

        alive.counted(Event::ConnectionClosed, "Unreachable").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_new_is_opened_through_a_replica_that_drains() {
    let mut net = Net::new().await;
    net.west.replicas("east", 2).await;
    let draining = net.east.remove(0);
    let links = draining.links.clone();
    let (_draining, _draining_echo) = draining.echo();
    let (_other, _other_echo) = net.east.remove(0).echo();
    let mut before = stream_to(&net.west, "east-1").await;

    links.drain();
    assert_eq!(net.west.replicas("east", 1).await, ["east-2"]);

    for _ in 0..4 {
        let stream = net.west.links.open("east", &connect()).await.unwrap();
        assert_eq!(stream.replica.as_ref(), "east-2");
    }
    before.send.write_chunk("goes on".into()).await.unwrap();
    before.send.finish();
    assert_eq!(read_all(&mut before).await, "goes on");
    // And the other way its own clients are still served.
    let (_west, _west_echo) = net.west.echo();
    let outward = links.open("west", &connect()).await.unwrap();
    assert_eq!(exchange(outward, "outward").await, "outward");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_replica_takes_no_connection() {
    let east = Cluster::new("east");
    let west = Cluster::new("west");
    let in_east = east.gateway("east-1");
    let in_west = west.gateway("west-1");
    in_east.links.set_peers(vec![west.peer(&[])]);
    in_east.links.drain();

    in_west
        .links
        .set_peers(vec![east.peer(&[in_east.address()])]);

    let link = in_west
        .until("east", |link| link.last_error.is_some())
        .await;
    assert_eq!(link.last_error.unwrap().reason, "Refused");
    assert!(in_east.count(Event::Accept, "Draining") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_tells_the_peers() {
    let (in_east, in_west, _) = pair().await;

    patiently(in_east.links.close()).await;

    let link = in_west
        .until("east", |link| {
            !link.is_connected() && link.last_error.is_some()
        })
        .await;
    assert_eq!(in_west.count(Event::ConnectionClosed, "Shutdown"), 1);
    assert!(link.dialable);
    let error = in_east.links.open("west", &connect()).await.unwrap_err();
    assert_eq!(error.reason(), "NotConnected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_replica_of_the_same_name_is_linked_again() {
    let (in_east, in_west, [east, west]) = pair().await;
    let address = in_east.address();
    patiently(in_east.links.close()).await;
    drop(in_east);
    in_west.until("east", |link| !link.is_connected()).await;

    let again = loop {
        // The port is free once the old endpoint's last task is gone.
        let certificate = east.issue();
        let started = std::panic::AssertUnwindSafe(|| {
            east.gateway_with("east-1", &certificate, |config| config.listen = address)
        });
        match std::panic::catch_unwind(started) {
            Ok(gateway) => break gateway,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    again.links.set_peers(vec![west.peer(&[])]);

    in_west.connected("east").await;
    again.connected("west").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_peers_connections_are_closed_with_that_word() {
    let (in_east, in_west, _) = pair().await;

    in_east.links.set_peers(Vec::new());

    in_west
        .counted(Event::ConnectionClosed, "PeerRemoved")
        .await;
    let link = in_west
        .until("east", |link| {
            link.last_error
                .as_ref()
                .is_some_and(|error| error.reason == "RefusedByPeer")
        })
        .await;
    assert!(!link.is_connected());
    assert!(in_east.links.status().borrow().is_empty());
    let error = in_east.links.open("west", &connect()).await.unwrap_err();
    assert_eq!(error.reason(), "UnknownCluster");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_ca_ends_the_connections_that_the_old_one_vouched_for() {
    let (in_east, in_west, [_, west]) = pair().await;
    let renewed = Cluster::new("west");
    let both = format!(
        "{}{}",
        west.ca.certificate_pem(),
        renewed.ca.certificate_pem()
    );
    let peer = |pem: &str| PeerConfig {
        cluster: "west".to_owned(),
        addresses: Vec::new(),
        bundle: tombolo_link::CaBundle::parse(pem).unwrap(),
    };

    in_east.links.set_peers(vec![peer(&both)]);
    let (in_east, _echo) = in_east.echo();
    let stream = in_west.links.open("east", &connect()).await.unwrap();
    assert_eq!(exchange(stream, "both").await, "both");
    assert_eq!(in_west.count(Event::ConnectionClosed, "TrustChanged"), 0);
    in_east.set_peers(vec![peer(renewed.ca.certificate_pem())]);

    in_west
        .counted(Event::ConnectionClosed, "TrustChanged")
        .await;
    in_west.until("east", |link| !link.is_connected()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_does_not_resolve_is_told_in_the_resolvers_words() {
    let east = Cluster::new("east");
    let in_west = Cluster::new("west").gateway("west-1");
    let mut peer = east.peer(&[]);
    peer.addresses = vec!["nowhere.invalid:7843".to_owned()];

    in_west.links.set_peers(vec![peer]);

    let link = in_west
        .until("east", |link| link.last_error.is_some())
        .await;
    let error = link.last_error.unwrap();
    assert_eq!(error.reason, "Unresolvable");
    assert!(
        error
            .message
            .starts_with("cannot resolve nowhere.invalid:7843: "),
        "{}",
        error.message
    );
    assert!(link.dialable);
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_come_and_change_while_others_go_on() {
    let (in_east, in_west, [east, west]) = pair().await;
    let north = Cluster::new("north");
    let in_north = north.gateway("north-1");
    in_north.links.set_peers(vec![west.peer(&[])]);

    in_west.links.set_peers(vec![
        east.peer(&[in_east.address()]),
        north.peer(&[in_north.address()]),
    ]);
    in_west.connected("north").await;

    let (_in_east, _echo) = in_east.echo();
    let stream = in_west.links.open("east", &connect()).await.unwrap();
    assert_eq!(exchange(stream, "as before").await, "as before");
    assert_eq!(in_west.links.connections().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_answered_and_measured() {
    let (_in_east, in_west, _) = pair().await;

    let measured = || in_west.links.connections().iter().any(|c| c.ping.is_some());
    eventually("a measured ping", measured, || in_west.links.connections()).await;

    let connections = in_west.links.connections();
    assert_eq!(connections[0].cluster.as_ref(), "east");
    assert_eq!(connections[0].streams, 0);
    assert!(connections[0].sent_packets > 0);
}

/// East with two replicas behind a load balancer, west with one that dials it.
struct Net {
    east_cluster: Cluster,
    west_cluster: Cluster,
    east: Vec<Gateway>,
    west: Gateway,
    relay: Relay,
}

impl Net {
    async fn new() -> Self {
        let east_cluster = Cluster::new("east");
        let west_cluster = Cluster::new("west");
        let east: Vec<Gateway> = ["east-1", "east-2"]
            .map(|replica| east_cluster.gateway(replica))
            .into();
        for gateway in &east {
            gateway.siblings.send_replace(2);
            gateway.links.set_peers(vec![west_cluster.peer(&[])]);
        }
        let relay = Relay::new(east.iter().map(Gateway::address).collect()).await;
        let west = west_cluster.gateway("west-1");
        let net = Self {
            east_cluster,
            west_cluster,
            east,
            west,
            relay,
        };
        net.west.links.set_peers(vec![net.east_peer()]);
        net
    }

    fn east_peer(&self) -> PeerConfig {
        self.east_cluster.peer(&[self.relay.address()])
    }
}

/// A gateway in each of east and west; west dials.
async fn pair() -> (Gateway, Gateway, [Cluster; 2]) {
    let east = Cluster::new("east");
    let west = Cluster::new("west");
    let in_east = east.gateway("east-1");
    let in_west = west.gateway("west-1");
    let address: SocketAddr = in_east.address();
    in_east.links.set_peers(vec![west.peer(&[])]);
    in_west.links.set_peers(vec![east.peer(&[address])]);
    in_west.connected("east").await;
    in_east.connected("west").await;
    (in_east, in_west, [east, west])
}

/// A stream through this very replica.
async fn stream_to(gateway: &Gateway, replica: &str) -> LinkStream {
    loop {
        let stream = gateway.links.open("east", &connect()).await.unwrap();
        if &*stream.replica == replica {
            return stream;
        }
    }
}
