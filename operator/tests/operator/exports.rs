//! ServiceExport → conditions and ClusterExport.

use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use tombolo_crds::mcs::{ServiceExport, ServiceImport};
use tombolo_crds::well_known::{CLUSTER_LABEL, PROXY_PROTOCOL_ANNOTATION};

use crate::scene::{Scene, eventually};

#[tokio::test]
async fn an_export_is_told_to_the_other_clusters() {
    let scene = Scene::shared("exported").await;
    scene.make_namespace().await;
    scene.make_service(&["10.0.0.1"]).await;
    scene.make_export().await;

    let valid = scene.export_says("Valid", "True", "Valid").await;
    scene.export_says("Ready", "True", "Exported").await;
    scene.export_says("Conflict", "False", "NoConflicts").await;

    assert_eq!(valid.observed_generation, Some(1));
    let export = scene
        .cluster_exports()
        .get("web.exported.east")
        .await
        .unwrap();
    let made: ServiceExport = scene.api().get("web").await.unwrap();
    assert_eq!(
        Some(&export.spec.created_at),
        made.metadata.creation_timestamp.as_ref()
    );
    assert_eq!(export.metadata.labels.unwrap()[CLUSTER_LABEL], "east");
    assert_eq!(export.spec.ports.len(), 1);
    assert!(export.spec.ready);
}

#[tokio::test]
async fn readiness_follows_the_endpoints() {
    let scene = Scene::shared("readiness").await;
    scene.make_namespace().await;
    scene.make_service(&[]).await;
    scene.make_export().await;
    scene.export_says("Ready", "True", "Exported").await;
    is_ready(&scene, false).await;

    let endpoints = json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}]);
    patch_slice(&scene, &endpoints).await;
    is_ready(&scene, true).await;

    let endpoints = json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": false}}]);
    patch_slice(&scene, &endpoints).await;
    is_ready(&scene, false).await;
}

#[tokio::test]
async fn an_export_waits_for_its_service_and_is_withdrawn_with_it() {
    let scene = Scene::shared("waiting").await;
    scene.make_namespace().await;
    scene.make_export().await;
    scene.export_says("Valid", "False", "NoService").await;
    scene.export_says("Ready", "False", "Pending").await;

    scene.make_service(&["10.0.0.1"]).await;
    scene.export_says("Valid", "True", "Valid").await;
    scene.import().await;

    scene.delete::<Service>("web").await;
    scene.export_says("Valid", "False", "NoService").await;
    scene
        .is_gone(&scene.cluster_exports(), "web.waiting.east")
        .await;
    scene.nothing_is_left().await;
}

