//! How the operator does with many services. Takes minutes: run by name.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::json;
use tombolo_crds::ClusterExport;
use tombolo_crds::mcs::ServiceImport;

use crate::api_server::Cluster;
use crate::gateways::Gateway;
use crate::program::{Start, prepare};
use crate::scene::Scene;

const IMPORTS: usize = 10_000;
const GATEWAYS: usize = 2;
const MOST_KIB: u64 = 150 * 1024;
const PATIENCE: Duration = Duration::from_secs(3600);

#[tokio::test]
#[ignore = "makes tens of thousands of objects"]
async fn ten_thousand_imports_take_less_than_150_mib() {
    let cluster = Cluster::start();
    let scene = Scene::of(&cluster, "demo").await;
    prepare(&scene.client, &["operator-0"]).await;
    let operator = Start::new(&cluster, "operator-0")
        .env("TOMBOLO_LOG", "warn")
        .go();
    scene.await_crds().await;
    scene.make_namespace().await;
    let began = Instant::now();
    stream::iter(0..IMPORTS)
        .for_each_concurrent(16, |number| make(&scene, number))
        .await;

    let imports: Api<ServiceImport> = scene.api();
    let slices: Api<EndpointSlice> = scene.api();
    let mut gateways = Vec::new();
    loop {
        let ready = count(&imports, is_ready).await;
        let reachable = count(&slices, |slice| slice.endpoints.len() == GATEWAYS).await;
        println!(
            "{ready} imports are ready, {reachable} lead to gateways after {:?}: {} KiB resident",
            began.elapsed(),
            operator.resident_kib()
        );
        if reachable == IMPORTS {
            break;
        }
        if ready == IMPORTS && gateways.is_empty() {
            for number in 0..GATEWAYS {
                let (name, address) = (format!("gw-{number}"), format!("10.1.0.{}", number + 1));
                gateways.push(Gateway::start(&scene.client, &name, &address, "west").await);
            }
        }
        assert!(began.elapsed() < PATIENCE, "{}", operator.log());
        tokio::time::sleep(Duration::from_secs(5)).await;
    }

    let at_work = operator.resident_kib();
    drop(operator);
    let restarted = Start::new(&cluster, "operator-0")
        .env("TOMBOLO_LOG", "warn,tombolo_operator::controller=info")
        .go();
    while !restarted.log().contains("leading") {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    let after_restart = restarted.resident_kib();
    println!("{IMPORTS} imports: {at_work} KiB at work, {after_restart} KiB after a restart");
    assert!(at_work < MOST_KIB && after_restart < MOST_KIB);
}

async fn make(scene: &Scene, number: usize) {
    let name = format!("service-{number}");
    let export: ClusterExport = serde_json::from_value(json!({
        "metadata": {
            "name": format!("{name}.{}.west", scene.namespace),
            "labels": {"tombolo.io/cluster": "west"},
        },
        "spec": {
            "cluster": "west", "namespace": scene.namespace, "name": name,
            "createdAt": "2030-01-01T00:00:00Z", "type": "ClusterSetIP",
            "ports": [{"name": "http", "protocol": "TCP", "port": 80}],
            "ipFamilies": ["IPv4"], "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster", "ready": true,
        },
    }))
    .unwrap();
    scene
        .cluster_exports()
        .create(&PostParams::default(), &export)
        .await
        .unwrap();
}

async fn count<K>(api: &Api<K>, is_counted: impl Fn(&K) -> bool) -> usize
where
    K: Clone + Debug + DeserializeOwned,
{
    let listed = api.list(&ListParams::default()).await.unwrap();
    listed
        .items
        .iter()
        .filter(|found| is_counted(found))
        .count()
}

fn is_ready(import: &ServiceImport) -> bool {
    let status = import.status.as_ref();
    let mut conditions = status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
