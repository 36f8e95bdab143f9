//! UDP: flows, their packets, and their ends.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_gateway::data_plane::Limits;
use tombolo_gateway::flows::FlowLimits;
use tombolo_gateway::metrics::{Carrier, Direction, DropLabels, Flow, PayloadLabels, ReasonLabels};

use crate::site::{Cluster, Site, fresh_address, link};
use crate::udp_backend::{answer, ask, client, client_at, echo, named, server};

const SOON: Duration = Duration::from_secs(1);

#[tokio::test]
async fn each_client_gets_its_own_answers() {
    let mut sites = Sites::new().await;
    let server = echo().await;
    sites.east.export("dns", &[server.address]);
    let dns = sites.west.import_udp("dns", &["east"]);

    let mut asking = Vec::new();
    for number in 0..100_u8 {
        let client = client(dns).await;
        asking.push(tokio::spawn(async move {
            for round in 0..5 {
                assert_eq!(
                    ask(&client, &[number, round]).await,
                    Some(vec![number, round])
                );
            }
        }));
    }

    for asking in asking {
        asking.await.unwrap();
    }
    assert_eq!(sites.payloads(Flow::Sent, Carrier::Datagram), 500);
    assert_eq!(sites.payloads(Flow::Received, Carrier::Datagram), 500);
    assert_eq!(sites.payloads(Flow::Sent, Carrier::Stream), 0);
}

#[tokio::test]
async fn packets_of_any_length_arrive_whole() {
    let mut sites = Sites::new().await;
    let server = echo().await;
    sites.east.export("dns", &[server.address]);
    let dns = sites.west.import_udp("dns", &["east"]);
    let client = client(dns).await;

    for length in [0, 1, 100, 1100, 1200, 1452, 1500, 9000, 30_000, 65_507] {
        let question: Vec<_> = (0..length).map(|at| (at % 251) as u8).collect();
        let answer = ask(&client, &question).await;
        assert_eq!(
            answer.map(|answer| answer == question),
            Some(true),
            "{length}"
        );
    }

    // Those that exceed every path's MTU here went by the stream, both ways.
    assert!(sites.payloads(Flow::Sent, Carrier::Stream) >= 3);
    assert!(sites.payloads(Flow::Received, Carrier::Stream) >= 3);
    assert!(sites.payloads(Flow::Sent, Carrier::Datagram) >= 3);
}

#[tokio::test]
async fn a_flow_stays_with_its_endpoint_and_others_get_theirs_in_turn() {
    let mut sites = Sites::new().await;
    let servers = [named("a").await, named("b").await];
    let addresses = servers.each_ref().map(|server| server.address);
    sites.east.export("dns", &addresses);
    let dns = sites.west.import_udp("dns", &["east"]);

    let mut said = BTreeSet::new();
    for _ in 0..4 {
        let client = client(dns).await;
        let first = ask(&client, b"who").await.unwrap();
        for _ in 0..3 {
            assert_eq!(ask(&client, b"who").await.unwrap(), first);
        }
        said.insert(first);
    }

    // A socket of its own for each flow: no server takes two clients for one.
    assert_eq!(said.len(), 4);
    let of_a = said.iter().filter(|said| said.starts_with(b"a ")).count();
    assert_eq!(of_a, 2);
}

#[tokio::test]
async fn an_endpoint_that_refuses_packets_is_left_at_the_next() {
    let mut sites = Sites::new().await;
    let (down, up) = (echo().await, echo().await);
    down.stop();
    let gone = down.address;
    tokio::task::yield_now().await;
    sites.east.export("dns", &[gone, up.address]);
    let dns = sites.west.import_udp("dns", &["east"]);
    let client = client(dns).await;

    // As a resolver does, which asks again after a while.
    let mut answered = 0;
    for _ in 0..20 {
        client.send(b"hello").await.unwrap();
        if answer(&client, SOON).await.is_some() {
            answered += 1;
        }
    }

    assert!(answered >= 18, "{answered} of 20");
    assert!(sites.closed(&sites.east, Direction::Inbound, "EndpointGone") <= 1);
    assert!(sites.closed(&sites.west, Direction::Outbound, "EndpointGone") <= 1);
}

