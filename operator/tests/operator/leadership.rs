//! Restarts and several replicas.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::api_server::Cluster;
use crate::crds::{install_without, make_leader};
use crate::program::{Start, prepare, user};
use crate::scene::{Scene, eventually};

/// A leader that dies is replaced within four seconds; the rest is for a machine that is busy with
/// other things.
const HANDED_OVER: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_restart_with_an_empty_cache_writes_nothing() {
    let cluster = Cluster::start();
    let scene = exporting(&cluster).await;
    let operator = Start::new(&cluster, "operator-0").go();
    scene.await_crds().await;
    scene.make_export().await;
    scene
        .make_copy(
            "west",
            json!([{"name": "http", "protocol": "TCP", "port": 80}]),
        )
        .await;
    scene.import().await;
    scene.export_says("Conflict", "False", "NoConflicts").await;
    scene.lists("east", &["10.0.0.1"]).await;
    settled(&scene, &cluster).await;
    drop(operator);
    let before = cluster.writes();

    let operator = Start::new(&cluster, "operator-0").go();
    // Whatever a second pass would write is asked for before the service made after it began.
    has_led(&operator).await;
    let witness = Scene::of(&cluster, "witness").await;
    witness.make_namespace().await;
    witness.make_service(&["10.0.0.9"]).await;
    witness.make_export().await;
    witness.import().await;

    let written: Vec<_> = cluster.writes().split_off(before.len());
    let of_old: Vec<_> = written
        .iter()
        .filter(|write| write.contains(" demo "))
        .collect();
    assert!(of_old.is_empty(), "{of_old:?}");
    let published = written
        .iter()
        .filter(|w| w.ends_with("clusterexports"))
        .count();
    assert_eq!(published, 1, "only the witness is new: {written:?}");
    assert!(
        !written
            .iter()
            .any(|write| write.contains("customresourcedefinitions"))
    );
    assert!(!written.iter().any(|write| write.contains("secrets")));
}

#[tokio::test]
async fn the_second_replica_writes_nothing_until_the_first_is_gone() {
    let cluster = Cluster::start();
    let scene = exporting(&cluster).await;
    let first = Start::new(&cluster, "operator-0").go();
    scene.await_crds().await;
    has_led(&first).await;
    let second = Start::new(&cluster, "operator-1").go();
    scene.make_export().await;
    scene.import().await;
    eventually("the second replica knows everything", async || {
        let listed = cluster.requests().iter().any(|request| {
            request.user == user("operator-1") && request.resource == "endpointslices"
        });
        if listed { Ok(()) } else { Err(second.log()) }
    })
    .await;
    let by_second = |request: &crate::api_server::Request| {
        request.user == user("operator-1")
            && ["create", "patch", "update", "delete"].contains(&request.verb.as_str())
            && request.resource != "leases"
    };
    assert!(!cluster.requests().iter().any(by_second));

    first.kill();
    let killed = Instant::now();
    let later = Scene::of(&cluster, "later").await;
    later.make_namespace().await;
    later.make_service(&["10.0.0.2"]).await;
    later.make_export().await;

    later.import().await;
    assert!(killed.elapsed() < HANDED_OVER, "{:?}", killed.elapsed());
    assert!(cluster.requests().iter().any(by_second));
}

#[tokio::test]
async fn a_new_replica_leads_soon_after_the_leader_that_did_not_know_a_crd_is_gone() {
    let cluster = Cluster::start();
    let scene = exporting(&cluster).await;
    install_without(&scene.client, "trafficpolicies.tombolo.io").await;
    let lease = make_leader(&scene.client, "operator-0").await;
    let replica = Start::new(&cluster, "operator-1").go();
    eventually("the new replica is ready", async || replica.is_ready()).await;
    scene.make_export().await;
    assert!(!replica.log().contains("leading"));

    lease.give_up().await;
    let given_up = Instant::now();

    scene.import().await;
    assert!(given_up.elapsed() < HANDED_OVER, "{:?}", given_up.elapsed());
}

/// The namespace `demo` with the Service `web`, before any operator.
async fn exporting(cluster: &Cluster) -> Scene {
    let scene = Scene::of(cluster, "demo").await;
    prepare(&scene.client, &["operator-0", "operator-1"]).await;
    scene.make_namespace().await;
    scene.make_service(&["10.0.0.1"]).await;
    scene
}

async fn has_led(operator: &crate::program::Operator) {
    eventually("the operator leads", async || {
        let log = operator.log();
        if log.contains("leading") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
}

/// Waits until what was begun is done: the CA and the gateways' certificate are made beside the
/// services.
async fn settled(scene: &Scene, cluster: &Cluster) {
    use k8s_openapi::api::core::v1::Secret;
    use tombolo_crds::well_known::GATEWAY_IDENTITY_SECRET;
    let secrets: kube::Api<Secret> =
        kube::Api::namespaced(scene.client.clone(), crate::program::SYSTEM);
    eventually("the gateways have a certificate", async || {
        secrets
            .get(GATEWAY_IDENTITY_SECRET)
            .await
            .map(drop)
            .map_err(|e| e.to_string())
    })
    .await;
    eventually("both clusters are in the import's status", async || {
        let import = scene
            .api::<tombolo_crds::mcs::ServiceImport>()
            .get("web")
            .await;
        let status = import
            .map_err(|e| e.to_string())?
            .status
            .unwrap_or_default();
        if status.clusters.len() == 2 {
            Ok(())
        } else {
            Err(format!("{status:?}, {:?}", cluster.writes()))
        }
    })
    .await;
}
