//! What users see: names, answers, bytes, and what becomes of exports. These disturb nobody, so
//! they run side by side.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use tombolo_crds::mcs::ServiceImport;
use tombolo_crds::{ClusterExport, well_known};
use tombolo_demo_clusters::cluster::{ARRIVAL, SYSTEM};
use tombolo_demo_clusters::node::{OUTSIDE_ADDRESS, OUTSIDE_PORT};
use tombolo_demo_clusters::{Scene, wait_until, workload};

const SHORT: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(300);

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_name_leads_to_every_pod_of_the_other_cluster() -> Result<()> {
    let scene = Scene::new("name").await?;
    let (east, west) = (scene.east(), scene.west());
    scene.hello(east, "hello", 3).await?;
    let client = scene.client(west).await?;
    east.rolled_out(scene.namespace(), "deployment/hello")
        .await?;
    scene.answers(&client, "hello").await?;

    let ip = west.imported(scene.namespace(), "hello", &["east"]).await?;
    let name = scene.name("hello");
    let answer = client.dig(&name, "A").await?;
    assert_eq!(
        (answer.status.as_str(), answer.records),
        ("NOERROR", vec![ip.clone()])
    );
    let answer = client.dig(&name, "AAAA").await?;
    assert_eq!(
        (answer.status.as_str(), answer.records),
        ("NOERROR", Vec::new())
    );
    let answer = client.dig(&format!("_http._tcp.{name}"), "SRV").await?;
    let [record] = &answer.records[..] else {
        panic!("one SRV record, not {answer:?}")
    };
    assert!(record.ends_with(&format!(" 80 {name}.")), "{record}");
    let answer = client.dig("dns-version.clusterset.local", "TXT").await?;
    assert_eq!(answer.records, ["\"1.0.0\""]);
    let answer = client.dig(&scene.name("nobody"), "A").await?;
    assert_eq!(answer.status, "NXDOMAIN");

    let expected = scene.pods_of(east, "hello").await?;
    assert_eq!(expected.len(), 3);
    let seen = client
        .spread("", &scene.url("hello"), 60, Duration::ZERO)
        .await?;
    assert_eq!(
        seen.keys().cloned().collect::<BTreeSet<_>>(),
        expected,
        "{seen:?}"
    );
    assert!(
        seen.values().all(|count| *count >= 5),
        "far from even: {seen:?}"
    );
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn dns_answers_over_tcp_too() -> Result<()> {
    let scene = Scene::new("tcp").await?;
    let client = scene.client(scene.west()).await?;
    let script = "dig +tcp +short dns-version.clusterset.local TXT";
    assert_eq!(client.output(script, SHORT).await?, "\"1.0.0\"");
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn exports_of_two_clusters_are_one_service() -> Result<()> {
    let scene = Scene::new("both").await?;
    for cluster in [scene.east(), scene.west()] {
        scene.hello(cluster, "both", 1).await?;
    }
    let mut expected = BTreeSet::new();
    for cluster in [scene.east(), scene.west()] {
        cluster
            .rolled_out(scene.namespace(), "deployment/both")
            .await?;
        cluster
            .imported(scene.namespace(), "both", &["east", "west"])
            .await?;
        cluster
            .export_condition(
                scene.namespace(),
                "both",
                ("Conflict", "False", "NoConflicts"),
            )
            .await?;
        expected.extend(scene.pods_of(cluster, "both").await?);
    }
    for cluster in [scene.east(), scene.west()] {
        let client = scene.client(cluster).await?;
        wait_until(
            format!("answers of both clusters in {}", cluster.name()),
            ARRIVAL,
            async || {
                let seen = client
                    .spread("", &scene.url("both"), 20, Duration::ZERO)
                    .await?;
                ensure!(
                    seen.keys().cloned().collect::<BTreeSet<_>>() == expected,
                    "{seen:?}"
                );
                Ok(())
            },
        )
        .await?;
    }
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_conflict_is_told_in_both_clusters_and_the_oldest_wins() -> Result<()> {
    let scene = Scene::new("conflict").await?;
    let (east, west) = (scene.east(), scene.west());
    scene.hello(east, "hello", 1).await?;
    west.imported(scene.namespace(), "hello", &["east"]).await?;
    // The same port name, another number.
    let other = workload::service("hello", &[("http", 81, 8080)]);
    scene
        .apply(west, &format!("{other}---{}", workload::export("hello")))
        .await?;
    for cluster in [east, west] {
        let conflict = ("Conflict", "True", "PortConflict");
        cluster
            .export_condition(scene.namespace(), "hello", conflict)
            .await?;
        let api = cluster.api::<ServiceImport>(scene.namespace());
        let import = api.get("hello").await?;
        assert_eq!(
            import.spec.ports.iter().map(|p| p.port).collect::<Vec<_>>(),
            [80]
        );
    }
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn bytes_arrive_whole_both_ways_and_ends_of_streams_too() -> Result<()> {
    let scene = Scene::new("bytes").await?;
    let (east, west) = (scene.east(), scene.west());
    let server = workload::echo("echo", scene.demo().toolbox());
    scene
        .apply(east, &format!("{server}---{}", workload::export("echo")))
        .await?;
    let client = scene.client(west).await?;
    east.rolled_out(scene.namespace(), "deployment/echo")
        .await?;
    west.imported(scene.namespace(), "echo", &["east"]).await?;
    let name = scene.name("echo");

    // The server answers only after the client's end of stream.
    let half_close = format!("printf hello | socat -t 30 - TCP:{name}:9001");
    let digest = wait_until("an answer after half-close", ARRIVAL, async || {
        client.output(&half_close, SHORT).await
    })
    .await?;
    assert_eq!(
        digest,
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    );

    let blob = workload::BLOB;
    let script = format!(
        "set -e; cd /tmp; head -c {blob} /dev/urandom >blob
         socat -t 120 - TCP:{name}:9001 <blob >up & up=$!
         socat -u TCP:{name}:9002 - | sha256sum | cut -c1-64 >down & down=$!
         wait $up; wait $down
         echo $(sha256sum <blob | cut -c1-64) $(cat up) $(cat down)"
    );
    let sums = client.output(&script, LONG).await?;
    let [sent, arrived, received] = sums.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("three checksums, not {sums:?}")
    };
    let server = scene
        .pods_of(east, "echo")
        .await?
        .pop_first()
        .context("no server pod")?;
    let served = east
        .pod(scene.namespace(), &server)
        .output("cat /tmp/sum", SHORT)
        .await?;
    assert_eq!(arrived, sent, "upload");
    assert_eq!(received, served, "download");
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn five_hundred_connections_at_once() -> Result<()> {
    let scene = Scene::new("many").await?;
    let (east, west) = (scene.east(), scene.west());
    let server = workload::echo("echo", scene.demo().toolbox());
    scene
        .apply(east, &format!("{server}---{}", workload::export("echo")))
        .await?;
    let client = scene.client(west).await?;
    east.rolled_out(scene.namespace(), "deployment/echo")
        .await?;
    let ip = west.imported(scene.namespace(), "echo", &["east"]).await?;
    wait_until("the first connection", ARRIVAL, async || {
        client
            .output(&format!("echo a | socat -t 5 - TCP:{ip}:9000"), SHORT)
            .await
    })
    .await?;
    let script = format!(
        "for i in $(seq 500); do
           exec {{fd}}<>/dev/tcp/{ip}/9000 || {{ echo \"no connection $i\"; exit 1; }}
           fds[i]=$fd
         done
         for i in $(seq 500); do echo \"line $i\" >&${{fds[i]}} || exit 1; done
         for i in $(seq 500); do
           read -r -t 60 -u ${{fds[i]}} answer
           [ \"$answer\" = \"line $i\" ] || {{ echo \"connection $i: '$answer'\"; exit 1; }}
         done
         echo all"
    );
    assert_eq!(client.output(&script, LONG).await?, "all");
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn an_export_without_service_waits_for_one() -> Result<()> {
    let scene = Scene::new("none").await?;
    let (east, west) = (scene.east(), scene.west());
    scene.apply(east, &workload::export("hello")).await?;
    east.export_condition(scene.namespace(), "hello", ("Valid", "False", "NoService"))
        .await?;
    let imports = west.api::<ServiceImport>(scene.namespace());
    assert!(imports.get_opt("hello").await?.is_none());

    scene.hello(east, "hello", 1).await?;
    east.export_condition(scene.namespace(), "hello", ("Valid", "True", "Valid"))
        .await?;
    let client = scene.client(west).await?;
    scene.answers(&client, "hello").await?;
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn an_external_name_cannot_be_exported() -> Result<()> {
    let scene = Scene::new("external").await?;
    let (east, west) = (scene.east(), scene.west());
    let service = "
apiVersion: v1
kind: Service
metadata: {name: elsewhere}
spec: {type: ExternalName, externalName: example.org}
";
    scene
        .apply(
            east,
            &format!("{service}---{}", workload::export("elsewhere")),
        )
        .await?;
    let invalid = ("Valid", "False", "InvalidServiceType");
    east.export_condition(scene.namespace(), "elsewhere", invalid)
        .await?;
    // An export that does arrive shows that this one had the time to.
    scene.hello(east, "hello", 1).await?;
    west.imported(scene.namespace(), "hello", &["east"]).await?;
    let imports = west.api::<ServiceImport>(scene.namespace());
    assert!(imports.get_opt("elsewhere").await?.is_none());
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_host_outside_kubernetes_is_exported_where_it_is_allowed() -> Result<()> {
    let scene = Scene::new("outside").await?;
    let (east, west) = (scene.east(), scene.west());
    let _host = east.node().host_outside("from outside").await?;
    let database = workload::hand_made("database", OUTSIDE_ADDRESS, OUTSIDE_PORT);
    scene
        .apply(
            east,
            &format!("{database}---{}", workload::export("database")),
        )
        .await?;
    let client = scene.client(west).await?;
    west.imported(scene.namespace(), "database", &["east"])
        .await?;

    let url = scene.url("database");
    let answer = wait_until("an answer of the host", ARRIVAL, async || {
        client
            .output(&format!("curl -sS -f -m 5 {url}"), SHORT)
            .await
    })
    .await?;

    assert_eq!(answer, "from outside");
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn an_unexported_service_is_gone_everywhere() -> Result<()> {
    let scene = Scene::new("unexport").await?;
    let (east, west) = (scene.east(), scene.west());
    let namespace = scene.namespace();
    scene.hello(east, "hello", 1).await?;
    let client = scene.client(west).await?;
    scene.answers(&client, "hello").await?;
    let ip = west.imported(namespace, "hello", &["east"]).await?;
    let imports = west.api::<ServiceImport>(namespace);
    let import = imports.get("hello").await?;
    let derived = import
        .metadata
        .annotations
        .and_then(|mut all| all.remove(well_known::DERIVED_SERVICE_ANNOTATION))
        .context("the import does not name its derived Service")?;

    scene.delete(east, "serviceexport", "hello").await?;
    for cluster in [east, west] {
        let api = cluster.api::<ClusterExport>(SYSTEM);
        cluster
            .wait_gone(&api, &format!("hello.{namespace}.east"))
            .await?;
        cluster
            .wait_gone(&cluster.api::<ServiceImport>(namespace), "hello")
            .await?;
        cluster
            .wait_gone(&cluster.api::<v1::Service>(namespace), &derived)
            .await?;
        let slices = cluster.api::<EndpointSlice>(namespace);
        let ours = format!("{}={derived}", well_known::KUBE_SERVICE_NAME_LABEL);
        wait_until(
            format!("slices in {} to be gone", cluster.name()),
            ARRIVAL,
            async || {
                let left = slices
                    .list(&ListParams::default().labels(&ours))
                    .await?
                    .items
                    .len();
                ensure!(left == 0, "{left} left");
                Ok(())
            },
        )
        .await?;
    }
    wait_until("NXDOMAIN", ARRIVAL, async || {
        let answer = client.dig(&scene.name("hello"), "A").await?;
        ensure!(answer.status == "NXDOMAIN", "{answer:?}");
        Ok(())
    })
    .await?;
    let by_address = client
        .run(&format!("curl -sS -m 5 http://{ip}/hostname"), SHORT)
        .await?;
    assert_ne!(by_address.code, 0, "{by_address:?}");
    // The Service itself, and its name in its own cluster, are the user's.
    let local = scene.client(east).await?;
    local
        .get(&format!(
            "http://hello.{namespace}.svc.cluster.local/hostname"
        ))
        .await?;
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_deleted_namespace_takes_its_imports_along() -> Result<()> {
    let scene = Scene::new("deleted").await?;
    let elsewhere = Scene::new("watcher").await?;
    let (east, west) = (scene.east(), scene.west());
    let namespace = scene.namespace();
    scene.hello(east, "hello", 1).await?;
    let client = elsewhere.client(west).await?;
    scene.answers(&client, "hello").await?;
    let nxdomain = async || {
        let answer = client.dig(&scene.name("hello"), "A").await?;
        ensure!(answer.status == "NXDOMAIN", "{answer:?}");
        Ok(())
    };

    west.kubectl(&["delete", "namespace", namespace, "--timeout=90s"])
        .await?;
    wait_until("NXDOMAIN while west lacks the namespace", ARRIVAL, nxdomain).await?;
    east.imported(namespace, "hello", &["east"]).await?;

    scene.make_namespace(west).await?;
    west.imported(namespace, "hello", &["east"]).await?;
    scene.answers(&client, "hello").await?;

    east.kubectl(&["delete", "namespace", namespace, "--timeout=90s"])
        .await?;
    west.wait_gone(&west.api::<ServiceImport>(namespace), "hello")
        .await?;
    wait_until("NXDOMAIN after east lost the namespace", ARRIVAL, nxdomain).await?;
    elsewhere.finish().await?;
    scene.finish().await
}
