//! Objects that were there before: others', an older version's, a backup's.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use tombolo_crds::ClusterExport;
use tombolo_crds::mcs::{ServiceExport, ServiceImport};

use crate::api_server::Cluster;
use crate::program::{Start, prepare};
use crate::scene::{Scene, eventually};
use crate::site::{Stage, export, http, imported_from};

#[tokio::test]
async fn somebody_elses_import_is_left_alone_and_the_export_says_so() {
    let stage = Stage::new("others-import").await;
    let foreign: ServiceImport = stage
        .west
        .make(json!({
            "metadata": {"name": "web"},
            "spec": {"type": "ClusterSetIP", "ports": [{"port": 1, "protocol": "TCP"}]},
        }))
        .await;
    export(&stage.west, http(80), json!({})).await;

    let told = stage
        .west
        .export_says("tombolo.io/Imported", "False", "NameTaken")
        .await;

    assert!(told.message.contains("not Tombolo's"), "{}", told.message);
    imported_from(&stage.east, &["west"]).await;
    let found: ServiceImport = stage.west.api().get("web").await.unwrap();
    assert_eq!(
        found.metadata.resource_version,
        foreign.metadata.resource_version
    );

    stage.west.delete::<ServiceImport>("web").await;
    imported_from(&stage.west, &["west"]).await;
    eventually("the condition is gone", async || {
        let export = stage.west.api::<ServiceExport>().get("web").await;
        let status = export.map_err(|error| error.to_string())?.status.unwrap();
        let types: Vec<_> = status.conditions.iter().map(|c| c.type_.clone()).collect();
        if types.contains(&"tombolo.io/Imported".to_owned()) {
            Err(format!("{types:?}"))
        } else {
            Ok(())
        }
    })
    .await;
}

#[tokio::test]
async fn somebody_elses_derived_service_is_left_alone_and_the_import_says_so() {
    let stage = Stage::new("others-service").await;
    let name = stage.west.derived_name();
    let foreign: Service = stage
        .west
        .make(json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 1}]}}))
        .await;
    export(&stage.east, http(80), json!({})).await;

    let told = stage.west.import_says("Ready", "False", "Pending").await;

    assert!(told.message.contains(&name), "{}", told.message);
    let found = stage.west.derived().await;
    assert_eq!(
        found.metadata.resource_version,
        foreign.metadata.resource_version
    );
    stage.west.delete::<Service>(&name).await;
    stage.west.import().await;
}

#[tokio::test]
async fn somebody_elses_slice_is_left_alone_and_the_import_says_so() {
    let stage = Stage::new("others-slice").await;
    let name = format!("{}-east-ipv4", stage.west.derived_name());
    let foreign: EndpointSlice = stage.west.make(slice(&name, &json!({}))).await;
    stage.east.make_service(&["10.0.0.1"]).await;
    stage.east.make_export().await;

    let told = eventually("the import says so", async || {
        let told = stage.west.import_says("Ready", "False", "Pending").await;
        if told.message.contains(&name) {
            Ok(told)
        } else {
            Err(told.message)
        }
    })
    .await;

    assert!(told.message.contains("not Tombolo's"), "{}", told.message);
    let found: EndpointSlice = stage.west.api().get(&name).await.unwrap();
    assert_eq!(
        found.metadata.resource_version,
        foreign.metadata.resource_version
    );
    stage.west.delete::<EndpointSlice>(&name).await;
    stage.west.lists("east", &[stage.gateways()[2]]).await;
}

