use serde_json::json;

use super::*;

fn port(name: Option<&str>, protocol: &str, number: u16) -> PortState {
    PortState {
        name: name.map(Into::into),
        protocol: protocol.into(),
        number,
    }
}

fn slice(value: serde_json::Value) -> EndpointSlice {
    serde_json::from_value(value).unwrap()
}

#[test]
fn an_import_keeps_addresses_and_ports_that_mean_something() {
    let import: ServiceImport = serde_json::from_value(json!({
        "apiVersion": "multicluster.x-k8s.io/v1beta1",
        "kind": "ServiceImport",
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {
            "type": "ClusterSetIP",
            "ips": ["10.96.0.7", "ten", "fd00::7"],
            "ports": [
                {"name": "http", "port": 80},
                {"name": "", "protocol": "UDP", "port": 53},
                {"name": "far", "port": 70_000},
            ],
        },
    }))
    .unwrap();

    assert_eq!(
        ImportState::from(import),
        ImportState {
            headless: false,
            addresses: ["10.96.0.7", "fd00::7"]
                .map(|address| address.parse().unwrap())
                .into(),
            ports: [port(Some("http"), "TCP", 80), port(None, "UDP", 53)].into(),
        }
    );
}

#[test]
fn a_slice_keeps_what_is_ready() {
    let slice = slice(json!({
        "metadata": {"namespace": "shop", "name": "db-east-1", "labels": {
            "multicluster.kubernetes.io/service-name": "db",
            "multicluster.kubernetes.io/source-cluster": "east",
        }},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.0.0.1"], "hostname": "db-0", "conditions": {"ready": true}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
            {"addresses": ["10.0.0.3"]},
        ],
        "ports": [{"name": "sql", "protocol": "TCP", "port": 5432}, {"name": "all"}],
    }));

    let state = SliceState::new(slice).unwrap();

    assert_eq!(
        (state.service.as_ref(), state.cluster.as_ref()),
        ("db", "east")
    );
    let hostnames: Vec<_> = state
        .endpoints
        .iter()
        .map(|endpoint| endpoint.hostname.as_deref())
        .collect();
    assert_eq!(hostnames, [Some("db-0"), None]);
    assert_eq!(*state.ports, [port(Some("sql"), "TCP", 5432)]);
    assert_eq!(state.endpoints().count(), 2);
}

#[test]
fn a_slice_of_nobody_is_left_out() {
    for (service, cluster, address_type) in [
        (None, Some("east"), "IPv4"),
        (Some("db"), None, "IPv4"),
        (Some("db"), Some("east"), "FQDN"),
    ] {
        let mut labels = serde_json::Map::new();
        for (label, value) in [
            (SERVICE_NAME_LABEL, service),
            (SOURCE_CLUSTER_LABEL, cluster),
        ] {
            labels.extend(value.map(|value| (label.to_owned(), value.into())));
        }
        let slice = slice(json!({
            "metadata": {"namespace": "shop", "name": "db-east-1", "labels": labels},
            "addressType": address_type,
        }));

        assert_eq!(
            SliceState::new(slice),
            None,
            "{service:?} {cluster:?} {address_type}"
        );
    }
}
