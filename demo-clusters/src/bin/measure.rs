//! Measures the demo's clusters as they are: sizes of images, memory of the programs at rest, and
//! how long an export takes to become a name in the other cluster. Called by `measure.sh`.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::time::Duration;

use anyhow::{Context, Result};
use kube::api::{ObjectMeta, PostParams};
use tombolo_crds::mcs::{ServiceExport, ServiceExportSpec};
use tombolo_demo_clusters::scene::now_ms;
use tombolo_demo_clusters::{Cluster, Demo, Pod, Scene, workload};

const PROGRAMS: [&str; 3] = ["tombolo-operator", "tombolo-gateway", "tombolo-dns"];
const EXPORTS: usize = 50;
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let demo = Demo::load().await?;
    println!("Image sizes, unpacked:");
    for program in PROGRAMS {
        println!(
            "  {program:18} {:5.1} MB",
            image_megabytes(demo.east(), program).await?
        );
    }
    println!("Memory of each pod, resident, after what the cluster did until now:");
    for cluster in demo.clusters() {
        for program in PROGRAMS {
            let mebibytes = memory_mebibytes(cluster, program).await?;
            let shown: Vec<_> = mebibytes.iter().map(|each| format!("{each:.1}")).collect();
            println!(
                "  {:5} {program:18} {} MiB",
                cluster.name(),
                shown.join(", ")
            );
        }
    }
    let mut delays = export_delays().await?;
    delays.sort_unstable();
    let at = |share: usize| delays[(delays.len() - 1) * share / 100];
    println!("From the ServiceExport's creation in east to the first good DNS answer in west:");
    println!(
        "  {} exports: median {} ms, 99 % {} ms, slowest {} ms",
        delays.len(),
        at(50),
        at(99),
        at(100)
    );
    Ok(())
}

async fn image_megabytes(cluster: &Cluster, program: &str) -> Result<f64> {
    // The process' own file system holds the image and nothing else.
    let pid = format!("pgrep -x -o {}", comm(program));
    let kilobytes = cluster
        .node()
        .output(&format!("du -skx /proc/$({pid})/root/{program}"))
        .await?;
    let kilobytes = kilobytes
        .split_whitespace()
        .next()
        .context("du said nothing")?;
    Ok(kilobytes.parse::<f64>()? * 1024.0 / 1e6)
}

async fn memory_mebibytes(cluster: &Cluster, program: &str) -> Result<Vec<f64>> {
    let script = format!(
        "for pid in $(pgrep -x {}); do awk '/^VmRSS:/ {{print $2}}' /proc/$pid/status; done",
        comm(program)
    );
    let kibibytes = cluster.node().output(&script).await?;
    kibibytes
        .lines()
        .map(|line| Ok(line.parse::<f64>()? / 1024.0))
        .collect()
}

/// The kernel keeps 15 characters of a program's name.
fn comm(program: &str) -> &str {
    &program[..program.len().min(15)]
}

async fn export_delays() -> Result<Vec<u64>> {
    let scene = Scene::new("measure").await?;
    let toolbox = scene.demo().toolbox();
    scene
        .apply(scene.east(), &workload::hello("hello", 1, toolbox))
        .await?;
    let client = scene.client(scene.west()).await?;
    scene
        .east()
        .rolled_out(scene.namespace(), "deployment/hello")
        .await?;
    let mut delays = Vec::with_capacity(EXPORTS);
    for number in 0..EXPORTS {
        let name = format!("hello-{number}");
        let service = workload::service(&name, &[("http", 80, 8080)]);
        scene
            .apply(
                scene.east(),
                &service.replace(&format!("app: {name}"), "app: hello"),
            )
            .await?;
        delays.push(
            delay(&scene, &client, &name)
                .await
                .with_context(|| name.clone())?,
        );
    }
    scene.finish().await?;
    Ok(delays)
}

/// Milliseconds from the creation of an export until its name is known. Whoever waits for the name
/// asked for it before, so what the cluster's DNS remembers of its absence counts too.
async fn delay(scene: &Scene, client: &Pod, service: &str) -> Result<u64> {
    let name = scene.name(service);
    let wait = format!(
        "nohup bash -c 'until [ -n \"$(dig +short +tries=1 +time=1 {name})\" ]; do sleep 0.01; done; \
         date +%s%3N >/tmp/{service}' >/dev/null 2>&1 </dev/null & sleep 0.3"
    );
    client.output(&wait, LIMIT).await?;
    let export = ServiceExport {
        metadata: ObjectMeta {
            name: Some(service.to_owned()),
            ..ObjectMeta::default()
        },
        spec: ServiceExportSpec::default(),
        status: None,
    };
    let api = scene.east().api::<ServiceExport>(scene.namespace());
    let begin = now_ms();
    api.create(&PostParams::default(), &export).await?;
    let read = format!(
        "for i in $(seq 500); do [ -s /tmp/{service} ] && break; sleep 0.1; done; cat /tmp/{service}"
    );
    let end: u64 = client.output(&read, LIMIT).await?.parse()?;
    Ok(end.saturating_sub(begin))
}
