//! UDP between the clusters, and what is told of protocols that are not carried.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tombolo_demo_clusters::cluster::ARRIVAL;
use tombolo_demo_clusters::{Pod, Scene, wait_until, workload};

const SHORT: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(120);

/// What a UDP server says to `question`, within three seconds.
async fn ask(client: &Pod, server: &str, question: &str) -> Result<String> {
    let script = format!("printf %s '{question}' | socat -t 3 -T 3 - UDP:{server}");
    let answer = client.output(&script, SHORT).await?;
    ensure!(!answer.is_empty(), "no answer of {server}");
    Ok(answer)
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn udp_reaches_every_pod_and_answers_reach_the_client() -> Result<()> {
    let scene = Scene::new("udp").await?;
    let (east, west) = (scene.east(), scene.west());
    let server = workload::udp("udp", 2, scene.demo().toolbox());
    scene
        .apply(east, &format!("{server}---{}", workload::export("udp")))
        .await?;
    let client = scene.client(west).await?;
    east.rolled_out(scene.namespace(), "deployment/udp").await?;
    west.imported(scene.namespace(), "udp", &["east"]).await?;
    let address = format!("{}:8081", scene.name("udp"));
    wait_until("an answer over UDP", ARRIVAL, async || {
        ask(&client, &address, "hostname").await
    })
    .await?;

    let mut pods = BTreeSet::new();
    for _ in 0..12 {
        pods.insert(ask(&client, &address, "hostname").await?);
    }
    assert_eq!(pods.len(), 2, "{pods:?}");

    // More than any packet of the path between the clusters takes.
    let long = "x".repeat(1900);
    assert_eq!(ask(&client, &address, &format!("echo {long}")).await?, long);

    // A client that stays is one flow, so one pod, whatever else is asked meanwhile.
    let script = format!(
        "exec 3<>/dev/udp/{}/8081
         for i in $(seq 10); do
           printf hostname >&3; timeout 3 dd bs=4096 count=1 <&3 2>/dev/null; echo
         done | sort | uniq -c",
        scene.name("udp")
    );
    let counted = client.output(&script, LONG).await?;
    let counted: Vec<_> = counted.split_whitespace().collect();
    let [count, pod] = counted[..] else {
        panic!("one pod, not {counted:?}")
    };
    assert_eq!(count, "10");
    assert!(pods.contains(pod), "{pod}");
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn another_clusters_dns_server_answers_over_udp() -> Result<()> {
    let scene = Scene::new("dns").await?;
    let (east, west) = (scene.east(), scene.west());
    scene.hello(east, "only-in-east", 1).await?;
    let client = scene.client(west).await?;
    // CoreDNS of the one cluster as a service of the clusterset.
    let system = "kube-system";
    east.apply_in(system, &workload::export("kube-dns")).await?;
    let address = west.imported(system, "kube-dns", &["east"]).await?;

    let name = format!("only-in-east.{}.svc.cluster.local", scene.namespace());
    let script = format!("dig +tries=1 +time=3 +short @{address} {name} A");
    let answer = wait_until("an answer of east's CoreDNS", ARRIVAL, async || {
        let answer = client.output(&script, SHORT).await?;
        ensure!(!answer.is_empty(), "nothing yet");
        Ok(answer)
    })
    .await?;
    let local = scene.client(east).await?;
    let expected = local.dig(&name, "A").await?;
    assert_eq!(vec![answer], expected.records);

    // Many at once, each from a port of its own.
    let script = format!(
        "for i in $(seq 100); do dig +tries=2 +time=3 +short @{address} {name} A & done | sort | uniq -c; wait"
    );
    let counted = client.output(&script, LONG).await?;
    let count = counted.split_whitespace().next().context("no answer")?;
    assert_eq!(count, "100", "{counted}");
    east.kubectl(&["-n", system, "delete", "serviceexport", "kube-dns"])
        .await?;
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_udp_server_that_is_replaced_is_found_again() -> Result<()> {
    let scene = Scene::new("udpgone").await?;
    let (east, west) = (scene.east(), scene.west());
    let server = workload::udp("udp", 1, scene.demo().toolbox());
    scene
        .apply(east, &format!("{server}---{}", workload::export("udp")))
        .await?;
    let client = scene.client(west).await?;
    west.imported(scene.namespace(), "udp", &["east"]).await?;
    let address = format!("{}:8081,sourceport=40404", scene.name("udp"));
    let before = wait_until("an answer over UDP", ARRIVAL, async || {
        ask(&client, &address, "hostname").await
    })
    .await?;

    scene.delete(east, "pod", &before).await?;

    // From the same port as before: it has to leave the pod that is gone.
    wait_until("an answer of another pod", ARRIVAL, async || {
        let pod = ask(&client, &address, "hostname").await?;
        ensure!(pod != before, "still {pod}");
        Ok(())
    })
    .await?;
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn sctp_is_in_the_import_and_said_to_be_not_carried() -> Result<()> {
    let scene = Scene::new("sctp").await?;
    let (east, west) = (scene.east(), scene.west());
    let service = "
apiVersion: v1
kind: Service
metadata: {name: signals}
spec:
  selector: {app: signals}
  ports:
    - {name: http, port: 80}
    - {name: signals, port: 2905, protocol: SCTP}
";
    scene
        .apply(
            east,
            &format!("{service}---{}", workload::export("signals")),
        )
        .await?;

    let not_carried = ("tombolo.io/Carried", "False", "ProtocolNotCarried");
    let condition = east
        .export_condition(scene.namespace(), "signals", not_carried)
        .await?;

    assert!(condition.message.contains("2905/SCTP"), "{condition:?}");
    let valid = ("Valid", "True", "Valid");
    east.export_condition(scene.namespace(), "signals", valid)
        .await?;
    west.imported(scene.namespace(), "signals", &["east"])
        .await?;
    scene.finish().await
}
