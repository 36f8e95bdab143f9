//! What changes cost: each write wakes every watcher of its kind.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tombolo_crds::mcs::{ServiceExport, ServiceImport};

use crate::scene::{Scene, eventually};
use crate::site::{Stage, imported_from};

#[tokio::test]
async fn one_change_of_one_export_writes_no_more_than_the_objects_that_differ() {
    let stage = ready("writes-change").await;
    let before = stage.writes();

    label(&stage.east, "b").await;
    for scene in stage.scenes() {
        has_label(scene, "b").await;
    }
    // A second change, made after the first has come everywhere, is the witness of its end.
    label(&stage.east, "c").await;
    for scene in stage.scenes() {
        has_label(scene, "c").await;
    }
    let [east, north, west] = since(&before, &stage);

    // Of each change: the export itself and its status, as that has another generation; everywhere
    // else the copy; and the import. The second change's status may still be under way.
    let export = ["clusterexports", "serviceimports", "serviceexports/status"];
    let copy = ["clusterexports", "serviceimports"];
    assert!(east.len() <= 2 * export.len(), "{east:?}");
    assert!(
        east.iter().all(|write| export.contains(&write.as_str())),
        "{east:?}"
    );
    for writes in [north, west] {
        assert_eq!(writes.len(), 2 * copy.len(), "{writes:?}");
        assert!(
            writes.iter().all(|write| copy.contains(&write.as_str())),
            "{writes:?}"
        );
    }
}

#[tokio::test]
async fn pods_that_come_and_go_behind_a_cluster_ip_cost_other_clusters_no_write() {
    let stage = ready("writes-churn").await;
    let before = stage.writes();

    for last in 2..6 {
        let address = format!("10.0.0.{last}");
        pods(
            &stage.east,
            &[("10.0.0.1", true), (&address, last % 2 == 0)],
        )
        .await;
        stage.east.lists("east", &["10.0.0.1", &address]).await;
    }

    let [east, north, west] = since(&before, &stage);
    assert_eq!(east, ["endpointslices"; 4]);
    // Between some and none ready is what others must know.
    pods(&stage.east, &[("10.0.0.1", false)]).await;
    stage.west.lists("east", &[]).await;
    stage.north.lists("east", &[]).await;
    assert_eq!((north, west), (Vec::<String>::new(), Vec::new()));
    for writes in &since(&before, &stage)[1..] {
        assert_eq!(writes[..], ["clusterexports", "endpointslices"]);
    }
}

/// An export of the east with a label, which has come everywhere.
async fn ready(namespace: &str) -> Stage {
    let stage = Stage::new(namespace).await;
    stage.east.make_service(&["10.0.0.1"]).await;
    stage
        .east
        .make::<ServiceExport>(json!({
            "metadata": {"name": "web"}, "spec": {"exportedLabels": {"team": "a"}},
        }))
        .await;
    let [_, north, west] = stage.gateways();
    stage.east.lists("east", &["10.0.0.1"]).await;
    stage.north.lists("east", &[north]).await;
    stage.west.lists("east", &[west]).await;
    for scene in stage.scenes() {
        imported_from(scene, &["east"]).await;
        scene.import().await;
    }
    stage
        .east
        .export_says("Conflict", "False", "NoConflicts")
        .await;
    stage
}

/// What was written since, by cluster.
fn since(before: &[Vec<String>; 3], stage: &Stage) -> [Vec<String>; 3] {
    let mut after = stage.writes();
    for (after, before) in after.iter_mut().zip(before) {
        after.drain(..before.len());
    }
    after
}

async fn label(scene: &Scene, value: &str) {
    let patch = Patch::Merge(json!({"spec": {"exportedLabels": {"team": value}}}));
    scene
        .api::<ServiceExport>()
        .patch("web", &PatchParams::default(), &patch)
        .await
        .unwrap();
}

async fn has_label(scene: &Scene, value: &str) {
    eventually(&format!("the label is {value}"), async || {
        let import = scene.api::<ServiceImport>().get("web").await;
        let labels = import.map_err(|error| error.to_string())?.metadata.labels;
        match labels.unwrap_or_default().get("team") {
            Some(found) if found == value => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await;
}

async fn pods(scene: &Scene, pods: &[(&str, bool)]) {
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|(address, ready)| json!({"addresses": [address], "conditions": {"ready": ready}}))
        .collect();
    let patch = Patch::Merge(json!({ "endpoints": endpoints }));
    let slices = scene.api::<EndpointSlice>();
    let params = PatchParams::default();
    slices.patch("web-abcde", &params, &patch).await.unwrap();
}
