//! IPv4 and IPv6: connections end at the gateways, so each part of the way has its own family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncWriteExt;
use tombolo_gateway::data_plane::Limits;

use crate::backend::{backend_at, fetch, fetch_from};
use crate::site::{Cluster, Site, fresh_address, link};

const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[tokio::test]
async fn each_family_of_clients_reaches_each_family_of_pods_over_each_family_of_links() {
    for client in [IpAddr::from(fresh_address()), V6] {
        for over in [IpAddr::from(fresh_address()), V6] {
            for pod in [IpAddr::from(fresh_address()), V6] {
                let (mut near, mut far, _clusters) = pair(over, client).await;
                far.export("web", &[saying("here", pod).await]);
                let web = near.import("web", &["east"]);

                let said = fetch_from(client, web).await;

                assert_eq!(said.unwrap(), "here", "{client} over {over} to {pod}");
            }
        }
    }
}

#[tokio::test]
async fn one_listener_takes_clients_of_both_families() {
    let (mut near, mut far, _clusters) =
        pair(fresh_address().into(), Ipv6Addr::UNSPECIFIED.into()).await;
    far.export("web", &[saying("here", fresh_address().into()).await]);
    let web = near.import("web", &["east"]);

    for address in [V6, Ipv4Addr::LOCALHOST.into()] {
        let said = fetch(SocketAddr::new(address, web.port())).await;

        assert_eq!(said.unwrap(), "here", "{address}");
    }
}

#[tokio::test]
async fn a_client_with_affinity_is_the_same_on_a_listener_of_both_families() {
    let (mut near, mut far, _clusters) =
        pair(fresh_address().into(), Ipv6Addr::UNSPECIFIED.into()).await;
    near.affinity = true;
    far.affinity = true;
    let mut pods = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        pods.push(saying(name, fresh_address().into()).await);
    }
    far.export("web", &pods);
    let web = near.import("web", &["east"]);

    // Accepted there as `::ffff:127.…`.
    let client = IpAddr::from(fresh_address());
    let web = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), web.port());
    let first = fetch_from(client, web).await.unwrap();

    for _ in 0..5 {
        assert_eq!(fetch_from(client, web).await.unwrap(), first);
    }
}

/// `west`, which accepts clients at `clients`, linked to `east` at `over`.
async fn pair(over: IpAddr, clients: IpAddr) -> (Site, Site, [Cluster; 2]) {
    let (east, west) = (Cluster::new("east"), Cluster::new("west"));
    // Pods of east may be at `::1`: its gateway is elsewhere.
    let far = east.start_at(
        "east-0",
        Limits::for_open_files(65_536),
        over,
        fresh_address().into(),
    );
    let near = west.start_at("west-0", Limits::for_open_files(65_536), over, clients);
    link((&west, &near), (&east, &far)).await;
    (near, far, [east, west])
}

async fn saying(name: &'static str, address: IpAddr) -> SocketAddr {
    backend_at(address, move |mut stream| async move {
        stream.write_all(name.as_bytes()).await.unwrap();
    })
    .await
}
