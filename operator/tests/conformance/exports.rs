//! ServiceExports: what may be exported, and what is said of it.

use k8s_openapi::api::core::v1::Service;
use serde_json::json;
use tombolo_crds::mcs::{ServiceExport, ServiceImport, ServiceImportType};

use crate::scene::eventually;
use crate::site::{Stage, export, http, imported_from};

#[tokio::test]
async fn a_service_without_an_export_of_its_own_is_not_exported_though_others_export_that_name() {
    let stage = Stage::new("own-export").await;
    stage.west.make_service(&["10.0.0.1"]).await;
    export(&stage.east, http(80), json!({})).await;

    for import in stage.is_exported_by(&["east"]).await {
        assert_eq!(import.status.unwrap().clusters.len(), 1);
    }

    let exports = stage.west.cluster_exports();
    let own = exports.get_opt("web.own-export.west").await;
    assert!(own.unwrap().is_none());
    stage.west.lists("west", &[]).await;
}

#[tokio::test]
async fn an_export_and_its_service_may_come_in_either_order() {
    let stage = Stage::new("either-order").await;
    stage
        .east
        .make::<ServiceExport>(json!({"metadata": {"name": "web"}}))
        .await;
    let invalid = stage.east.export_says("Valid", "False", "NoService").await;
    stage.east.export_says("Ready", "False", "Pending").await;
    stage
        .east
        .export_says("Conflict", "False", "NoConflicts")
        .await;
    assert_eq!(invalid.observed_generation, Some(1));

    stage.east.make_service(&["10.0.0.1"]).await;
    stage.east.export_says("Valid", "True", "Valid").await;
    stage.east.export_says("Ready", "True", "Exported").await;
    stage.west.import().await;

    stage.east.delete::<Service>("web").await;
    stage.east.export_says("Valid", "False", "NoService").await;
    for scene in stage.scenes() {
        scene.nothing_is_left().await;
    }
}

#[tokio::test]
async fn an_import_is_there_until_its_last_export_is_deleted() {
    let stage = Stage::new("last-export").await;
    export(&stage.east, http(80), json!({})).await;
    export(&stage.west, http(80), json!({})).await;
    let before = stage.is_exported_by(&["east", "west"]).await;

    stage.east.delete::<ServiceExport>("web").await;
    let after = stage.is_exported_by(&["west"]).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.metadata.uid, after.metadata.uid);
    }

    stage.west.delete::<ServiceExport>("web").await;
    for scene in stage.scenes() {
        scene.nothing_is_left().await;
    }
}

#[tokio::test]
async fn external_name_is_refused_and_imported_nowhere() {
    let stage = Stage::new("external-name").await;
    stage
        .east
        .make::<Service>(json!({
            "metadata": {"name": "web"},
            "spec": {"type": "ExternalName", "externalName": "example.org"},
        }))
        .await;
    stage.east.make_export().await;

    stage
        .east
        .export_says("Valid", "False", "InvalidServiceType")
        .await;
    stage.east.export_says("Ready", "False", "Failed").await;

    // What another cluster exports comes after it by the same way.
    export(&stage.west, http(80), json!({})).await;
    for import in stage.is_exported_by(&["west"]).await {
        assert_eq!(import.spec.ports[0].port, 80);
    }
    stage
        .east
        .export_says("Conflict", "False", "NoConflicts")
        .await;
}

#[tokio::test]
async fn cluster_ip_node_port_and_load_balancer_become_a_clusterset_ip() {
    for type_ in ["ClusterIP", "NodePort", "LoadBalancer"] {
        let stage = Stage::new(&format!("type-{}", type_.to_lowercase())).await;
        let mut service = http(80);
        service["type"] = json!(type_);
        export(&stage.east, service, json!({})).await;

        let import = stage.west.import().await;

        assert_eq!(
            import.spec.type_,
            ServiceImportType::ClusterSetIP,
            "{type_}"
        );
        assert_eq!(import.spec.ips.len(), 1, "{type_}");
    }
}

#[tokio::test]
async fn a_headless_service_becomes_a_headless_import_without_ips() {
    let stage = Stage::new("type-headless").await;
    let mut service = http(80);
    service["clusterIP"] = json!("None");
    export(&stage.east, service, json!({})).await;

    for import in stage.is_exported_by(&["east"]).await {
        assert_eq!(import.spec.type_, ServiceImportType::Headless);
        assert_eq!(import.spec.ips, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_service_that_is_made_anew_with_another_type_is_imported_so() {
    let stage = Stage::new("another-type").await;
    export(&stage.east, http(80), json!({})).await;
    stage.west.import().await;
    stage.east.delete::<Service>("web").await;
    stage.east.export_says("Valid", "False", "NoService").await;

    let mut headless = http(80);
    headless["clusterIP"] = json!("None");
    stage
        .east
        .make::<Service>(json!({"metadata": {"name": "web"}, "spec": headless}))
        .await;

    for scene in stage.scenes() {
        eventually("the import is headless", async || {
            let import = scene.api::<ServiceImport>().get("web").await;
            let spec = import.map_err(|error| error.to_string())?.spec;
            if spec.type_ == ServiceImportType::Headless && spec.ips.is_empty() {
                Ok(())
            } else {
                Err(format!("{spec:?}"))
            }
        })
        .await;
        let derived = scene.derived_name();
        scene.is_gone(&scene.api::<Service>(), &derived).await;
    }
}

#[tokio::test]
async fn labels_and_annotations_come_from_the_exports_spec_and_nowhere_else() {
    let stage = Stage::new("metadata").await;
    let metadata = |from: &str| json!({"name": "web", "labels": {(from): "no"}, "annotations": {(from): "no"}});
    stage
        .east
        .make::<Service>(json!({"metadata": metadata("service"), "spec": http(80)}))
        .await;
    stage
        .east
        .make::<ServiceExport>(json!({
            "metadata": metadata("export"),
            "spec": {"exportedLabels": {"team": "a"}, "exportedAnnotations": {"note": "b"}},
        }))
        .await;

    let import = imported_from(&stage.west, &["east"]).await;

    let labels = import.metadata.labels.unwrap();
    let annotations = import.metadata.annotations.unwrap();
    assert_eq!(
        (labels["team"].as_str(), annotations["note"].as_str()),
        ("a", "b")
    );
    for map in [&labels, &annotations] {
        assert!(!map.values().any(|value| value == "no"), "{map:?}");
    }
}
