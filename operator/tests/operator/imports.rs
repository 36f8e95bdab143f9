//! ClusterExports → ServiceImport, derived Service, EndpointSlices.

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tombolo_crds::mcs::{ServiceExport, ServiceImport};
use tombolo_crds::well_known::{
    DERIVED_SERVICE_ANNOTATION, FIRST_IMPORT_PORT, KUBE_SERVICE_NAME_LABEL, LAST_IMPORT_PORT,
    MANAGED_BY_LABEL, SERVICE_NAME_LABEL, SLICE_MANAGER,
};

use crate::scene::{Scene, eventually, shared_writes};

#[tokio::test]
async fn an_import_has_the_addresses_of_its_derived_service() {
    let scene = Scene::shared("imported").await;
    scene.make_namespace().await;
    scene.make_service(&["10.0.0.1", "10.0.0.2"]).await;
    scene.make_export().await;

    let import = scene.import().await;
    let derived = scene.derived().await;

    let spec = derived.spec.unwrap();
    assert_eq!(Some(&import.spec.ips), spec.cluster_ips.as_ref());
    assert_eq!(Some(&import.spec.ip_families), spec.ip_families.as_ref());
    assert!(spec.selector.is_none());
    let port = &spec.ports.unwrap()[0];
    assert_eq!(port.port, 80);
    let Some(IntOrString::Int(gateway_port)) = port.target_port else {
        panic!("{:?}", port.target_port);
    };
    assert!((i32::from(FIRST_IMPORT_PORT)..=i32::from(LAST_IMPORT_PORT)).contains(&gateway_port));
    let owner = &derived.metadata.owner_references.unwrap()[0];
    assert_eq!(Some(&owner.uid), import.metadata.uid.as_ref());
    let annotations = import.metadata.annotations.unwrap();
    assert_eq!(
        annotations[DERIVED_SERVICE_ANNOTATION],
        scene.derived_name()
    );
    let status = import.status.unwrap();
    assert_eq!(status.clusters.len(), 1);
    assert_eq!(status.clusters[0].cluster, "east");
    assert_eq!(status.endpoint_slice_objects.as_deref(), Some("Present"));

    let slices = scene.lists("east", &["10.0.0.1", "10.0.0.2"]).await;
    let labels = slices[0].metadata.labels.as_ref().unwrap();
    assert_eq!(labels[KUBE_SERVICE_NAME_LABEL], scene.derived_name());
    assert_eq!(labels[SERVICE_NAME_LABEL], "web");
    assert_eq!(labels[MANAGED_BY_LABEL], SLICE_MANAGER);
    assert_eq!(slices[0].ports.as_ref().unwrap()[0].port, Some(8080));
    let owner = &slices[0].metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!(Some(&owner.uid), import.metadata.uid.as_ref());
}

#[tokio::test]
async fn copies_of_other_clusters_exports_are_merged_with_ours() {
    let scene = Scene::shared("merged").await;
    scene.make_namespace().await;
    scene.make_service(&["10.0.0.1"]).await;
    scene.make_export().await;
    scene.export_says("Ready", "True", "Exported").await;
    scene
        .make_copy(
            "west",
            json!([{"name": "http", "protocol": "TCP", "port": 80},
                   {"name": "stcp", "protocol": "SCTP", "port": 142}]),
        )
        .await;

    let import = eventually("both clusters are in the import", async || {
        let import = scene
            .api::<ServiceImport>()
            .get("web")
            .await
            .map_err(|e| e.to_string())?;
        let clusters = import.status.clone().unwrap_or_default().clusters.len();
        if clusters == 2 {
            Ok(import)
        } else {
            Err(format!("{:?}", import.status))
        }
    })
    .await;

    assert_eq!(import.spec.ports.len(), 2);
    assert_eq!(import.spec.ports[1].protocol, "SCTP");
    scene.export_says("Conflict", "True", "PortConflict").await;

    scene.delete::<ServiceExport>("web").await;
    eventually("only the other cluster is left", async || {
        let import = scene
            .api::<ServiceImport>()
            .get("web")
            .await
            .map_err(|e| e.to_string())?;
        let clusters = import.status.unwrap_or_default().clusters;
        let only = clusters.len() == 1 && clusters[0].cluster == "west";
        if only {
            Ok(())
        } else {
            Err(format!("{clusters:?}"))
        }
    })
    .await;
    scene.lists("east", &[]).await;
    let params = DeleteParams::default();
    scene
        .cluster_exports()
        .delete("web.merged.west", &params)
        .await
        .unwrap();
    scene.nothing_is_left().await;
}

