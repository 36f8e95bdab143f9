//! Who is let in, and what the others are told.

use std::time::{Duration, SystemTime};

use tombolo_link::Event;
use tombolo_link::ca::IssuedCertificate;

use crate::cluster::{Cluster, Gateway};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_no_peer_is_refused() {
    let east = Cluster::new("east");
    let in_east = east.gateway("east-1");
    let in_west = Cluster::new("west").gateway("west-1");

    in_west
        .links
        .set_peers(vec![east.peer(&[in_east.address()])]);

    in_east.counted(Event::Accept, "UnknownCluster").await;
    assert_eq!(fault(&in_west).await, "RefusedByPeer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialler_with_a_foreign_ca_is_refused() {
    let (in_east, _in_west) = dialled_by(Cluster::new("west"), &Cluster::new("west"));

    in_east.counted(Event::Accept, "BadChain").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialler_of_another_clusterset_is_refused() {
    let stranger = Cluster::of_clusterset("test", "west");
    let in_east = Cluster::new("east").gateway("east-1");
    let in_west = stranger.gateway("west-1");
    in_east.links.set_peers(vec![stranger.peer(&[])]);
    // So that the dialler gets as far as showing its own certificate.
    let east_of_test = Cluster::of_clusterset("test", "east");
    in_west
        .links
        .set_peers(vec![east_of_test.peer(&[in_east.address()])]);

    assert_eq!(fault(&in_west).await, "WrongClusterset");
    let in_prod = Cluster::new("north").gateway("north-1");
    in_prod
        .links
        .set_peers(vec![stranger.peer(&[in_west.address()])]);
    assert_eq!(
        in_prod
            .until("west", |link| link.last_error.is_some())
            .await
            .last_error
            .unwrap()
            .reason,
        "WrongClusterset"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_dialler_is_refused_until_its_certificate_is_renewed_in_place() {
    let east = Cluster::new("east");
    let west = Cluster::new("west");
    let in_east = east.gateway("east-1");
    in_east.links.set_peers(vec![west.peer(&[])]);
    let in_west = west.gateway_with("west-1", &issued_long_ago(&west), |_| {});
    in_west
        .links
        .set_peers(vec![east.peer(&[in_east.address()])]);

    in_east.counted(Event::Accept, "Expired").await;
    in_west.identity.write(&west.issue());

    in_west.connected("east").await;
    assert_eq!(in_west.count(Event::IdentityReload, "Loaded"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_listener_is_not_believed() {
    let east = Cluster::new("east");
    let west = Cluster::new("west");
    let in_east = east.gateway_with("east-1", &issued_long_ago(&east), |_| {});
    let in_west = west.gateway("west-1");
    in_west
        .links
        .set_peers(vec![east.peer(&[in_east.address()])]);

    assert_eq!(fault(&in_west).await, "Expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_of_another_cluster_is_not_taken_for_the_one_dialled() {
    let east = Cluster::new("east");
    let north = Cluster::new("north");
    let in_north = north.gateway("north-1");
    let in_west = Cluster::new("west").gateway("west-1");

    // North is a peer, but east's address leads to it.
    in_west
        .links
        .set_peers(vec![east.peer(&[in_north.address()]), north.peer(&[])]);

    assert_eq!(fault(&in_west).await, "UnexpectedCluster");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peers_address_that_leads_back_home_is_noticed() {
    let east = Cluster::new("east");
    let in_west = Cluster::new("west").gateway("west-1");

    in_west
        .links
        .set_peers(vec![east.peer(&[in_west.address()])]);

    assert_eq!(fault(&in_west).await, "OwnCluster");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_with_a_foreign_ca_is_not_believed() {
    let in_east = Cluster::new("east").gateway("east-1");
    let in_west = Cluster::new("west").gateway("west-1");

    in_west
        .links
        .set_peers(vec![Cluster::new("east").peer(&[in_east.address()])]);

    assert_eq!(fault(&in_west).await, "BadChain");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_cluster_is_never_a_peer() {
    let west = Cluster::new("west");
    let in_west = west.gateway("west-1");

    in_west
        .links
        .set_peers(vec![west.peer(&[in_west.address()])]);

    assert!(in_west.links.status().borrow().is_empty());
}

/// East, which trusts `trusted` as west; and a gateway of `dialler` that dials it.
fn dialled_by(dialler: Cluster, trusted: &Cluster) -> (Gateway, Gateway) {
    let east = Cluster::new("east");
    let in_east = east.gateway("east-1");
    in_east.links.set_peers(vec![trusted.peer(&[])]);
    let in_west = dialler.gateway("west-1");
    in_west
        .links
        .set_peers(vec![east.peer(&[in_east.address()])]);
    (in_east, in_west)
}

async fn fault(gateway: &Gateway) -> &'static str {
    let link = gateway
        .until("east", |link| link.last_error.is_some())
        .await;
    link.last_error.unwrap().reason
}

fn issued_long_ago(cluster: &Cluster) -> IssuedCertificate {
    let then = SystemTime::now() - 3 * DAY;
    cluster.ca.issue_gateway(DAY, then).unwrap()
}
