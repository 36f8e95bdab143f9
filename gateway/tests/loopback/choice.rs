//! Where a connection goes, and where it must not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpSocket;
use tombolo_catalog::ServiceName;
use tombolo_gateway::metrics::Direction;
use tombolo_link::{Connect, OpenError, Protocol, RefusalReason, Source};

use crate::backend::{fetch, named, nobody};
use crate::site::{Cluster, NAMESPACE, PORT, Site, Three, fresh_address, link};

#[tokio::test]
async fn a_client_reaches_every_pod_of_another_cluster() {
    let Pair {
        mut east, mut west, ..
    } = pair().await;
    east.export(
        "web",
        &[named("a").await, named("b").await, named("c").await],
    );
    let web = west.import("web", &["east"]);

    let mut said = BTreeSet::new();
    for _ in 0..30 {
        said.insert(fetch(web).await.unwrap());
    }

    assert_eq!(said, ["a", "b", "c"].map(str::to_owned).into());
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_passed_over() {
    let Pair {
        mut east, mut west, ..
    } = pair().await;
    east.export("web", &[nobody(), named("up").await, nobody()]);
    let web = west.import("web", &["east"]);

    for _ in 0..6 {
        assert_eq!(fetch(web).await.unwrap(), "up");
    }
    assert!(east.metrics.dial_failures.get() > 0);
}

#[tokio::test]
async fn another_cluster_is_asked_when_one_refuses() {
    let Three {
        mut east,
        mut south,
        mut west,
        ..
    } = Three::linked().await;
    east.export("web", &[]);
    south.export("web", &[named("south").await]);
    let web = west.import("web", &["east", "south"]);

    for _ in 0..20 {
        assert_eq!(fetch(web).await.unwrap(), "south");
    }
    assert!(east.refused(Direction::Inbound, "NoReadyEndpoint") > 0);
}

#[tokio::test]
async fn a_client_of_a_service_without_endpoints_is_reset() {
    let Pair {
        mut east, mut west, ..
    } = pair().await;
    east.export("web", &[]);
    let web = west.import("web", &["east"]);

    assert_eq!(
        fetch(web).await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(west.refused(Direction::Outbound, "NoReadyEndpoint"), 1);
}

#[tokio::test]
async fn a_client_is_reset_when_no_cluster_is_linked() {
    let mut west = Cluster::new("west").start("west-0");
    let web = west.import("web", &["east"]);

    assert_eq!(
        fetch(web).await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(west.refused(Direction::Outbound, "NotLinked"), 1);
}

#[tokio::test]
async fn what_is_not_exported_is_refused() {
    let Pair { mut east, west, .. } = pair().await;
    east.export("web", &[named("web").await]);

    let service = west
        .links
        .open("east", &connect("secret", PORT))
        .await
        .unwrap_err();
    let port = west
        .links
        .open("east", &connect("web", 8080))
        .await
        .unwrap_err();
    let protocol = Connect {
        protocol: Protocol::Udp,
        ..connect("web", PORT)
    };
    let protocol = west.links.open("east", &protocol).await.unwrap_err();

    assert_eq!(reason(service), RefusalReason::NotExported);
    assert_eq!(reason(port), RefusalReason::PortNotExported);
    assert_eq!(reason(protocol), RefusalReason::PortNotExported);
}

#[tokio::test]
async fn a_connection_that_passed_this_cluster_before_is_a_loop() {
    let Pair { mut east, west, .. } = pair().await;
    east.export("web", &[named("web").await]);
    let looped = Connect {
        path: vec!["east".to_owned()],
        ..connect("web", PORT)
    };

    let error = west.links.open("east", &looped).await.unwrap_err();

    assert_eq!(reason(error), RefusalReason::Loop);
}

#[tokio::test]
async fn a_hand_made_slice_does_not_make_the_gateway_dial_for_others() {
    let Pair {
        mut east, mut west, ..
    } = pair().await;
    east.export("web", &[]);
    let web = west.import("web", &["east"]);
    let (node, gateway, vault, stranger) = (
        named("node").await,
        named("gateway").await,
        named("vault").await,
        named("x").await,
    );
    east.pod(fresh_address().into(), |pod| {
        pod.node_addresses.push(node.ip())
    });
    east.pod(gateway.ip(), |pod| pod.gateway = true);
    east.pod(vault.ip(), |pod| pod.namespace = "bank".to_owned());
    let own = SocketAddr::from((east.address, PORT));

    for (count, barred) in [node, gateway, vault, stranger, own]
        .into_iter()
        .enumerate()
    {
        east.slices("web", &[barred]);

        assert_eq!(
            fetch(web).await.unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
        let refused = east.refused(Direction::Inbound, "EndpointRefused");
        assert_eq!(refused, count as u64 + 1, "{barred}");
    }
}

#[tokio::test]
async fn the_other_side_hears_which_pod_connects() {
    let (east, west) = (Cluster::new("east"), Cluster::new("west"));
    let mut at_west = west.start("west-0");
    let runtime = tokio::runtime::Handle::current();
    let (links, mut incoming) = east.start_links("east-0", fresh_address().into(), &runtime);
    links.set_peers(vec![west.peer(&[])]);
    at_west
        .links
        .set_peers(vec![east.peer(&[links.local_addr()])]);
    at_west.linked("east", 1).await;
    let web = at_west.import("web", &["east"]);
    let pod = fresh_address();
    at_west.pod(pod.into(), |pod| pod.name = "client-0".to_owned());

    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((pod, 0).into()).unwrap();
    let client = socket.connect(web).await.unwrap();
    let known = incoming.recv().await.unwrap();
    let stranger = tokio::net::TcpStream::connect(web).await.unwrap();
    let unknown = incoming.recv().await.unwrap();

    let source = Source {
        cluster: "west".to_owned(),
        namespace: NAMESPACE.to_owned(),
        pod: "client-0".to_owned(),
        service_account: "default".to_owned(),
        address: Some(client.local_addr().unwrap()),
    };
    assert_eq!(known.connect.source, source);
    assert_eq!(known.connect.service, ServiceName::new(NAMESPACE, "web"));
    let stranger = Source {
        cluster: "west".to_owned(),
        address: Some(stranger.local_addr().unwrap()),
        ..Source::default()
    };
    assert_eq!(unknown.connect.source, stranger);
}

#[tokio::test]
async fn the_other_replica_takes_over_when_one_dies() {
    let (east, west) = (Cluster::new("east"), Cluster::new("west"));
    let mut replicas = vec![east.start("east-0"), east.start("east-1")];
    let mut at_west = west.start("west-0");
    let pod = named("web").await;
    for replica in &mut replicas {
        replica.links.set_peers(vec![west.peer(&[])]);
        replica.export("web", &[pod]);
    }
    let addresses: Vec<_> = replicas
        .iter()
        .map(|replica| replica.links.local_addr())
        .collect();
    at_west.links.set_peers(vec![east.peer(&addresses)]);
    at_west.linked("east", 2).await;
    let web = at_west.import("web", &["east"]);
    assert_eq!(fetch(web).await.unwrap(), "web");

    replicas.remove(0).kill();

    at_west.linked("east", 1).await;
    for _ in 0..10 {
        assert_eq!(fetch(web).await.unwrap(), "web");
    }
}

#[tokio::test]
async fn a_port_that_is_no_longer_imported_is_closed_and_its_connections_live_on() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let Pair {
        mut east, mut west, ..
    } = pair().await;
    east.export("web", &[crate::backend::echo().await]);
    let web = west.import("web", &["east"]);
    let mut client = tokio::net::TcpStream::connect(web).await.unwrap();
    client.write_all(b"before").await.unwrap();
    let mut said = [0; 6];
    client.read_exact(&mut said).await.unwrap();

    west.forget_imports();

    let closed = async {
        while tokio::net::TcpStream::connect(web).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed)
        .await
        .unwrap();
    client.write_all(b"after!").await.unwrap();
    client.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"after!");
}

struct Pair {
    _clusters: (Cluster, Cluster),
    east: Site,
    west: Site,
}

async fn pair() -> Pair {
    let (east, west) = (Cluster::new("east"), Cluster::new("west"));
    let (at_east, at_west) = (east.start("east-0"), west.start("west-0"));
    link((&west, &at_west), (&east, &at_east)).await;
    Pair {
        _clusters: (east, west),
        east: at_east,
        west: at_west,
    }
}

fn connect(service: &str, port: u16) -> Connect {
    Connect {
        service: ServiceName::new(NAMESPACE, service),
        protocol: Protocol::Tcp,
        port,
        endpoint: None,
        source: Source::default(),
        path: Vec::new(),
        traceparent: String::new(),
        selector: BTreeMap::new(),
        zone: String::new(),
        affinity: None,
    }
}

fn reason(error: OpenError) -> RefusalReason {
    let OpenError::Refused(refusal) = error else {
        panic!("not refused: {error}")
    };
    refusal.reason
}
