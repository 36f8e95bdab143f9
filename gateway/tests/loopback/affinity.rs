//! Session affinity over clusters and replicas: a client address stays with its pod.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::backend::{fetch_from, named};
use crate::site::{Cluster, Site, fresh_address};

/// So many that none of four pods is left out by chance.
const CLIENTS: usize = 64;

#[tokio::test]
async fn a_client_stays_with_its_pod_and_all_pods_of_all_clusters_have_clients() {
    let mut scene = scene().await;
    let web = scene.west.import("web", &["east", "north"]);
    let clients = clients();

    let first = placed(&clients, web).await;
    let second = placed(&clients, web).await;

    assert_eq!(first, second);
    let pods: BTreeSet<_> = first.values().map(String::as_str).collect();
    assert_eq!(
        pods,
        BTreeSet::from(["east-a", "east-b", "north-a", "north-b"])
    );
}

#[tokio::test]
async fn every_replica_sends_a_client_to_the_same_pod() {
    let mut scene = scene().await;
    let mut other = scene.clusters[2].start("west-1");
    other.affinity = true;
    other.links.set_peers(vec![
        scene.clusters[0].peer(&[scene.east.links.local_addr()]),
        scene.clusters[1].peer(&[scene.north.links.local_addr()]),
    ]);
    other.linked("east", 1).await;
    other.linked("north", 1).await;
    let by_one = scene.west.import("web", &["east", "north"]);
    let by_other = other.import("web", &["east", "north"]);
    let clients = clients();

    assert_eq!(
        placed(&clients, by_one).await,
        placed(&clients, by_other).await
    );
}

#[tokio::test]
async fn a_lost_cluster_moves_its_own_clients_only() {
    let mut scene = scene().await;
    let web = scene.west.import("web", &["east", "north"]);
    let clients = clients();
    let before = placed(&clients, web).await;

    scene.east.kill();
    scene.west.linked("east", 0).await;
    let after = placed(&clients, web).await;

    for (client, pod) in &before {
        if pod.starts_with("north") {
            assert_eq!(&after[client], pod, "{client}");
        } else {
            assert!(after[client].starts_with("north"), "{client}");
        }
    }
    assert!(before.values().any(|pod| pod.starts_with("east")));
}

#[tokio::test]
async fn a_lost_pod_moves_its_own_clients_only_and_gets_them_back() {
    let mut scene = scene().await;
    let web = scene.west.import("web", &["east"]);
    let clients = clients();
    let before = placed(&clients, web).await;

    scene.east.slices("web", &scene.pods_of_east[1..]);
    let without = placed(&clients, web).await;
    scene.east.slices("web", &scene.pods_of_east);
    let again = placed(&clients, web).await;

    assert!(without.values().all(|pod| pod == "east-b"));
    assert!(before.values().any(|pod| pod == "east-a"));
    assert_eq!(again, before);
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_passed_over_for_the_same_one_each_time() {
    let mut scene = scene().await;
    let web = scene.west.import("web", &["east"]);
    let clients = clients();
    let before = placed(&clients, web).await;
    // It is in the slices, but nobody listens at it.
    let mut down = scene.pods_of_east.clone();
    down[0] = crate::backend::nobody();
    scene.east.pod(down[0].ip(), |_| {});
    scene.east.slices("web", &down);

    let after = placed(&clients, web).await;

    assert!(before.values().any(|pod| pod == "east-a"));
    assert!(after.values().all(|pod| pod == "east-b"), "{after:?}");
}

struct Scene {
    clusters: [Cluster; 3],
    east: Site,
    north: Site,
    west: Site,
    pods_of_east: Vec<SocketAddr>,
}

/// `east` and `north` export `web` with two pods each; `west` is linked to both.
async fn scene() -> Scene {
    let clusters = ["east", "north", "west"].map(Cluster::new);
    let start = |cluster: &Cluster| {
        let mut site = cluster.start(&format!("{}-0", cluster.name));
        site.affinity = true;
        site
    };
    let [mut east, mut north, west] = clusters.each_ref().map(start);
    for site in [&east, &north] {
        site.links.set_peers(vec![clusters[2].peer(&[])]);
    }
    west.links.set_peers(vec![
        clusters[0].peer(&[east.links.local_addr()]),
        clusters[1].peer(&[north.links.local_addr()]),
    ]);
    west.linked("east", 1).await;
    west.linked("north", 1).await;
    let pods_of_east = vec![named("east-a").await, named("east-b").await];
    east.export("web", &pods_of_east);
    north.export("web", &[named("north-a").await, named("north-b").await]);
    Scene {
        clusters,
        east,
        north,
        west,
        pods_of_east,
    }
}

fn clients() -> Vec<IpAddr> {
    (0..CLIENTS).map(|_| fresh_address().into()).collect()
}

/// Which pod answers each client.
async fn placed(clients: &[IpAddr], web: SocketAddr) -> BTreeMap<IpAddr, String> {
    let mut placed = BTreeMap::new();
    for client in clients {
        placed.insert(*client, fetch_from(*client, web).await.unwrap());
    }
    placed
}
