//! Who a connection is from, as a server of another cluster learns it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1;
use tombolo_demo_clusters::cluster::ARRIVAL;
use tombolo_demo_clusters::{Scene, wait_until, workload};

const SHORT: Duration = Duration::from_secs(30);

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_server_that_asks_for_it_learns_which_pod_connects() -> Result<()> {
    let scene = Scene::new("proxy").await?;
    let (east, west) = (scene.east(), scene.west());
    let server = workload::recorder("recorder", scene.demo().toolbox());
    let export = workload::export("recorder");
    scene.apply(east, &format!("{server}---{export}")).await?;
    scene
        .kubectl(
            east,
            &[
                "annotate",
                "service",
                "recorder",
                "tombolo.io/proxy-protocol=v2",
            ],
        )
        .await?;
    let client = scene.client(west).await?;
    east.rolled_out(scene.namespace(), "deployment/recorder")
        .await?;
    west.imported(scene.namespace(), "recorder", &["east"])
        .await?;
    let pods = west.api::<v1::Pod>(scene.namespace());
    let pod = pods.get("client").await?;
    let address = pod.status.and_then(|status| status.pod_ip);
    let address = address.context("the client has no address")?;

    // The server sends back what it got, as hexadecimal digits.
    let name = scene.name("recorder");
    // A port that was used rests for a minute.
    let port = AtomicU16::new(40_123);
    let got = wait_until("a header", ARRIVAL, async || {
        let from = port.fetch_add(1, Ordering::Relaxed) + 1;
        let script = format!("echo hello | socat -t 5 - TCP:{name}:9000,sourceport={from}");
        let got = client.output(&script, SHORT).await?;
        let bytes = hex(&got)?;
        anyhow::ensure!(bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n"), "{got}");
        Ok(bytes)
    })
    .await?;

    assert_eq!(got[12..14], [0x21, 0x11], "PROXY, TCP over IPv4");
    let source: [u8; 4] = got[16..20].try_into()?;
    let from = u16::from_be_bytes(got[24..26].try_into()?);
    assert_eq!(
        SocketAddr::from((source, from)),
        SocketAddr::new(address.parse()?, port.into_inner())
    );
    let told = String::from_utf8_lossy(&got[28..]).into_owned();
    for fact in ["west", scene.namespace(), "default", "client"] {
        assert!(told.contains(fact), "{fact} is not in {told:?}");
    }
    assert!(told.ends_with("hello\n"), "{told:?}");
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_version_that_does_not_exist_is_told_and_changes_nothing() -> Result<()> {
    let scene = Scene::new("proxyv3").await?;
    let (east, west) = (scene.east(), scene.west());
    scene.hello(east, "hello", 1).await?;
    scene
        .kubectl(
            east,
            &[
                "annotate",
                "service",
                "hello",
                "tombolo.io/proxy-protocol=v3",
            ],
        )
        .await?;

    let invalid = ("tombolo.io/Carried", "False", "InvalidAnnotation");
    east.export_condition(scene.namespace(), "hello", invalid)
        .await?;
    let client = scene.client(west).await?;
    scene.answers(&client, "hello").await?;
    scene.finish().await
}

fn hex(digits: &str) -> Result<Vec<u8>> {
    let digits: String = digits.split_whitespace().collect();
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect()
}