#[tokio::test]
async fn an_endpoint_that_leaves_its_service_loses_its_flows() {
    let mut sites = Sites::new().await;
    let (old, new) = (named("old").await, named("new").await);
    sites.east.export("dns", &[old.address, new.address]);
    let dns = sites.west.import_udp("dns", &["east"]);
    let clients = [client(dns).await, client(dns).await];
    let mut said = BTreeSet::new();
    for client in &clients {
        said.insert(ask(client, b"who").await.unwrap());
    }
    assert!(said.iter().any(|said| said.starts_with(b"old ")));

    // It still answers, as whatever has its address next would.
    sites.east.slices("dns", &[new.address]);
    sites.eventually_closed(1, "EndpointGone").await;

    for client in &clients {
        let said = ask(client, b"who").await.unwrap();
        assert!(said.starts_with(b"new "), "{said:?}");
    }
    assert_eq!(
        sites.closed(&sites.west, Direction::Outbound, "EndpointGone"),
        1
    );
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() {
    let mut sites = Sites::new().await;
    let server = echo().await;
    sites.east.export("dns", &[server.address]);
    let dns = sites.west.import_udp("dns", &["east"]);
    let client = client(dns).await;
    assert!(ask(&client, b"hello").await.is_some());

    server.stop();
    while answer_at_once(&client).await.is_some() {}
    let again = tokio::net::UdpSocket::bind(server.address).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = again.recv_from(&mut buffer).await {
            let _ = again.send_to(&buffer[..length], from).await;
        }
    });

    let mut answered = false;
    for _ in 0..30 {
        client.send(b"hello").await.unwrap();
        if answer(&client, SOON).await.is_some() {
            answered = true;
            break;
        }
    }
    assert!(answered);
}

#[tokio::test]
async fn a_lost_link_ends_the_flow_and_the_next_packet_begins_another() {
    let (east, west) = (Cluster::new("east"), Cluster::new("west"));
    let mut replicas = vec![east.start("east-0"), east.start("east-1")];
    let mut at_west = west.start("west-0");
    let server = echo().await;
    for replica in &mut replicas {
        replica.links.set_peers(vec![west.peer(&[])]);
        replica.export("dns", &[server.address]);
    }
    let addresses: Vec<_> = replicas.iter().map(|at| at.links.local_addr()).collect();
    at_west.links.set_peers(vec![east.peer(&addresses)]);
    at_west.linked("east", 2).await;
    let dns = at_west.import_udp("dns", &["east"]);
    let clients = [client(dns).await, client(dns).await];
    for client in &clients {
        assert!(ask(client, b"hello").await.is_some());
    }

    replicas.remove(0).kill();
    at_west.linked("east", 1).await;

    for client in &clients {
        let mut answered = false;
        for _ in 0..10 {
            client.send(b"hello").await.unwrap();
            answered |= answer(client, SOON).await.is_some();
        }
        assert!(answered);
    }
    let labels = ReasonLabels {
        direction: Direction::Outbound,
        reason: "LinkLost",
    };
    assert!(at_west.metrics.flows.closed.get_or_create(&labels).get() >= 1);
}

#[tokio::test]
async fn a_client_has_no_more_flows_than_it_may_and_keeps_the_newest() {
    let limits = Limits {
        flows: FlowLimits {
            per_client: 4,
            in_all: 100,
        },
        ..Limits::for_open_files(65_536)
    };
    let mut sites = Sites::with(limits).await;
    let server = named("a").await;
    sites.east.export("dns", &[server.address]);
    let dns = sites.west.import_udp("dns", &["east"]);
    let (busy, other) = (fresh_address(), client(dns).await);
    let before = ask(&other, b"who").await.unwrap();

    let mut clients = Vec::new();
    for _ in 0..12 {
        let client = client_at(busy.into(), dns).await;
        assert!(ask(&client, b"who").await.is_some());
        clients.push(client);
    }

    sites.eventually_closed(8, "Displaced").await;
    // Nobody else's was touched.
    assert_eq!(ask(&other, b"who").await.unwrap(), before);
    // One that made room begins anew.
    assert!(ask(&clients[0], b"who").await.is_some());
}

