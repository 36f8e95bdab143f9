//! Kills gateway replicas of one of the demo's clusters, one after the other, and prints how long it
//! took each time until every new connection succeeded, of clients near it and of those far from it.
//! Called by `failover.sh`.
//!
//! ```text
//! failover process|pod|silent [kills]
//!
//! near:  clients of west ── gateways of west, one of which dies ── gateways of east
//! far:   clients of east ── gateways of east ── gateways of west, one of which dies
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
use tombolo_demo_clusters::{Cluster, Pod, Probe, ProbeReport, Scene};

/// Clients that connect at a time on each side: each does so some four times a second, so together
/// every 60 ms or so.
const PROBES: usize = 4;
/// How long clients are watched before a kill.
const BEFORE: Duration = Duration::from_secs(2);
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

/// What the clients of one side saw of a death.
struct Outage {
    /// From the death until all were served again.
    millis: u64,
    /// When each connection that failed was begun, and what its client said.
    failures: Vec<String>,
}

/// Clients, and what they ask for.
struct Clients {
    pod: Pod,
    url: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let death: Death = arguments.next().as_deref().unwrap_or("process").parse()?;
    let kills = match arguments.next() {
        Some(number) => number.parse().context("how many kills?")?,
        None => KILLS,
    };
    let scene = Scene::new("failover").await?;
    for cluster in scene.demo().clusters() {
        cluster.peers_synced().await?;
    }
    let near = Clients::new(&scene, scene.west(), scene.east()).await?;
    let far = Clients::new(&scene, scene.east(), scene.west()).await?;
    let (mut of_near, mut of_far) = (Vec::new(), Vec::new());
    for number in 0..kills {
        let [near, far] = outages(&scene, [&near, &far], death).await?;
        println!(
            "{number:4} near {:5} ms, far {:5} ms",
            near.millis, far.millis
        );
        for (side, outage) in [("near", &near), ("far", &far)] {
            for failure in &outage.failures {
                println!("     {side} {failure}");
            }
        }
        of_near.push(near.millis);
        of_far.push(far.millis);
    }
    println!("{death:?}, {kills} kills");
    println!("near: {}", distribution(of_near));
    println!("far:  {}", distribution(of_far));
    scene.finish().await
}

/// Kills one replica, and tells what clients of west and of east saw.
async fn outages(scene: &Scene, [near, far]: [&Clients; 2], death: Death) -> Result<[Outage; 2]> {
    let cluster = scene.west();
    cluster
        .rolled_out(SYSTEM, "deployment/tombolo-gateway")
        .await?;
    for cluster in scene.demo().clusters() {
        cluster.peers_synced().await?;
    }
    let (of_near, of_far) = tokio::try_join!(near.start(), far.start())?;
    tokio::time::sleep(BEFORE).await;
    let killed = kill(cluster, death).await?;
    tokio::time::sleep(death.watched()).await;
    if let Death::Silent = death {
        // What is stopped would not be missed by the kubelet for long.
        cluster.node().signal_one(PROCESS, "KILL").await?;
    }
    if let Death::Process | Death::Silent = death {
        replace_restarted(cluster).await?;
    }
    let (of_near, of_far) = tokio::try_join!(stop(of_near), stop(of_far))?;
    Ok([
        Outage::new(&of_near, killed)?,
        Outage::new(&of_far, killed)?,
    ])
}

/// Ends probes and reads what they saw.
async fn stop(probes: Vec<Probe>) -> Result<Vec<ProbeReport>> {
    try_join_all(probes.into_iter().map(Probe::stop)).await
}

fn distribution(mut outages: Vec<u64>) -> String {
    outages.sort_unstable();
    let last = outages.len().saturating_sub(1);
    let at = |share: usize| outages.get(last * share / 100).copied().unwrap_or(0);
    format!(
        "median {} ms, 90 % {} ms, 99 % {} ms, slowest {} ms",
        at(50),
        at(90),
        at(99),
        at(100)
    )
}

/// When the first attempt after the last one that failed was begun; 0 if none failed.
fn until_good(attempts: &[&Attempt]) -> u64 {
    let Some(last) = attempts.iter().rfind(|attempt| !attempt.good) else {
        return 0;
    };
    let next = attempts.iter().find(|attempt| attempt.at > last.at);
    next.map_or(u64::MAX, |next| next.at)
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

// === impl Outage ===

impl Outage {
    fn new(reports: &[ProbeReport], killed: u64) -> Result<Self> {
        for report in reports {
            let before = report.between(0, killed.saturating_sub(1_000));
            before.all_good().context("before the kill")?;
        }
        let attempts = reports.iter().flat_map(|report| &report.attempts);
        // One that was begun shortly before may have been cut: that is no new connection.
        let mut attempts: Vec<&Attempt> = attempts.filter(|a| a.at >= killed).collect();
        attempts.sort_by_key(|attempt| attempt.at);
        let said = |failed: &&Attempt| format!("{} ms: {}", failed.at - killed, failed.detail);
        Ok(Self {
            millis: until_good(&attempts).saturating_sub(killed),
            failures: attempts.iter().filter(|a| !a.good).map(said).collect(),
        })
    }
}

// === impl Clients ===

impl Clients {
    /// Clients in one cluster of servers in the other.
    async fn new(scene: &Scene, here: &Cluster, there: &Cluster) -> Result<Self> {
        let service = format!("hello-of-{}", there.name());
        scene.hello(there, &service, 2).await?;
        let pod = scene.client(here).await?;
        scene.answers(&pod, &service).await?;
        let url = scene.url(&service);
        Ok(Self { pod, url })
    }

    async fn start(&self) -> Result<Vec<Probe>> {
        let start = (0..PROBES).map(|number| async move {
            let id = format!("failover-{number}");
            Probe::http(&self.pod, &id, &self.url).await
        });
        try_join_all(start).await
    }
}

// === impl Death ===

impl Death {
    /// How long clients are watched after it: twice what it may take, and more.
    fn watched(self) -> Duration {
        Duration::from_secs(match self {
            Self::Process | Self::Pod => 6,
            Self::Silent => 12,
        })
    }
}

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
            attempt(110, true),
            attempt(120, false),
            attempt(130, true),
            attempt(140, false),
            attempt(150, true),
        ];
        let attempts: Vec<&Attempt> = attempts.iter().collect();

        assert_eq!(until_good(&attempts), 150);
        assert_eq!(until_good(&attempts[..1]), 0);
        assert_eq!(until_good(&attempts[..4]), u64::MAX);
    }
}
