//! Headless Services across clusters: each pod by its name. These disturb nobody, so they run side
//! by side.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Pod as KubePod, Service};
use kube::api::ListParams;
use tombolo_crds::well_known::ENDPOINT_NAMESPACE_LABEL;
use tombolo_demo_clusters::cluster::{ARRIVAL, Cluster, SYSTEM};
use tombolo_demo_clusters::{Pod, Scene, wait_until, workload};

const POD_START: Duration = Duration::from_secs(120);

/// The name of one pod of `db` in east.
fn host(scene: &Scene, hostname: &str) -> String {
    format!("{hostname}.east.{}", scene.name("db"))
}

/// Waits until a pod of `db` answers by its name; it says its own.
async fn answers(scene: &Scene, client: &Pod, hostname: &str) -> Result<()> {
    let url = format!("http://{}/hostname", host(scene, hostname));
    wait_until(format!("an answer of {url}"), POD_START, async || {
        let answer = client.get(&url).await?;
        ensure!(answer == hostname, "{hostname} is {answer}");
        Ok(())
    })
    .await
}

async fn address(scene: &Scene, client: &Pod, hostname: &str) -> Result<String> {
    let answer = client.dig(&host(scene, hostname), "A").await?;
    let [address] = &answer.records[..] else {
        anyhow::bail!("one address of {hostname}, not {answer:?}")
    };
    Ok(address.clone())
}

async fn export(scene: &Scene, cluster: &Cluster, replicas: usize) -> Result<()> {
    let server = workload::stateful("db", replicas, scene.demo().toolbox());
    scene
        .apply(cluster, &format!("{server}---{}", workload::export("db")))
        .await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn each_pod_of_a_statefulset_is_reached_by_its_name_from_the_other_cluster() -> Result<()> {
    let scene = Scene::new("headless").await?;
    let (east, west) = (scene.east(), scene.west());
    export(&scene, east, 3).await?;
    let client = scene.client(west).await?;
    let pods = ["db-0", "db-1", "db-2"];

    for pod in pods {
        answers(&scene, &client, pod).await?;
    }

    let mut addresses = BTreeSet::new();
    for pod in pods {
        addresses.insert(address(&scene, &client, pod).await?);
    }
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    let name = scene.name("db");
    let all = client.dig(&name, "A").await?.records;
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), addresses);
    let records = client
        .dig(&format!("_http._tcp.{name}"), "SRV")
        .await?
        .records;
    assert_eq!(records.len(), 3, "{records:?}");
    for pod in pods {
        let target = format!(" 80 {}.", host(&scene, pod));
        assert!(records.iter().any(|r| r.ends_with(&target)), "{records:?}");
    }
    let per_cluster = client.dig(&format!("east.{name}"), "A").await?;
    assert!(per_cluster.records.is_empty(), "{per_cluster:?}");
    // No route leads there, and the ranges of pods are the same in both clusters.
    let own: BTreeSet<_> = pod_addresses(east, &scene).await?;
    assert!(own.is_disjoint(&addresses), "{own:?} {addresses:?}");
    // The exporting cluster's own pods are reached directly.
    let at_home = scene.client(east).await?;
    let url = format!("http://{}:8080/hostname", host(&scene, "db-0"));
    wait_until("an answer at home", POD_START, async || {
        at_home.get(&url).await
    })
    .await?;
    let listed = client_addresses(&scene, &at_home).await?;
    assert_eq!(listed, own);
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_pod_that_restarts_keeps_its_name_and_address_and_gets_traffic_again() -> Result<()> {
    let scene = Scene::new("restart").await?;
    let (east, west) = (scene.east(), scene.west());
    export(&scene, east, 2).await?;
    let client = scene.client(west).await?;
    for pod in ["db-0", "db-1"] {
        answers(&scene, &client, pod).await?;
    }
    let before = address(&scene, &client, "db-1").await?;
    let uid = east
        .api::<KubePod>(scene.namespace())
        .get("db-1")
        .await?
        .metadata
        .uid;

    scene.delete(east, "pod", "db-1").await?;
    wait_until("another pod of that name", POD_START, async || {
        let pod = east.api::<KubePod>(scene.namespace()).get("db-1").await?;
        ensure!(pod.metadata.uid != uid, "it is the same");
        Ok(())
    })
    .await?;

    answers(&scene, &client, "db-1").await?;
    assert_eq!(address(&scene, &client, "db-1").await?, before);
    answers(&scene, &client, "db-0").await?;
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_withdrawn_headless_service_leaves_no_name_and_no_service() -> Result<()> {
    let scene = Scene::new("gone").await?;
    let (east, west) = (scene.east(), scene.west());
    export(&scene, east, 2).await?;
    let client = scene.client(west).await?;
    answers(&scene, &client, "db-1").await?;
    let services = west.api::<Service>(SYSTEM);
    let ours = format!("{ENDPOINT_NAMESPACE_LABEL}={}", scene.namespace());
    let ours = ListParams::default().labels(&ours);
    assert_eq!(services.list(&ours).await?.items.len(), 2);

    scene.delete(east, "serviceexport", "db").await?;

    wait_until("nothing is left", ARRIVAL, async || {
        let left = services.list(&ours).await?.items.len();
        ensure!(left == 0, "{left} Services are left");
        let answer = client.dig(&scene.name("db"), "A").await?;
        ensure!(answer.status == "NXDOMAIN", "{answer:?}");
        Ok(())
    })
    .await?;
    scene.finish().await
}

async fn pod_addresses(cluster: &Cluster, scene: &Scene) -> Result<BTreeSet<String>> {
    let params = ListParams::default().labels("app=db");
    let pods = cluster
        .api::<KubePod>(scene.namespace())
        .list(&params)
        .await?;
    let addresses = pods
        .items
        .into_iter()
        .filter_map(|pod| pod.status?.pod_ip)
        .collect();
    Ok(addresses)
}

async fn client_addresses(scene: &Scene, client: &Pod) -> Result<BTreeSet<String>> {
    let answer = client.dig(&scene.name("db"), "A").await?;
    Ok(answer.records.into_iter().collect())
}