#[tokio::test]
async fn a_service_that_is_slow_to_go_is_gone() {
    let scene = Scene::shared("slow").await;
    scene.make_namespace().await;
    scene.make_service(&["10.0.0.1"]).await;
    scene.make_export().await;
    scene.import().await;
    let finalizer = Patch::Merge(json!({"metadata": {"finalizers": ["example.org/balancer"]}}));
    let params = PatchParams::default();
    scene
        .api::<Service>()
        .patch("web", &params, &finalizer)
        .await
        .unwrap();

    scene.delete::<Service>("web").await;

    scene.export_says("Valid", "False", "NoService").await;
    scene.nothing_is_left().await;
    assert!(
        scene
            .api::<Service>()
            .get_opt("web")
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn an_external_name_is_refused() {
    let scene = Scene::shared("external").await;
    scene.make_namespace().await;
    scene
        .make::<Service>(json!({
            "metadata": {"name": "web"},
            "spec": {"type": "ExternalName", "externalName": "example.org"},
        }))
        .await;
    scene.make_export().await;

    scene
        .export_says("Valid", "False", "InvalidServiceType")
        .await;
    scene.export_says("Ready", "False", "Failed").await;
    assert!(
        scene
            .api::<ServiceImport>()
            .get_opt("web")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_slip_in_an_annotation_is_told_beside_the_conditions_of_the_api() {
    let scene = Scene::shared("annotated").await;
    scene.make_namespace().await;
    scene.make_service(&["10.0.0.1"]).await;
    scene.make_export().await;
    scene
        .export_says("tombolo.io/Carried", "True", "Carried")
        .await;

    annotate(&scene, "v3").await;
    let told = scene
        .export_says("tombolo.io/Carried", "False", "InvalidAnnotation")
        .await;
    assert!(told.message.contains("v3"), "{}", told.message);
    scene.export_says("Valid", "True", "Valid").await;

    annotate(&scene, "v2").await;
    scene
        .export_says("tombolo.io/Carried", "True", "Carried")
        .await;
    let export = scene.cluster_exports().get("web.annotated.east").await;
    assert_eq!(export.unwrap().spec.proxy_protocol.as_deref(), Some("v2"));
}

async fn annotate(scene: &Scene, version: &str) {
    let patch = json!({"metadata": {"annotations": {PROXY_PROTOCOL_ANNOTATION: version}}});
    let services = scene.api::<Service>();
    services
        .patch("web", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_import_cannot_be_exported_again() {
    let scene = Scene::shared("chain").await;
    scene.make_namespace().await;
    scene
        .make_copy(
            "west",
            json!([{"name": "http", "protocol": "TCP", "port": 80}]),
        )
        .await;
    scene.import().await;
    let derived = scene.derived_name();
    scene
        .make::<ServiceExport>(json!({"metadata": {"name": derived}}))
        .await;

    eventually("the export of a derived Service is refused", async || {
        let export = scene
            .api::<ServiceExport>()
            .get(&derived)
            .await
            .map_err(|e| e.to_string())?;
        let conditions = export.status.unwrap_or_default().conditions;
        let refused = conditions
            .iter()
            .any(|c| c.type_ == "Valid" && c.status == "False" && c.reason == "InvalidServiceType");
        if refused {
            Ok(())
        } else {
            Err(format!("{conditions:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn unexport_removes_everything() {
    let scene = Scene::shared("unexported").await;
    scene.make_namespace().await;
    scene.make_service(&["10.0.0.1"]).await;
    scene.make_export().await;
    scene.import().await;
    scene.lists("east", &["10.0.0.1"]).await;

    scene.delete::<ServiceExport>("web").await;

    scene
        .is_gone(&scene.cluster_exports(), "web.unexported.east")
        .await;
    scene.nothing_is_left().await;
    assert!(
        scene
            .api::<Service>()
            .get_opt("web")
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_conflict_is_told_with_who_wins_and_goes_when_it_is_over() {
    let scene = Scene::shared("conflict").await;
    scene.make_namespace().await;
    scene.make_service(&["10.0.0.1"]).await;
    scene.make_export().await;
    scene.export_says("Ready", "True", "Exported").await;

    scene
        .make_copy(
            "west",
            json!([{"name": "http", "protocol": "TCP", "port": 81}]),
        )
        .await;

    let conflict = scene.export_says("Conflict", "True", "PortConflict").await;
    assert!(
        conflict.message.contains("\"east\""),
        "{}",
        conflict.message
    );
    let params = DeleteParams::default();
    scene
        .cluster_exports()
        .delete("web.conflict.west", &params)
        .await
        .unwrap();
    scene.export_says("Conflict", "False", "NoConflicts").await;
}

#[tokio::test]
async fn what_a_user_did_wrong_is_an_event() {
    use k8s_openapi::api::events::v1::Event;
    let scene = Scene::shared("events").await;
    scene.make_namespace().await;
    scene.make_export().await;

    eventually("an Event about the export", async || {
        let events = scene
            .api::<Event>()
            .list(&kube::api::ListParams::default())
            .await;
        let events = events.map_err(|error| error.to_string())?.items;
        let found = events.iter().any(|event| {
            event.reason.as_deref() == Some("InvalidExport")
                && event
                    .note
                    .as_deref()
                    .is_some_and(|note| note.starts_with("NoService"))
        });
        if found {
            Ok(())
        } else {
            Err(format!("{events:?}"))
        }
    })
    .await;
}

async fn is_ready(scene: &Scene, expected: bool) {
    eventually(&format!("ready is {expected}"), async || {
        let name = format!("web.{}.east", scene.namespace);
        let export = scene
            .cluster_exports()
            .get(&name)
            .await
            .map_err(|e| e.to_string())?;
        if export.spec.ready == expected {
            Ok(())
        } else {
            Err("is not".to_owned())
        }
    })
    .await;
}

async fn patch_slice(scene: &Scene, endpoints: &serde_json::Value) {
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    let patch = Patch::Merge(json!({"endpoints": endpoints}));
    let slices = scene.api::<EndpointSlice>();
    slices
        .patch("web-abcde", &PatchParams::default(), &patch)
        .await
        .unwrap();
}
