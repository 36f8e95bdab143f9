//! What a TrafficPolicy does with connections.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tombolo_crds::traffic_policy::{
    ClusterWeight, Preference, Subset, TrafficLimits, TrafficPolicySpec,
};
use tombolo_gateway::metrics::{Direction, ReasonLabels};

use crate::backend::{echo, fetch, named, nobody};
use crate::site::{Cluster, Site, Three, link};
use crate::udp_backend::{self, client};

#[tokio::test]
async fn local_endpoints_are_preferred_and_another_cluster_takes_over() {
    let Triple {
        mut east, mut west, ..
    } = both_export(true).await;
    let web = west.import("web", &["east"]);
    west.policy("web", prefer_local);

    for _ in 0..10 {
        assert_eq!(fetch(web).await.unwrap(), "west");
    }

    west.slices("web", &[]);
    for _ in 0..10 {
        assert_eq!(fetch(web).await.unwrap(), "east");
    }
    east.slices("web", &[]);
    let error = fetch(web).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn another_cluster_is_asked_when_no_endpoint_here_answers() {
    let Triple {
        mut west,
        east: _east,
        ..
    } = both_export(false).await;
    let web = west.import("web", &["east"]);
    west.policy("web", prefer_local);

    for _ in 0..5 {
        assert_eq!(fetch(web).await.unwrap(), "east");
    }
    assert!(west.metrics.dial_failures.get() > 0);
}

#[tokio::test]
async fn clusters_have_the_shares_that_a_policy_gives_them() {
    let Triple {
        mut west,
        east: _east,
        ..
    } = both_export(true).await;
    let web = west.import("web", &["east"]);
    west.policy("web", |spec| {
        let weight = |cluster: &str, weight| ClusterWeight {
            cluster: cluster.to_owned(),
            weight,
        };
        spec.clusters = vec![weight("east", 3), weight("west", 1)];
    });

    let said = tally(web, 200).await;

    // Four standard deviations about 150.
    assert!((125..=175).contains(&said["east"]), "{said:?}");
}

#[tokio::test]
async fn without_a_policy_a_gateway_leaves_local_endpoints_to_kube_proxy() {
    let Triple {
        mut west,
        east: _east,
        ..
    } = both_export(true).await;
    let web = west.import("web", &["east"]);

    assert_eq!(tally(web, 10).await, [("east".to_owned(), 10)].into());
}

#[tokio::test]
async fn pods_are_told_apart_by_their_labels_in_another_cluster() {
    let Triple {
        mut east, mut west, ..
    } = both_export(true).await;
    let (v1, v2) = (named("v1").await, named("v2").await);
    east.export("web", &[v1, v2]);
    for (pod, version) in [(v1, "v1"), (v2, "v2")] {
        east.pod(pod.ip(), |pod| {
            pod.labels = [("version".to_owned(), version.to_owned())].into();
        });
    }
    let web = west.import("web", &["east"]);
    let subset = |version: &str, weight| Subset {
        name: version.to_owned(),
        labels: [("version".to_owned(), version.to_owned())].into(),
        weight,
    };
    west.policy("web", |spec| {
        spec.subsets = vec![subset("v1", 9), subset("v2", 1)];
        spec.clusters = vec![ClusterWeight {
            cluster: "east".to_owned(),
            weight: 1,
        }];
    });

    let said = tally(web, 200).await;
    assert!((163..=197).contains(&said["v1"]), "{said:?}");
    assert_eq!(said.len(), 2);

    // A version that is gone leaves its share to the other.
    east.slices("web", &[v1]);
    assert_eq!(tally(web, 20).await, [("v1".to_owned(), 20)].into());
}

#[tokio::test]
async fn a_cluster_is_asked_as_often_as_it_has_endpoints_and_not_without_any() {
    let Three {
        mut east,
        mut south,
        mut west,
        ..
    } = Three::linked().await;
    let mut backends = Vec::new();
    for _ in 0..4 {
        backends.push(named("east").await);
    }
    east.export("web", &backends);
    south.export("web", &[named("south").await]);
    let web = west.import("web", &["east", "south"]);
    east.tell_headcounts();
    south.tell_headcounts();
    west.hears("east", "web", 4).await;
    west.hears("south", "web", 1).await;

    let said = tally(web, 200).await;
    assert!((137..=183).contains(&said["east"]), "{said:?}");

    south.slices("web", &[]);
    south.tell_headcounts();
    west.hears("south", "web", 0).await;
    let before = south.refused(Direction::Inbound, "NoReadyEndpoint");
    assert_eq!(tally(web, 20).await, [("east".to_owned(), 20)].into());
    assert_eq!(south.refused(Direction::Inbound, "NoReadyEndpoint"), before);
}

#[tokio::test]
async fn no_more_connections_are_let_in_than_a_policy_allows() {
    let Triple {
        mut east, mut west, ..
    } = both_export(true).await;
    east.export("web", &[echo().await]);
    let web = west.import("web", &["east"]);
    west.policy("web", |spec| {
        spec.limits = Some(TrafficLimits {
            connections: Some(1),
            connections_per_second: None,
        });
    });

    let mut held = tokio::net::TcpStream::connect(web).await.unwrap();
    held.write_all(b"x").await.unwrap();
    held.read_exact(&mut [0]).await.unwrap();
    let refused = async {
        while west.refused(Direction::Outbound, "ConnectionLimit") == 0 {
            let _ = fetch(web).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), refused).await;

    assert!(in_time.is_ok(), "all were let in");
    drop(held);
}

#[tokio::test]
async fn udp_flows_go_where_the_policy_says_too() {
    let Triple {
        mut east, mut west, ..
    } = both_export(true).await;
    let servers = (
        udp_backend::named("east").await,
        udp_backend::named("west").await,
    );
    east.export("dns", &[servers.0.address]);
    west.export("dns", &[servers.1.address]);
    let dns = west.import_udp("dns", &["east"]);
    west.policy("dns", prefer_local);

    let client = client(dns).await;
    for _ in 0..3 {
        assert_eq!(asked(&client).await, "west");
    }

    west.slices("dns", &[]);
    west.flows_closed(Direction::Outbound, "EndpointGone", 1)
        .await;
    assert_eq!(asked(&client).await, "east");
}

#[tokio::test]
async fn a_udp_endpoint_here_that_refuses_packets_is_left_at_the_next() {
    let Triple {
        mut west,
        east: _east,
        ..
    } = both_export(true).await;
    let (down, up) = (udp_backend::echo().await, udp_backend::echo().await);
    down.stop();
    tokio::task::yield_now().await;
    west.export("dns", &[down.address, up.address]);
    let dns = west.import_udp("dns", &[]);
    west.policy("dns", prefer_local);
    let client = client(dns).await;

    let mut answered = 0;
    for _ in 0..20 {
        client.send(b"hello").await.unwrap();
        let answer = udp_backend::answer(&client, Duration::from_secs(1)).await;
        answered += u32::from(answer.is_some());
    }

    assert!(answered >= 18, "{answered} of 20");
}

#[tokio::test]
async fn udp_flows_count_as_connections_of_a_limit() {
    let Triple {
        mut east, mut west, ..
    } = both_export(true).await;
    let server = udp_backend::echo().await;
    east.export("dns", &[server.address]);
    let dns = west.import_udp("dns", &["east"]);
    west.policy("dns", |spec| {
        spec.limits = Some(TrafficLimits {
            connections: Some(1),
            connections_per_second: None,
        });
    });
    let first = client(dns).await;
    assert!(udp_backend::ask(&first, b"hello").await.is_some());

    let second = client(dns).await;
    second.send(b"hello").await.unwrap();
    let refused = ReasonLabels {
        direction: Direction::Outbound,
        reason: "ConnectionLimit",
    };
    let counted = async {
        while west.metrics.flows.refused.get_or_create(&refused).get() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), counted).await;

    assert!(in_time.is_ok(), "all were let in");
    assert!(udp_backend::ask(&first, b"hello").await.is_some());
}

