//! Kills gateway replicas of the demo's clusters, one after the other, and prints how long it took
//! each time until every new connection succeeded. Called by `failover.sh`.
//!
//! ```text
//! failover process|pod|silent near|far [kills]
//! ```
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1;
use kube::api::DeleteParams;
use tombolo_demo_clusters::cluster::SYSTEM;
use tombolo_demo_clusters::probe::Attempt;
use tombolo_demo_clusters::scene::now_ms;
use tombolo_demo_clusters::{Cluster, Pod, Probe, Scene};

/// Clients that connect at a time: each does so five times a second, so together every 40 ms or so.
const PROBES: usize = 5;
/// How long clients are watched after a kill.
const WATCHED: Duration = Duration::from_secs(10);
const KILLS: usize = 20;
/// The kernel keeps 15 characters of a program's name.
const PROCESS: &str = "tombolo-gateway";

/// How a replica dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// Its process is killed; the kubelet starts another.
    Process,
    /// Its pod is deleted without grace.
    Pod,
    /// It does nothing any more, as on a node that lost its network. Its socket stays.
    Silent,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let death: Death = arguments.next().as_deref().unwrap_or("process").parse()?;
    let side = arguments.next().unwrap_or_else(|| "near".to_owned());
    let kills = match arguments.next() {
        Some(number) => number.parse().context("how many kills?")?,
        None => KILLS,
    };
    let scene = Scene::new("failover").await?;
    for cluster in scene.demo().clusters() {
        cluster.peers_synced().await?;
    }
    scene.hello(scene.east(), "hello", 2).await?;
    let client = scene.client(scene.west()).await?;
    scene.answers(&client, "hello").await?;
    // The clients' gateway, or the servers'.
    let cluster = match side.as_str() {
        "near" => scene.west(),
        "far" => scene.east(),
        other => bail!("{other:?} is neither near nor far"),
    };
    let mut outages = Vec::with_capacity(kills);
    for number in 0..kills {
        let outage = outage(&scene, &client, cluster, death).await?;
        println!("{number:4} {outage:5} ms");
        outages.push(outage);
    }
    outages.sort_unstable();
    let at = |share: usize| outages[(outages.len() - 1) * share / 100];
    println!(
        "{death:?}, {side}, {kills} kills: median {} ms, 90 % {} ms, 99 % {} ms, slowest {} ms",
        at(50),
        at(90),
        at(99),
        at(100)
    );
    scene.finish().await
}

/// Milliseconds from one replica's death until all clients were served again.
async fn outage(scene: &Scene, client: &Pod, cluster: &Cluster, death: Death) -> Result<u64> {
    cluster
        .rolled_out(SYSTEM, "deployment/tombolo-gateway")
        .await?;
    for cluster in scene.demo().clusters() {
        cluster.peers_synced().await?;
    }
    let url = scene.url("hello");
    let start = (0..PROBES).map(|number| {
        let id = format!("failover-{number}");
        let url = url.clone();
        async move { Probe::http(client, &id, &url).await }
    });
    let probes = try_join_all(start).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let killed = kill(cluster, death).await?;
    tokio::time::sleep(WATCHED).await;
    if let Death::Silent = death {
        // What is stopped would not be missed by the kubelet for long.
        cluster.node().signal_one(PROCESS, "KILL").await?;
    }
    if let Death::Process | Death::Silent = death {
        replace_restarted(cluster).await?;
    }
    let reports = try_join_all(probes.into_iter().map(Probe::stop)).await?;
    for report in &reports {
        let before = report.between(0, killed.saturating_sub(1_000));
        before.all_good().context("before the kill")?;
    }
    let outages = reports
        .iter()
        .map(|report| until_good(&report.attempts, killed));
    Ok(outages.max().unwrap_or(0))
}

/// From the kill to the first attempt after the last one that failed; 0 if none failed.
fn until_good(attempts: &[Attempt], killed: u64) -> u64 {
    // One that was begun shortly before may have been cut: that is no new connection.
    let after = |attempt: &&Attempt| attempt.at >= killed;
    let last = attempts.iter().filter(after).rfind(|a| !a.good);
    let Some(last) = last else {
        return 0;
    };
    let next = attempts.iter().find(|attempt| attempt.at > last.at);
    next.map_or(u64::MAX, |next| next.at).saturating_sub(killed)
}

/// A kubelet waits longer each time before it starts a container again, and for minutes in the end.
async fn replace_restarted(cluster: &Cluster) -> Result<()> {
    let pods = cluster.api::<v1::Pod>(SYSTEM);
    for pod in cluster.program_pods("gateway").await? {
        let statuses = pod.status.and_then(|status| status.container_statuses);
        let has_restarted = statuses.iter().flatten().any(|c| c.restart_count > 0);
        if has_restarted && let Some(name) = pod.metadata.name {
            pods.delete(&name, &DeleteParams::default()).await?;
        }
    }
    Ok(())
}

/// When it happened, in milliseconds since the epoch.
async fn kill(cluster: &Cluster, death: Death) -> Result<u64> {
    match death {
        Death::Process => cluster.node().signal_one(PROCESS, "KILL").await,
        Death::Silent => cluster.node().signal_one(PROCESS, "STOP").await,
        Death::Pod => {
            let pods = cluster.program_pods("gateway").await?;
            let victim = pods.first().and_then(|pod| pod.metadata.name.clone());
            let victim = victim.context("no gateway")?;
            let now = DeleteParams::default().grace_period(0);
            let at = now_ms();
            cluster.api::<v1::Pod>(SYSTEM).delete(&victim, &now).await?;
            Ok(at)
        }
    }
}

// === impl Death ===

impl FromStr for Death {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "process" => Ok(Self::Process),
            "pod" => Ok(Self::Pod),
            "silent" => Ok(Self::Silent),
            other => bail!("{other:?} is none of process, pod and silent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_until_nothing_fails_any_more() {
        let attempt = |at, good| Attempt {
            at,
            good,
            detail: String::new(),
        };
        let attempts = [
            attempt(90, false),
            attempt(110, true),
            attempt(120, false),
            attempt(130, true),
            attempt(140, false),
            attempt(150, true),
        ];

        assert_eq!(until_good(&attempts, 100), 50);
        assert_eq!(until_good(&attempts[..2], 100), 0);
        assert_eq!(until_good(&attempts[..5], 100), u64::MAX - 100);
    }
}
