//! EndpointSlices, and which cluster gets the traffic of which port.

use std::collections::BTreeSet;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::json;
use tombolo_crds::mcs::ServiceExport;
use tombolo_crds::well_known::{
    DERIVED_SERVICE_ANNOTATION, KUBE_SERVICE_NAME_LABEL, MANAGED_BY_LABEL, SERVICE_NAME_LABEL,
    SOURCE_CLUSTER_LABEL,
};

use crate::scene::{Scene, eventually};
use crate::site::{Stage, export, http, imported_from, is_outlived};

#[tokio::test]
async fn a_slice_is_of_one_cluster_and_says_so_and_goes_with_the_export() {
    let stage = Stage::new("slices").await;
    for scene in [&stage.east, &stage.west] {
        scene.make_service(&["10.0.0.1"]).await;
        scene.make_export().await;
    }
    let [.., gateway] = stage.gateways();
    let of_east = stage.west.lists("east", &[gateway]).await;
    let of_west = stage.west.lists("west", &["10.0.0.1"]).await;
    let import = stage.west.import().await;
    let derived = &import.metadata.annotations.as_ref().unwrap()[DERIVED_SERVICE_ANNOTATION];
    assert_eq!(*derived, stage.west.derived_name());

    for (cluster, slices) in [("east", of_east), ("west", of_west)] {
        let labels = slices[0].metadata.labels.as_ref().unwrap();
        assert_eq!(labels[SOURCE_CLUSTER_LABEL], cluster);
        assert_eq!(labels[SERVICE_NAME_LABEL], "web");
        assert_eq!(&labels[KUBE_SERVICE_NAME_LABEL], derived);
        assert_ne!(labels[MANAGED_BY_LABEL], "endpointslice-controller.k8s.io");
        let owner = &slices[0].metadata.owner_references.as_ref().unwrap()[0];
        assert_eq!(Some(&owner.uid), import.metadata.uid.as_ref());
    }

    stage.east.delete::<ServiceExport>("web").await;
    stage.west.lists("east", &[]).await;
    stage.west.lists("west", &["10.0.0.1"]).await;
}

#[tokio::test]
async fn ports_are_a_union_and_each_goes_to_the_clusters_that_expose_it() {
    let stage = Stage::new("union").await;
    let ports = |ports| json!({ "ports": ports });
    let oldest = ports(json!([
        {"name": "http", "port": 80},
        {"name": "stcp", "port": 142, "protocol": "SCTP"},
    ]));
    let younger = ports(json!([
        {"name": "http", "port": 8080},
        {"name": "admin", "port": 80},
        {"name": "metrics", "port": 9090},
    ]));
    endpoints(&stage.west, &["http", "stcp"]).await;
    endpoints(&stage.east, &["http", "admin", "metrics"]).await;
    let made = export(&stage.west, oldest, json!({})).await;
    is_outlived(&made).await;
    export(&stage.east, younger, json!({})).await;

    for import in stage.is_exported_by(&["east", "west"]).await {
        let ports = import.spec.ports.iter();
        let ports: Vec<_> = ports
            .map(|p| (p.name.as_deref().unwrap(), p.protocol.as_str(), p.port))
            .collect();
        // `http` is the oldest's, and what is left of the number 80 of the other goes by it.
        let expected = [
            ("http", "TCP", 80),
            ("stcp", "SCTP", 142),
            ("metrics", "TCP", 9090),
        ];
        assert_eq!(ports, expected);
    }

    are_exposed(&stage.north, "west", &["http"]).await;
    are_exposed(&stage.north, "east", &["metrics"]).await;
    are_exposed(&stage.east, "east", &["metrics"]).await;
    are_exposed(&stage.east, "west", &["http"]).await;
    for scene in [&stage.east, &stage.west] {
        scene.export_says("Conflict", "True", "PortConflict").await;
    }
}

#[tokio::test]
async fn a_port_without_a_name_stands_beside_named_ones() {
    let stage = Stage::new("nameless").await;
    let made = export(&stage.west, json!({"ports": [{"port": 80}]}), json!({})).await;
    is_outlived(&made).await;
    export(&stage.east, http(81), json!({})).await;

    let import = imported_from(&stage.north, &["east", "west"]).await;

    let ports: Vec<_> = import
        .spec
        .ports
        .iter()
        .map(|p| (p.name.as_deref(), p.port))
        .collect();
    assert_eq!(ports, [(None, 80), (Some("http"), 81)]);
    stage.north.import().await;
}

/// A slice of `web` in which each of the ports has an endpoint.
async fn endpoints(scene: &Scene, ports: &[&str]) {
    let ports: Vec<_> = ports
        .iter()
        .filter(|name| **name != "stcp")
        .map(|name| json!({"name": name, "port": 8080, "protocol": "TCP"}))
        .collect();
    scene
        .make::<EndpointSlice>(json!({
            "metadata": {"name": "web-abcde", "labels": {
                "kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            }},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}],
            "ports": ports,
        }))
        .await;
}

/// Waits until slices of the source cluster have exactly these ports.
async fn are_exposed(scene: &Scene, cluster: &str, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    let params =
        kube::api::ListParams::default().labels(&format!("{SOURCE_CLUSTER_LABEL}={cluster}"));
    eventually(&format!("{cluster} has {expected:?}"), async || {
        let slices = scene.api::<EndpointSlice>().list(&params).await;
        let slices = slices.map_err(|error| error.to_string())?.items;
        let ports = slices.iter().flat_map(|slice| slice.ports.iter().flatten());
        // Whether a gateway carries more than TCP is not a matter of these rules.
        let ports = ports.filter(|port| port.protocol.as_deref() == Some("TCP"));
        let found: BTreeSet<String> = ports.filter_map(|port| port.name.clone()).collect();
        if found == expected {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
}
