//! Clients of either version of the MCS-API.

use kube::Api;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use serde_json::json;

use crate::scene::Scene;
use crate::site::{Stage, imported_from};

#[tokio::test]
async fn clients_of_v1alpha1_and_v1beta1_see_the_same_objects() {
    let stage = Stage::new("versions").await;
    stage.east.make_service(&["10.0.0.1"]).await;
    let older = served(&stage.east, "v1alpha1", "ServiceExport");
    let export = serde_json::from_value(json!({
        "apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceExport",
        "metadata": {"name": "web"}, "spec": {"exportedLabels": {"team": "a"}},
    }));
    older
        .create(&PostParams::default(), &export.unwrap())
        .await
        .unwrap();
    stage
        .east
        .export_says("Conflict", "False", "NoConflicts")
        .await;
    imported_from(&stage.west, &["east"]).await;
    stage.west.import().await;

    for (scene, kind) in [
        (&stage.east, "ServiceExport"),
        (&stage.west, "ServiceImport"),
    ] {
        let mut seen = Vec::new();
        for version in ["v1alpha1", "v1beta1"] {
            let object = served(scene, version, kind).get("web").await.unwrap();
            assert!(
                object.data["status"]["conditions"].is_array(),
                "{kind} {version}"
            );
            seen.push((object.metadata.uid, object.metadata.labels, object.data));
        }
        assert_eq!(seen[0], seen[1], "{kind}");
    }
}

fn served(scene: &Scene, version: &str, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("multicluster.x-k8s.io", version, kind);
    let resource = ApiResource::from_gvk(&kind);
    Api::namespaced_with(scene.client.clone(), &scene.namespace, &resource)
}
