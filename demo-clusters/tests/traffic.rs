//! Which pod a connection gets to: session affinity, pods that are about to end, ports that differ
//! from pod to pod, endpoints that are refused. These disturb nobody, so they run side by side.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod as PodObject;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use tombolo_crds::mcs::ServiceExport;
use tombolo_demo_clusters::cluster::{ARRIVAL, Cluster};
use tombolo_demo_clusters::{Pod, Scene, wait_until, workload};

/// A connection of its own every two seconds, so that kube-proxy forgets the client in between.
const PAUSE: Duration = Duration::from_secs(2);

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn with_session_affinity_a_client_keeps_its_pod_in_the_other_cluster() -> Result<()> {
    let scene = Scene::new("affinity").await?;
    let (east, west) = (scene.east(), scene.west());
    scene.hello(east, "hello", 4).await?;
    // kube-proxy's own memory is as short as it can be: what holds the client is the gateways.
    let affinity = r#"{"spec": {"sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}}}}"#;
    patch(&scene, east, "service/hello", affinity).await?;
    let client = scene.client(west).await?;
    east.rolled_out(scene.namespace(), "deployment/hello")
        .await?;
    scene.answers(&client, "hello").await?;
    wait_until("the affinity to arrive", ARRIVAL, async || {
        let import = west.api::<tombolo_crds::mcs::ServiceImport>(scene.namespace());
        let affinity = import.get("hello").await?.spec.session_affinity;
        ensure!(affinity.as_deref() == Some("ClientIP"), "{affinity:?}");
        let pods = answering(&client, &scene, "hello", 6, Duration::ZERO).await?;
        ensure!(pods.len() == 1, "{pods:?}");
        Ok(())
    })
    .await?;

    let first = answering(&client, &scene, "hello", 8, PAUSE).await?;
    assert_eq!(first.len(), 1, "{first:?}");

    let pod = first.first().context("no pod")?;
    scene.delete(east, "pod", pod).await?;
    east.wait_gone(&east.api::<PodObject>(scene.namespace()), pod)
        .await?;
    east.rolled_out(scene.namespace(), "deployment/hello")
        .await?;
    scene.answers(&client, "hello").await?;
    let second = answering(&client, &scene, "hello", 8, PAUSE).await?;
    assert_eq!(second.len(), 1, "{second:?}");
    assert_ne!(first, second);
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn pods_may_differ_in_the_number_of_a_named_port() -> Result<()> {
    let scene = Scene::new("named").await?;
    let (east, west) = (scene.east(), scene.west());
    let toolbox = scene.demo().toolbox();
    let service = "
apiVersion: v1
kind: Service
metadata: {name: mixed}
spec:
  selector: {app: mixed}
  ports: [{name: http, port: 80, targetPort: web}]
";
    let pods = [("old", 8080), ("new", 8090)].map(|(name, port)| mixed_pod(name, port, toolbox));
    let export = workload::export("mixed");
    scene
        .apply(
            east,
            &format!("{service}---{}---{export}", pods.join("---")),
        )
        .await?;
    let client = scene.client(west).await?;
    scene.answers(&client, "mixed").await?;

    wait_until("answers of both pods", ARRIVAL, async || {
        let seen = answering(&client, &scene, "mixed", 8, Duration::ZERO).await?;
        ensure!(seen.len() == 2, "{seen:?}");
        Ok(())
    })
    .await?;
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn the_last_pod_serves_until_it_ends() -> Result<()> {
    let scene = Scene::new("ending").await?;
    let (east, west) = (scene.east(), scene.west());
    scene.hello(east, "hello", 1).await?;
    let slow_to_end = r#"{"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 60,
        "containers": [{"name": "hello", "lifecycle": {"preStop": {"sleep": {"seconds": 30}}}}]}}}}"#;
    patch(&scene, east, "deployment/hello", slow_to_end).await?;
    let client = scene.client(west).await?;
    east.rolled_out(scene.namespace(), "deployment/hello")
        .await?;
    scene.answers(&client, "hello").await?;

    let none = [
        "-n",
        scene.namespace(),
        "scale",
        "deployment/hello",
        "--replicas=0",
    ];
    east.kubectl(&none).await?;
    wait_until("the pod to be about to end", ARRIVAL, async || {
        let pods = east.api::<PodObject>(scene.namespace());
        let pods = pods
            .list(&ListParams::default().labels("app=hello"))
            .await?;
        let mut ending = pods
            .items
            .iter()
            .map(|pod| &pod.metadata.deletion_timestamp);
        ensure!(ending.all(Option::is_some), "not yet");
        Ok(())
    })
    .await?;

    // Longer than a catalog takes to arrive: the import stays served in the other cluster.
    let seen = answering(&client, &scene, "hello", 8, Duration::from_secs(1)).await?;
    assert_eq!(seen.len(), 1, "{seen:?}");
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn pods_that_are_not_ready_are_reached_if_they_are_published() -> Result<()> {
    let scene = Scene::new("unready").await?;
    let (east, west) = (scene.east(), scene.west());
    scene.hello(east, "hello", 1).await?;
    let never_ready = r#"{"spec": {"template": {"spec": {"containers": [{"name": "hello",
        "readinessProbe": {"httpGet": {"path": "/no/such/path", "port": 8081}}}]}}}}"#;
    patch(&scene, east, "deployment/hello", never_ready).await?;
    let publish = r#"{"spec": {"publishNotReadyAddresses": true}}"#;
    patch(&scene, east, "service/hello", publish).await?;

    let client = scene.client(west).await?;
    scene.answers(&client, "hello").await?;
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn who_exports_endpoints_that_are_refused_is_told() -> Result<()> {
    let scene = Scene::new("refused").await?;
    let east = scene.east();
    let namespace = scene.namespace();
    let outside = workload::hand_made("outside", "192.0.2.7", 80);
    scene
        .apply(
            east,
            &format!("{outside}---{}", workload::export("outside")),
        )
        .await?;

    let exports = east.api::<ServiceExport>(namespace);
    wait_until("a condition that names the endpoint", ARRIVAL, async || {
        let status = exports.get("outside").await?.status.unwrap_or_default();
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
        let ready = ready.context("no condition Ready")?;
        ensure!(ready.message.contains("192.0.2.7"), "{ready:?}");
        ensure!(ready.status == "True", "{ready:?}");
        Ok(())
    })
    .await?;
    let events = east.api::<Event>(namespace);
    wait_until("an Event about it", ARRIVAL, async || {
        let events = events.list(&ListParams::default()).await?;
        let told = events.items.iter().any(|event| {
            event.reason.as_deref() == Some("EndpointsRefused")
                && event.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some("outside")
        });
        ensure!(told, "no Event");
        Ok(())
    })
    .await?;
    scene.finish().await
}

/// The pods that answer `count` requests, with `pause` after each.
async fn answering(
    client: &Pod,
    scene: &Scene,
    service: &str,
    count: u32,
    pause: Duration,
) -> Result<BTreeSet<String>> {
    let pods = client.spread("", &scene.url(service), count, pause).await?;
    Ok(pods.into_keys().collect())
}

async fn patch(scene: &Scene, cluster: &Cluster, object: &str, patch: &str) -> Result<()> {
    let words = ["-n", scene.namespace(), "patch", object, "-p", patch];
    cluster.kubectl(&words).await.map(drop)
}

fn mixed_pod(name: &str, port: u16, toolbox: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: mixed}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: hello
      image: {toolbox}
      imagePullPolicy: IfNotPresent
      args: [netexec, --http-port={port}, --udp-port=8081]
      ports: [{{name: web, containerPort: {port}}}]
"
    )
}