/// `west`, where the clients are, and `east` export `web`, whose endpoints say the cluster's name.
struct Triple {
    _clusters: (Cluster, Cluster),
    east: Site,
    west: Site,
}

async fn both_export(here_answers: bool) -> Triple {
    let (east, west) = (Cluster::new("east"), Cluster::new("west"));
    let (mut at_east, mut at_west) = (east.start("east-0"), west.start("west-0"));
    link((&west, &at_west), (&east, &at_east)).await;
    at_east.export("web", &[named("east").await]);
    let here = match here_answers {
        true => named("west").await,
        false => nobody(),
    };
    at_west.export("web", &[here]);
    Triple {
        _clusters: (east, west),
        east: at_east,
        west: at_west,
    }
}

fn prefer_local(spec: &mut TrafficPolicySpec) {
    spec.prefer = vec![Preference::Local];
}

/// Whose server answers a UDP client.
async fn asked(client: &UdpSocket) -> String {
    let answer = udp_backend::ask(client, b"who").await.unwrap();
    let said = String::from_utf8(answer).unwrap();
    said.split(' ').next().unwrap().to_owned()
}

/// Who answered how often.
async fn tally(address: std::net::SocketAddr, count: usize) -> BTreeMap<String, usize> {
    let mut said = BTreeMap::new();
    for _ in 0..count {
        *said.entry(fetch(address).await.unwrap()).or_default() += 1;
    }
    said
}
