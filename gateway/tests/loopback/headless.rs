//! Endpoints of headless services, one by one.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;

use tombolo_catalog::{EndpointName, ServiceName};
use tombolo_gateway::metrics::Direction;
use tombolo_link::{Connect, OpenError, Protocol, RefusalReason, Source};

use crate::backend::{fetch, named};
use crate::site::{Cluster, NAMESPACE, PORT, Site, Three, link};

#[tokio::test]
async fn each_address_leads_to_its_own_pod_and_never_to_another() {
    let Pair {
        mut east, mut west, ..
    } = pair().await;
    let pods = [
        ("db-0", named("zero").await),
        ("db-1", named("one").await),
        ("db-2", named("two").await),
    ];
    east.export_headless("db", &pods);
    let addresses = ["db-0", "db-1", "db-2"].map(|id| west.import_endpoint("db", of_east(id)));

    for _ in 0..3 {
        let mut said = Vec::new();
        for address in addresses {
            said.push(fetch(address).await.unwrap());
        }
        assert_eq!(said, ["zero", "one", "two"]);
    }
}

#[tokio::test]
async fn an_endpoint_without_a_hostname_is_called_by_its_address() {
    let Pair {
        mut east, mut west, ..
    } = pair().await;
    let (first, second) = (named("first").await, named("second").await);
    east.export_headless("db", &[("db-0", first)]);
    east.pod(second.ip(), |_| {});
    east.slices("db", &[first, second]);
    let id = second.ip().to_string().replace('.', "-");

    let address = west.import_endpoint("db", of_east(&id));

    assert_eq!(fetch(address).await.unwrap(), "second");
}

#[tokio::test]
async fn a_pod_that_restarts_elsewhere_under_its_hostname_is_reached_again() {
    let Pair {
        mut east, mut west, ..
    } = pair().await;
    let other = named("other").await;
    east.export_headless("db", &[("db-0", named("before").await), ("db-1", other)]);
    let address = west.import_endpoint("db", of_east("db-0"));
    assert_eq!(fetch(address).await.unwrap(), "before");

    east.export_headless("db", &[("db-1", other)]);
    assert_eq!(
        fetch(address).await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(east.refused(Direction::Inbound, "NoReadyEndpoint"), 1);
    east.export_headless("db", &[("db-0", named("after").await), ("db-1", other)]);

    assert_eq!(fetch(address).await.unwrap(), "after");
}

#[tokio::test]
async fn an_endpoint_of_one_cluster_is_not_sought_in_another() {
    let Three {
        mut east,
        mut south,
        mut west,
        ..
    } = Three::linked().await;
    east.export_headless("db", &[]);
    south.export_headless("db", &[("db-0", named("south").await)]);

    let in_east = west.import_endpoint("db", of_east("db-0"));
    let in_south = west.import_endpoint("db", EndpointName::new("south", "db-0"));

    assert_eq!(
        fetch(in_east).await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(fetch(in_south).await.unwrap(), "south");
}

#[tokio::test]
async fn what_is_no_endpoint_of_a_headless_export_is_refused() {
    let Pair { mut east, west, .. } = pair().await;
    let pod = named("pod").await;
    east.export_headless("db", &[("db-0", pod)]);
    east.pod(pod.ip(), |pod| pod.namespace = "bank".to_owned());
    let id_of_pod = pod.ip().to_string().replace('.', "-");

    let mut reasons = Vec::new();
    for (service, port, id) in [
        ("secret", PORT, "db-0"),
        ("db", 81, "db-0"),
        ("db", PORT, "db-1"),
        // It has a hostname, so that is its only name.
        ("db", PORT, &*id_of_pod),
        // Its pod is not of the service's namespace.
        ("db", PORT, "db-0"),
    ] {
        let connect = connect(service, port, id);
        reasons.push(reason(west.links.open("east", &connect).await.unwrap_err()));
    }

    assert_eq!(
        reasons,
        [
            RefusalReason::NotExported,
            RefusalReason::PortNotExported,
            RefusalReason::NoReadyEndpoint,
            RefusalReason::NoReadyEndpoint,
            RefusalReason::EndpointRefused,
        ]
    );
}

#[tokio::test]
async fn single_endpoints_of_a_service_that_is_not_headless_cannot_be_asked_for() {
    let Pair { mut east, west, .. } = pair().await;
    let pod: SocketAddr = named("pod").await;
    east.export("web", &[pod]);
    let id = pod.ip().to_string().replace('.', "-");

    let error = west
        .links
        .open("east", &connect("web", PORT, &id))
        .await
        .unwrap_err();

    assert_eq!(reason(error), RefusalReason::NoReadyEndpoint);
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

fn of_east(id: &str) -> EndpointName {
    EndpointName::new("east", id)
}

fn connect(service: &str, port: u16, id: &str) -> Connect {
    Connect {
        service: ServiceName::new(NAMESPACE, service),
        protocol: Protocol::Tcp,
        port,
        endpoint: Some(id.to_owned()),
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
