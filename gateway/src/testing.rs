//! Objects that many tests begin with.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tombolo_catalog::ServiceName;
use tombolo_crds::ClusterExportSpec;
use tombolo_crds::mcs::{ServiceImportType, ServicePort};

use crate::affinity::Client;
use crate::endpoints::{Endpoints, NoEndpoint, Wish};
use crate::service::Protocol;

/// A ready export with the TCP port 80, named `http`.
pub(crate) fn export_of(cluster: &str, namespace: &str, name: &str) -> ClusterExportSpec {
    ClusterExportSpec {
        cluster: cluster.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        created_at: Time("2026-01-01T00:00:00Z".parse().unwrap()),
        type_: ServiceImportType::ClusterSetIP,
        ports: vec![ServicePort {
            name: Some("http".to_owned()),
            protocol: "TCP".to_owned(),
            app_protocol: None,
            port: 80,
        }],
        session_affinity: None,
        session_affinity_config: None,
        internal_traffic_policy: None,
        traffic_distribution: None,
        ip_families: vec!["IPv4".to_owned()],
        exported_labels: BTreeMap::new(),
        exported_annotations: BTreeMap::new(),
        ready: true,
        endpoints: Vec::new(),
        proxy_protocol: None,
    }
}

/// One of many clients in the cluster `west`.
pub(crate) fn client(number: u16) -> Client {
    let [high, low] = number.to_be_bytes();
    Client::new("west", Ipv4Addr::new(10, 244, high, low).into())
}

/// What any connection of `client` to a TCP port gets.
pub(crate) fn pick_at(
    endpoints: &Endpoints,
    service: &ServiceName,
    port: u16,
    client: Option<Client>,
) -> Result<Vec<SocketAddr>, NoEndpoint> {
    let wish = Wish {
        client,
        affinity: None,
        selector: &BTreeMap::new(),
        zone: "",
    };
    let picked = endpoints.pick(service, Protocol::Tcp, port, &wish, Instant::now())?;
    Ok(picked.into_iter().map(|picked| picked.address).collect())
}