#[tokio::test]
async fn packets_that_no_cluster_takes_are_dropped_and_counted() {
    let mut sites = Sites::new().await;
    sites.east.export("dns", &[]);
    let dns = sites.west.import_udp("dns", &["east"]);
    let client = client(dns).await;

    client.send(b"hello").await.unwrap();
    assert_eq!(answer(&client, SOON).await, None);

    let refused = ReasonLabels {
        direction: Direction::Outbound,
        reason: "NoReadyEndpoint",
    };
    let flows = &sites.west.metrics.flows;
    assert_eq!(flows.refused.get_or_create(&refused).get(), 1);
    let dropped = DropLabels {
        flow: Flow::Sent,
        reason: "Refused",
    };
    assert_eq!(flows.dropped.get_or_create(&dropped).get(), 1);
}

#[tokio::test]
async fn a_port_that_is_no_longer_imported_ends_its_flows() {
    let mut sites = Sites::new().await;
    let server = echo().await;
    sites.east.export("dns", &[server.address]);
    let dns = sites.west.import_udp("dns", &["east"]);
    let client = client(dns).await;
    assert!(ask(&client, b"hello").await.is_some());

    sites.west.forget_imports();

    sites.eventually_closed(1, "Displaced").await;
    let finished = async {
        while sites.closed(&sites.east, Direction::Inbound, "Finished") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), finished).await;
    assert!(in_time.is_ok());
}

#[tokio::test]
async fn a_hand_made_slice_gains_nothing_over_udp_either() {
    let mut sites = Sites::new().await;
    let vault = server(|_, _| b"secret".to_vec()).await;
    sites.east.export("dns", &[]);
    sites
        .east
        .pod(vault.address.ip(), |pod| pod.namespace = "bank".to_owned());
    sites.east.slices("dns", &[vault.address]);
    let dns = sites.west.import_udp("dns", &["east"]);
    let client = client(dns).await;

    client.send(b"hello").await.unwrap();

    assert_eq!(answer(&client, SOON).await, None);
    let refused = ReasonLabels {
        direction: Direction::Inbound,
        reason: "EndpointRefused",
    };
    let flows = &sites.east.metrics.flows;
    assert_eq!(flows.refused.get_or_create(&refused).get(), 1);
}

async fn answer_at_once(client: &tokio::net::UdpSocket) -> Option<Vec<u8>> {
    client.send(b"hello").await.unwrap();
    answer(client, Duration::from_millis(200)).await
}

pub(crate) struct Sites {
    pub(crate) east: Site,
    pub(crate) west: Site,
    _clusters: (Cluster, Cluster),
}

// === impl Sites ===

impl Sites {
    pub(crate) async fn new() -> Self {
        Self::with(Limits::for_open_files(65_536)).await
    }

    async fn with(limits: Limits) -> Self {
        let (east, west) = (Cluster::new("east"), Cluster::new("west"));
        let (at_east, at_west) = (east.start("east-0"), west.start_with("west-0", limits));
        link((&west, &at_west), (&east, &at_east)).await;
        Self {
            east: at_east,
            west: at_west,
            _clusters: (east, west),
        }
    }

    /// Payloads that the side of the client has carried.
    fn payloads(&self, flow: Flow, carrier: Carrier) -> u64 {
        let labels = PayloadLabels {
            flow,
            carrier,
            cluster: "east".to_owned(),
        };
        let payloads = &self.west.metrics.flows.payloads;
        payloads.get_or_create(&labels).get()
    }

    fn closed(&self, site: &Site, direction: Direction, reason: &'static str) -> u64 {
        let labels = ReasonLabels { direction, reason };
        site.metrics.flows.closed.get_or_create(&labels).get()
    }

    /// Waits until so many flows of clients have ended so.
    async fn eventually_closed(&self, count: u64, reason: &'static str) {
        let outbound = Direction::Outbound;
        self.west.flows_closed(outbound, reason, count).await;
    }
}
