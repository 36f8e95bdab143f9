//! What a TrafficPolicy does with the connections of real clients. These disturb nobody, so they run
//! side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tombolo_crds::TrafficPolicy;
use tombolo_demo_clusters::cluster::{ARRIVAL, Cluster};
use tombolo_demo_clusters::{Pod, Scene, wait_until, workload};

/// Enough that even shares of two would be seen.
const MANY: u32 = 20;

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn local_pods_are_preferred_and_the_other_cluster_takes_over() -> Result<()> {
    let scene = Scene::new("prefer").await?;
    let (east, west) = (scene.east(), scene.west());
    scene.hello(east, "hello", 2).await?;
    scene.hello(west, "hello", 2).await?;
    let client = scene.client(west).await?;
    west.imported(scene.namespace(), "hello", &["east", "west"])
        .await?;
    for cluster in [east, west] {
        cluster
            .rolled_out(scene.namespace(), "deployment/hello")
            .await?;
    }
    answers_of_all(&scene, &client, &[east, west]).await?;

    scene
        .apply(west, &policy("hello", "prefer: [Local]"))
        .await?;
    accepted(&scene, west, ("True", "Accepted")).await?;

    answers_of_only(&scene, &client, &[west]).await?;
    scale(&scene, west, 0).await?;
    answers_of_only(&scene, &client, &[east]).await?;
    scale(&scene, west, 2).await?;
    answers_of_only(&scene, &client, &[west]).await?;
    // The policy is that of the importing cluster alone.
    let elsewhere = scene.client(east).await?;
    answers_of_all(&scene, &elsewhere, &[east, west]).await?;
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_new_version_gets_the_share_that_its_labels_are_given() -> Result<()> {
    let scene = Scene::new("subsets").await?;
    let (east, west) = (scene.east(), scene.west());
    scene.hello(east, "hello", 1).await?;
    let toolbox = scene.demo().toolbox();
    let next = workload::hello("next", 1, toolbox).replace("app: next", "app: hello, version: v2");
    scene.apply(east, &next).await?;
    let client = scene.client(west).await?;
    scene.answers(&client, "hello").await?;
    east.rolled_out(scene.namespace(), "deployment/next")
        .await?;
    wait_until("answers of both versions", ARRIVAL, async || {
        let count = answering(&scene, &client).await?.len();
        ensure!(count == 2, "{count} pods");
        Ok(())
    })
    .await?;

    let only_next = "subsets: [{name: next, labels: {version: v2}, weight: 1}]";
    scene.apply(west, &policy("hello", only_next)).await?;
    wait_until("answers of the new version only", ARRIVAL, async || {
        let said = answering(&scene, &client).await?;
        ensure!(said.keys().all(|pod| pod.starts_with("next-")), "{said:?}");
        Ok(())
    })
    .await?;

    scene.delete(west, "trafficpolicy", "hello").await?;
    wait_until("answers of both versions again", ARRIVAL, async || {
        let count = answering(&scene, &client).await?.len();
        ensure!(count == 2, "{count} pods");
        Ok(())
    })
    .await?;
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn who_writes_a_policy_for_nothing_is_told() -> Result<()> {
    let scene = Scene::new("policyless").await?;
    let west = scene.west();

    scene
        .apply(west, &policy("hello", "prefer: [Local]"))
        .await?;

    accepted(&scene, west, ("False", "TargetNotFound")).await?;
    let refused = scene.apply(west, &policy("hello", "prefer: [Moon]")).await;
    let message = format!("{:#}", refused.err().context("was taken")?);
    assert!(message.contains("Moon"), "{message}");
    scene.finish().await
}

fn policy(import: &str, rules: &str) -> String {
    format!(
        "
apiVersion: tombolo.io/v1alpha1
kind: TrafficPolicy
metadata: {{name: {import}}}
spec:
  targetRef: {{group: multicluster.x-k8s.io, kind: ServiceImport, name: {import}}}
  {rules}
"
    )
}

/// Waits until the policy's author is told so.
async fn accepted(scene: &Scene, cluster: &Cluster, expected: (&str, &str)) -> Result<()> {
    let policies = cluster.api::<TrafficPolicy>(scene.namespace());
    wait_until("the policy's condition", ARRIVAL, async || {
        let status = policies.get("hello").await?.status.unwrap_or_default();
        let ancestor = status.ancestors.first().context("no status")?;
        let condition = ancestor.conditions.first().context("no condition")?;
        let found = (&*condition.status, &*condition.reason);
        ensure!(found == expected, "{condition:?}");
        Ok(())
    })
    .await
}

async fn scale(scene: &Scene, cluster: &Cluster, replicas: u32) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    scene
        .kubectl(cluster, &["scale", "deployment/hello", &replicas])
        .await?;
    cluster
        .rolled_out(scene.namespace(), "deployment/hello")
        .await
}

/// Waits until only pods of these clusters answer, all of each cluster.
async fn answers_of_only(scene: &Scene, client: &Pod, clusters: &[&Cluster]) -> Result<()> {
    wait_until("answers of the right pods only", ARRIVAL, async || {
        let mut expected = BTreeSet::new();
        for cluster in clusters {
            expected.append(&mut scene.pods_of(cluster, "hello").await?);
        }
        let said = answering(scene, client).await?;
        let said: BTreeSet<_> = said.into_keys().collect();
        ensure!(said == expected, "{said:?}, not {expected:?}");
        Ok(())
    })
    .await
}

/// Waits until each of these clusters has answered, with whatever pod.
async fn answers_of_all(scene: &Scene, client: &Pod, clusters: &[&Cluster]) -> Result<()> {
    wait_until("answers of every cluster", ARRIVAL, async || {
        let said = answering(scene, client).await?;
        for cluster in clusters {
            let expected = scene.pods_of(cluster, "hello").await?;
            let heard = said.keys().any(|pod| expected.contains(pod));
            ensure!(heard, "none of {expected:?} in {said:?}");
        }
        Ok(())
    })
    .await
}

/// How many of [`MANY`] requests each pod answered.
async fn answering(scene: &Scene, client: &Pod) -> Result<BTreeMap<String, usize>> {
    let url = scene.url("hello");
    client.spread("", &url, MANY, Duration::ZERO).await
}