#[tokio::test]
async fn an_import_appears_with_its_namespace_and_not_before() {
    let scene = Scene::shared("later").await;
    scene.make_copy("west", http()).await;
    // A second import, made after it, shows that the first was looked at.
    let witness = Scene::shared("later-witness").await;
    witness.make_namespace().await;
    witness.make_copy("west", http()).await;
    witness.import().await;

    scene.make_namespace().await;
    scene.import().await;

    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    namespaces
        .delete("later", &DeleteParams::default())
        .await
        .unwrap();
    // No controller empties it here: what is made in it meanwhile would be refused.
    scene
        .cluster_exports()
        .delete("web.later.west", &DeleteParams::default())
        .await
        .unwrap();
    scene.nothing_is_left().await;
}

#[tokio::test]
async fn a_foreign_import_is_left_alone_until_it_is_gone() {
    let scene = Scene::shared("foreign-import").await;
    scene.make_namespace().await;
    let foreign: ServiceImport = scene
        .make(json!({
            "metadata": {"name": "web"},
            "spec": {"type": "ClusterSetIP", "ports": [{"port": 1, "protocol": "TCP"}]},
        }))
        .await;
    scene.make_service(&["10.0.0.1"]).await;
    scene.make_export().await;
    scene.export_says("Ready", "True", "Exported").await;

    let found: ServiceImport = scene.api().get("web").await.unwrap();
    assert_eq!(
        found.metadata.resource_version,
        foreign.metadata.resource_version
    );

    scene.delete::<ServiceImport>("web").await;
    assert_eq!(scene.import().await.spec.ports[0].port, 80);
}

#[tokio::test]
async fn a_foreign_service_in_the_derived_place_is_left_alone_until_it_is_gone() {
    let scene = Scene::shared("foreign-service").await;
    scene.make_namespace().await;
    let name = scene.derived_name();
    let foreign: Service = scene
        .make(json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 1}]}}))
        .await;
    scene.make_copy("west", http()).await;

    let condition = scene.import_says("Ready", "False", "Pending").await;

    assert!(condition.message.contains(&name), "{}", condition.message);
    let found = scene.derived().await;
    assert_eq!(
        found.metadata.resource_version,
        foreign.metadata.resource_version
    );
    scene.delete::<Service>(&name).await;
    scene.import().await;
}

#[tokio::test]
async fn what_was_changed_by_hand_is_put_back() {
    let scene = Scene::shared("by-hand").await;
    scene.make_namespace().await;
    scene.make_copy("west", http()).await;
    let import = scene.import().await;
    let patch = Patch::Merge(json!({"spec": {"ips": ["192.0.2.1"]}}));
    let params = PatchParams::default();
    scene
        .api::<ServiceImport>()
        .patch("web", &params, &patch)
        .await
        .unwrap();

    eventually("the clusterset IP is put back", async || {
        let found = scene
            .api::<ServiceImport>()
            .get("web")
            .await
            .map_err(|e| e.to_string())?;
        if found.spec.ips == import.spec.ips {
            Ok(())
        } else {
            Err(format!("{:?}", found.spec))
        }
    })
    .await;

    scene.delete::<Service>(&scene.derived_name()).await;
    eventually("the derived Service is made again", async || {
        scene
            .api::<Service>()
            .get(&scene.derived_name())
            .await
            .map_err(|e| e.to_string())
    })
    .await;
}

#[tokio::test]
async fn exported_labels_and_annotations_come_and_go() {
    let scene = Scene::shared("labels").await;
    scene.make_namespace().await;
    scene.make_service(&["10.0.0.1"]).await;
    scene
        .make::<ServiceExport>(json!({
            "metadata": {"name": "web", "labels": {"not": "exported"}},
            "spec": {"exportedLabels": {"team": "a"}, "exportedAnnotations": {"note": "b"}},
        }))
        .await;
    let import = scene.import().await;
    let labels = import.metadata.labels.unwrap();
    assert_eq!((labels["team"].as_str(), labels.get("not")), ("a", None));
    assert_eq!(import.metadata.annotations.unwrap()["note"], "b");

    let patch = Patch::Merge(json!({"spec": {"exportedLabels": {"team": null}}}));
    let params = PatchParams::default();
    scene
        .api::<ServiceExport>()
        .patch("web", &params, &patch)
        .await
        .unwrap();

    eventually("the label is gone", async || {
        let found = scene
            .api::<ServiceImport>()
            .get("web")
            .await
            .map_err(|e| e.to_string())?;
        let labels = found.metadata.labels.unwrap_or_default();
        if labels.contains_key("team") {
            Err(format!("{labels:?}"))
        } else {
            Ok(())
        }
    })
    .await;
}