#[tokio::test]
async fn what_an_older_tombolo_or_a_backup_left_is_adopted_and_upgraded() {
    let cluster = Cluster::start();
    let west = &Scene::of(&cluster, "older").await;
    prepare(&west.client, &["operator-0"]).await;
    let older = Start::new(&cluster, "operator-0").go();
    west.await_crds().await;
    west.make_namespace().await;
    older.kill();
    let ours = json!({"tombolo.io/managed-by": "operator"});
    let import: ServiceImport = west
        .make(json!({
            "metadata": {"name": "web", "labels": ours},
            "spec": {"type": "ClusterSetIP", "ips": ["192.0.2.1"],
                "ports": [{"port": 1, "protocol": "TCP"}]},
        }))
        .await;
    let derived = west.derived_name();
    let service: Service = west
        .make(json!({
            "metadata": {"name": derived, "labels": {
                "tombolo.io/managed-by": "operator", "tombolo.io/service-import": "web",
            }},
            "spec": {"ports": [{"name": "old", "port": 1, "targetPort": 10999}]},
        }))
        .await;
    for name in [format!("{derived}-gone-ipv4"), "another-scheme".to_owned()] {
        let labels = json!({
            "kubernetes.io/service-name": derived,
            "multicluster.kubernetes.io/service-name": "web",
            "multicluster.kubernetes.io/source-cluster": "gone",
            "endpointslice.kubernetes.io/managed-by": "operator.tombolo.io",
        });
        west.make::<EndpointSlice>(slice(&name, &labels)).await;
    }

    let port = json!([{"name": "http", "protocol": "TCP", "port": 80}]);
    west.make_copy("north", port).await;

    let _operator = Start::new(&cluster, "operator-0").go();

    let after = imported_from(west, &["north"]).await;
    west.lists("gone", &[]).await;
    let after = eventually("the import is upgraded", async || {
        let found = west.import().await;
        if found.spec.ips == ["192.0.2.1"] {
            return Err(format!("{:?}", found.spec));
        }
        assert_eq!(found.metadata.uid, after.metadata.uid);
        Ok(found)
    })
    .await;
    assert_eq!(after.metadata.uid, import.metadata.uid);
    assert_eq!(after.spec.ports[0].port, 80);
    let found = west.derived().await;
    assert_eq!(found.metadata.uid, service.metadata.uid);
    assert_eq!(
        found.spec.as_ref().unwrap().ports.as_ref().unwrap()[0].port,
        80
    );
    assert_eq!(
        Some(&after.spec.ips),
        found.spec.unwrap().cluster_ips.as_ref()
    );

    // Without any export left it goes like what this version made.
    let exports = west.cluster_exports();
    let params = DeleteParams::default();
    exports.delete("web.older.north", &params).await.unwrap();
    west.nothing_is_left().await;
}

#[tokio::test]
async fn a_backup_that_is_restored_does_no_harm() {
    let stage = Stage::new("backup").await;
    let west = &stage.west;
    // Its own export of something that is not exported, under the right name and a wrong one; the
    // copy of an export that the peer no longer has; one of a cluster that is nobody's peer.
    restore(west, "web.backup.west", "west").await;
    restore(west, "mislaid", "west").await;
    restore(west, "web.backup.east", "east").await;
    restore(west, "web.backup.former", "former").await;

    for name in ["web.backup.west", "web.backup.east", "web.backup.former"] {
        west.is_gone(&west.cluster_exports(), name).await;
    }
    west.nothing_is_left().await;

    // What is named after nothing is told to nobody, and stands in nobody's way.
    export(&stage.north, http(80), json!({})).await;
    stage.is_exported_by(&["north"]).await;
    let exports = stage.east.cluster_exports();
    let told = exports.get_opt("web.backup.west").await;
    assert!(told.unwrap().is_none());
    let left = DeleteParams::default();
    west.cluster_exports()
        .delete("mislaid", &left)
        .await
        .unwrap();
}

async fn restore(scene: &Scene, name: &str, cluster: &str) {
    let export: ClusterExport = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"tombolo.io/cluster": cluster}},
        "spec": {
            "cluster": cluster, "namespace": scene.namespace, "name": "web",
            "createdAt": "2020-01-01T00:00:00Z", "type": "ClusterSetIP",
            "ports": [{"name": "http", "port": 666, "protocol": "TCP"}],
            "ipFamilies": ["IPv4"], "ready": true,
        },
    }))
    .unwrap();
    let params = PostParams::default();
    scene
        .cluster_exports()
        .create(&params, &export)
        .await
        .unwrap();
}

fn slice(name: &str, labels: &Value) -> Value {
    json!({
        "metadata": {"name": name, "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.9.9.9"]}],
        "ports": [{"name": "http", "port": 1, "protocol": "TCP"}],
    })
}
