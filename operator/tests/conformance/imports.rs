//! ServiceImports: where they are, and what they say.

use serde_json::json;
use tombolo_crds::mcs::ServiceExport;

use crate::scene::eventually;
use crate::site::{Stage, delete_namespace, export, http, imported_from};

#[tokio::test]
async fn an_import_is_exactly_where_its_namespace_is() {
    let stage = Stage::without_namespace("somewhere").await;
    stage.east.make_namespace().await;
    stage.west.make_namespace().await;
    export(&stage.east, http(80), json!({})).await;
    imported_from(&stage.east, &["east"]).await;
    let import = imported_from(&stage.west, &["east"]).await;

    // The north has the export, but no namespace.
    eventually("the north has a copy", async || {
        let exports = stage.north.cluster_exports();
        let copy = exports.get("web.somewhere.east").await;
        copy.map(drop).map_err(|error| error.to_string())
    })
    .await;
    stage.north.nothing_is_left().await;
    stage.north.make_namespace().await;
    imported_from(&stage.north, &["east"]).await;

    delete_namespace(&stage.west).await;
    stage.west.nothing_is_left().await;
    assert!(import.spec.ips.len() == 1);
    stage.east.export_says("Valid", "True", "Valid").await;
    imported_from(&stage.north, &["east"]).await;
}

#[tokio::test]
async fn clusterset_ips_stay_while_exporters_come_and_go() {
    let stage = Stage::new("stable-ips").await;
    export(&stage.west, http(80), json!({})).await;
    let before = stage.north.import().await;
    export(&stage.east, http(80), json!({})).await;
    imported_from(&stage.north, &["east", "west"]).await;
    stage.west.delete::<ServiceExport>("web").await;
    imported_from(&stage.north, &["east"]).await;

    let after = stage.north.import().await;

    assert_eq!(after.spec.ips, before.spec.ips);
    assert_eq!(after.metadata.uid, before.metadata.uid);
    assert_eq!(after.spec.ip_families, ["IPv4"]);
    assert_eq!(after.spec.ips.len(), after.spec.ip_families.len());
}

#[tokio::test]
async fn ready_clusters_and_endpoint_slice_objects_are_told() {
    let stage = Stage::new("told").await;
    export(&stage.east, http(80), json!({})).await;
    export(&stage.west, http(80), json!({})).await;

    for scene in stage.scenes() {
        imported_from(scene, &["east", "west"]).await;
        let status = scene.import().await.status.unwrap();
        assert_eq!(status.endpoint_slice_objects.as_deref(), Some("Present"));
        let types: Vec<_> = status.conditions.iter().map(|c| c.type_.as_str()).collect();
        assert_eq!(types, ["Ready"]);
        assert!(status.conditions[0].observed_generation.is_some());
    }
}

#[tokio::test]
async fn a_service_without_a_ready_endpoint_keeps_its_import_and_has_no_endpoints() {
    let stage = Stage::new("none-ready").await;
    stage.east.make_service(&["10.0.0.1"]).await;
    stage.east.make_export().await;
    let gateway = stage.gateways()[2];
    stage.west.lists("east", &[gateway]).await;
    let before = stage.west.import().await;

    set_ready(&stage, false).await;
    stage.west.lists("east", &[]).await;
    assert_eq!(stage.west.import().await.spec, before.spec);

    set_ready(&stage, true).await;
    stage.west.lists("east", &[gateway]).await;
}

async fn set_ready(stage: &Stage, ready: bool) {
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use kube::api::{Patch, PatchParams};
    let endpoints = json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]);
    let patch = Patch::Merge(json!({ "endpoints": endpoints }));
    let slices = stage.east.api::<EndpointSlice>();
    let params = PatchParams::default();
    slices.patch("web-abcde", &params, &patch).await.unwrap();
}