#[tokio::test]
async fn a_label_of_somebody_else_stays_and_is_not_fought_over() {
    let scene = Scene::shared("labelled").await;
    scene.make_namespace().await;
    scene.make_copy("west", http()).await;
    scene.import().await;
    let label = Patch::Merge(json!({"metadata": {"labels": {"somebody": "else"}}}));
    let params = PatchParams::default();
    scene
        .api::<ServiceImport>()
        .patch("web", &params, &label)
        .await
        .unwrap();

    // What it would do in a fight it does in the time that a change after it takes.
    scene.make_copy("north", http()).await;
    eventually("both clusters are in the import", async || {
        let import = scene
            .api::<ServiceImport>()
            .get("web")
            .await
            .map_err(|e| e.to_string())?;
        let clusters = import.status.unwrap_or_default().clusters.len();
        if clusters == 2 {
            Ok(())
        } else {
            Err(format!("{clusters} are"))
        }
    })
    .await;

    let import: ServiceImport = scene.api().get("web").await.unwrap();
    assert_eq!(import.metadata.labels.unwrap()["somebody"], "else");
    let writes = shared_writes().into_iter();
    let applied = writes
        .filter(|write| write == "patch labelled serviceimports")
        .count();
    assert!(
        applied <= 4,
        "made, given its address, and looked at again: {applied}"
    );
}

#[tokio::test]
async fn session_affinity_is_that_of_the_oldest_and_can_be_taken_off() {
    let scene = Scene::shared("affinity").await;
    scene.make_namespace().await;
    scene.make_service(&["10.0.0.1"]).await;
    affinity(
        &scene,
        json!({"sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}),
    )
    .await;
    scene.make_export().await;
    let import = scene.import().await;
    assert_eq!(import.spec.session_affinity.as_deref(), Some("ClientIP"));
    let spec = scene.derived().await.spec.unwrap();
    let config = spec.session_affinity_config.unwrap().client_ip.unwrap();
    assert_eq!(config.timeout_seconds, Some(60));

    affinity(
        &scene,
        json!({"sessionAffinity": "None", "sessionAffinityConfig": null}),
    )
    .await;

    eventually("the derived Service has no affinity", async || {
        let derived = scene.api::<Service>().get(&scene.derived_name()).await;
        let found = derived
            .map_err(|e| e.to_string())?
            .spec
            .unwrap()
            .session_affinity;
        if found.as_deref() == Some("None") {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn a_thousand_ports_or_a_strange_name_in_a_copy_harm_nobody() {
    let scene = Scene::shared("hostile").await;
    scene.make_namespace().await;
    let ports: Vec<Value> = (1..=1000)
        .map(|p| json!({"name": format!("p{p}"), "port": p, "protocol": "TCP"}))
        .collect();
    scene.make_copy("many", json!(ports)).await;
    let mut misnamed = scene
        .cluster_exports()
        .get("web.hostile.many")
        .await
        .unwrap();
    misnamed.metadata = kube::api::ObjectMeta {
        name: Some("something".to_owned()),
        ..Default::default()
    };
    scene
        .cluster_exports()
        .create(&PostParams::default(), &misnamed)
        .await
        .unwrap();
    scene.make_copy("west", http()).await;

    let import = scene.import().await;

    let clusters = import.status.unwrap().clusters;
    assert_eq!(
        clusters
            .iter()
            .map(|c| c.cluster.as_str())
            .collect::<Vec<_>>(),
        ["west"]
    );
}

fn http() -> Value {
    json!([{"name": "http", "protocol": "TCP", "port": 80}])
}

async fn affinity(scene: &Scene, spec: Value) {
    let patch = Patch::Merge(json!({ "spec": spec }));
    scene
        .api::<Service>()
        .patch("web", &PatchParams::default(), &patch)
        .await
        .unwrap();
}
