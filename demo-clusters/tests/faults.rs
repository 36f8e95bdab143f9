//! What may break without users noticing more than they must. Each test breaks something that the
//! others rely on, so they run one after the other (`--test-threads=1`).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;
use tombolo_crds::mcs::ServiceImport;
use tombolo_crds::{ClusterExport, Peer, well_known};
use tombolo_demo_clusters::cluster::{ARRIVAL, Cluster, SYSTEM};
use tombolo_demo_clusters::scene::now_ms;
use tombolo_demo_clusters::{Pod, Probe, ProbeReport, Scene, wait_until, workload};

const SHORT: Duration = Duration::from_secs(30);

/// From the death of a gateway or resolver until no new connection may meet it: 3 s to be noticed,
/// and as much again for kube-proxy and a machine with two cores and two clusters.
const NOTICED_MS: u64 = 8_000;

async fn ready_scene(subject: &str) -> Result<(Scene, Pod)> {
    let scene = Scene::new(subject).await?;
    for cluster in scene.demo().clusters() {
        cluster.peers_synced().await?;
    }
    scene.hello(scene.east(), "hello", 2).await?;
    let client = scene.client(scene.west()).await?;
    scene.answers(&client, "hello").await?;
    Ok((scene, client))
}

/// Runs an echo server in east, exported as `echo`; its clusterset IP in west.
async fn echo_in_east(scene: &Scene) -> Result<String> {
    let (east, west) = (scene.east(), scene.west());
    let server = workload::echo("echo", scene.demo().toolbox());
    scene
        .apply(east, &format!("{server}---{}", workload::export("echo")))
        .await?;
    east.rolled_out(scene.namespace(), "deployment/echo")
        .await?;
    west.imported(scene.namespace(), "echo", &["east"]).await
}

fn pod_name(pod: &v1::Pod) -> Result<String> {
    pod.metadata.name.clone().context("a pod without name")
}

fn pod_ips(pods: &[v1::Pod]) -> Vec<String> {
    pods.iter()
        .filter_map(|pod| pod.status.as_ref()?.pod_ip.clone())
        .collect()
}

/// Accepts no failure of a client in west. Of one it tells where the node sent the connections that
/// nobody answered, and which gateways there are.
async fn unbroken(scene: &Scene, report: &ProbeReport) -> Result<()> {
    let Err(error) = report.all_good() else {
        return Ok(());
    };
    let west = scene.west();
    let unanswered = "conntrack -L -p tcp 2>/dev/null | grep -E 'SYN_SENT|UNREPLIED' || true";
    let unanswered = west.node().output(unanswered).await?;
    let gateways = ["-n", SYSTEM, "get", "pods,leases", "-o", "wide"];
    let gateways = west.kubectl(&gateways).await?;
    let slices = ["-n", scene.namespace(), "get", "endpointslices"];
    let slices = west.kubectl(&slices).await?;
    Err(error.context(format!("unanswered:\n{unanswered}\n{gateways}\n{slices}")))
}

async fn kill_gateway(cluster: &Cluster) -> Result<u64> {
    let pods = cluster.program_pods("gateway").await?;
    let victim = pod_name(pods.first().context("no gateway")?)?;
    let at = now_ms();
    let now = DeleteParams::default().grace_period(0);
    cluster.api::<v1::Pod>(SYSTEM).delete(&victim, &now).await?;
    Ok(at)
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_gateway_killed_under_load_is_soon_forgotten() -> Result<()> {
    let (scene, client) = ready_scene("kill").await?;
    let (east, west) = (scene.east(), scene.west());
    echo_in_east(&scene).await?;
    // The clients' gateway, then the servers'.
    for (round, cluster) in [("near", west), ("far", east)] {
        cluster
            .rolled_out(SYSTEM, "deployment/tombolo-gateway")
            .await?;
        let mut probes = Vec::new();
        for number in 0..3 {
            let id = format!("{round}{number}");
            probes.push(Probe::http(&client, &id, &scene.url("hello")).await?);
        }
        let download = format!(
            "socat -u TCP:{}:9002 - | head -c 20000000 | wc -c",
            scene.name("echo")
        );
        let load = Probe::start(&client, &format!("{round}-load"), &download).await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let killed = kill_gateway(cluster).await?;
        tokio::time::sleep(Duration::from_secs(25)).await;
        for probe in probes {
            let report = probe.stop().await?;
            report.between(0, killed).all_good().context("before")?;
            report
                .between(killed + NOTICED_MS, u64::MAX)
                .all_good()
                .context(round)?;
        }
        ensure!(!load.stop().await?.attempts.is_empty(), "no load at all");
        cluster
            .rolled_out(SYSTEM, "deployment/tombolo-gateway")
            .await?;
        cluster.peers_synced().await?;
    }
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn programs_restart_without_an_outage() -> Result<()> {
    let (scene, client) = ready_scene("restart").await?;
    for program in ["operator", "dns", "gateway"] {
        for cluster in scene.demo().clusters() {
            let id = format!("{program}-{}", cluster.name());
            let probe = Probe::http(&client, &id, &scene.url("hello")).await?;
            cluster.restart_program(program).await?;
            tokio::time::sleep(Duration::from_secs(3)).await;
            let report = probe.stop().await?;
            unbroken(&scene, &report)
                .await
                .with_context(|| format!("restart of {id}"))?;
        }
    }
    // And they work on: what changes now arrives.
    scene.hello(scene.east(), "later", 1).await?;
    scene.answers(&client, "later").await?;
    scene.finish().await
}

/// Eight seconds of a line back and forth: a connection that a gateway must see through to its end.
fn conversation(server: &str) -> String {
    format!(
        "exec 3<>/dev/tcp/{server}/9000; for line in 1 2 3 4 5 6 7 8; do \
         echo $line >&3; read -t 5 -r -u 3 back; [ \"$back\" = $line ] || exit 1; sleep 1; done"
    )
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn all_gateways_restart_at_once_under_load_and_nothing_is_cut() -> Result<()> {
    let (scene, client) = ready_scene("rolling").await?;
    let (east, west) = (scene.east(), scene.west());
    let echo = echo_in_east(&scene).await?;
    let talk = conversation(&echo);
    wait_until("a conversation", ARRIVAL, async || {
        client.output(&talk, SHORT).await
    })
    .await?;
    const OCTETS: u64 = 20_000_000;
    let upload = format!(
        "sum=$(head -c {OCTETS} /dev/zero | sha256sum | cut -c1-64); \
         got=$(head -c {OCTETS} /dev/zero | socat -t60 - TCP:{echo}:9001); [ \"$got\" = $sum ]"
    );
    let mut probes = Vec::new();
    for number in 0..3 {
        let id = format!("http-{number}");
        probes.push(Probe::http(&client, &id, &scene.url("hello")).await?);
        probes.push(Probe::start(&client, &format!("talk-{number}"), &talk).await?);
    }
    probes.push(Probe::start(&client, "load", &upload).await?);

    for _ in 0..2 {
        futures::try_join!(
            east.restart_program("gateway"),
            west.restart_program("gateway")
        )?;
    }

    tokio::time::sleep(Duration::from_secs(12)).await;
    for probe in probes {
        unbroken(&scene, &probe.stop().await?).await?;
    }
    scene.finish().await
}

/// Runs `check` while the operator of `cluster` may do nothing at all.
async fn without_rights<T>(cluster: &Cluster, check: impl Future<Output = Result<T>>) -> Result<T> {
    const NAME: &str = "tombolo-operator";
    let bindings = cluster.all::<ClusterRoleBinding>();
    let mut saved = bindings.get(NAME).await?;
    saved.metadata = ObjectMeta {
        name: saved.metadata.name,
        labels: saved.metadata.labels,
        annotations: saved.metadata.annotations,
        ..ObjectMeta::default()
    };
    bindings.delete(NAME, &DeleteParams::default()).await?;
    let result = check.await;
    bindings.create(&PostParams::default(), &saved).await?;
    result
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn an_operator_without_rights_withdraws_nothing() -> Result<()> {
    let (scene, client) = ready_scene("rights").await?;
    let (east, west) = (scene.east(), scene.west());
    let imports = west.api::<ServiceImport>(scene.namespace());
    let before = imports.get("hello").await?;
    let probe = Probe::http(&client, "rights", &scene.url("hello")).await?;
    without_rights(east, async {
        let pods = east.api::<v1::Pod>(SYSTEM);
        for pod in east.program_pods("operator").await? {
            pods.delete(&pod_name(&pod)?, &DeleteParams::default())
                .await?;
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        let exports = east.api::<ClusterExport>(SYSTEM);
        let name = format!("hello.{}.east", scene.namespace());
        ensure!(
            exports.get_opt(&name).await?.is_some(),
            "east forgot its own export"
        );
        Ok(())
    })
    .await?;
    east.rolled_out(SYSTEM, "deployment/tombolo-operator")
        .await?;
    unbroken(&scene, &probe.stop().await?).await?;
    let after = imports.get("hello").await?;
    assert_eq!(
        after.metadata.uid, before.metadata.uid,
        "the import was made anew"
    );
    assert_eq!(after.spec.ips, before.spec.ips);
    scene.hello(east, "later", 1).await?;
    scene.answers(&client, "later").await?;
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn an_exporter_that_forgets_everything_is_not_believed_at_once() -> Result<()> {
    let (scene, client) = ready_scene("empty").await?;
    let (east, west) = (scene.east(), scene.west());
    let names: Vec<_> = (0..12).map(|number| format!("more-{number}")).collect();
    for name in &names {
        let service = workload::service(name, &[("http", 80, 8080)]);
        let service = service.replace(&format!("app: {name}"), "app: hello");
        scene
            .apply(east, &format!("{service}---{}", workload::export(name)))
            .await?;
    }
    try_join_all(
        names
            .iter()
            .map(|name| west.imported(scene.namespace(), name, &["east"])),
    )
    .await?;

    // Its gateways refuse what is not exported any more; names and imports are what must not go.
    let ask = format!(
        "dig +short +tries=1 +time=5 {} | grep .",
        scene.name("hello")
    );
    let probe = Probe::start(&client, "empty", &ask).await?;
    east.scale_program("operator", 0).await?;
    let own = ListParams::default().labels(&format!("{}=east", well_known::CLUSTER_LABEL));
    let exports = east.api::<ClusterExport>(SYSTEM);
    let checks = async {
        exports
            .delete_collection(&DeleteParams::default(), &own)
            .await?;
        west.peer_condition("east", ("WithdrawalHeld", "True", "WithdrawalHeld"))
            .await?;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let imports = west.api::<ServiceImport>(scene.namespace());
        for name in &names {
            ensure!(imports.get_opt(name).await?.is_some(), "west lost {name}");
        }
        Ok(())
    }
    .await;
    east.scale_program("operator", 2).await?;
    checks?;
    west.peer_condition("east", ("WithdrawalHeld", "False", "NothingHeld"))
        .await?;
    scene.answers(&client, "hello").await?;
    probe.stop().await?.all_good()?;
    scene.finish().await
}

/// Goes on with one connection for as long as it lasts: a line a second, back and forth.
async fn long_connection(client: &Pod, id: &str, address: &str) -> Result<()> {
    let script = format!(
        "rm -f /tmp/{id}.*; nohup bash -c 'exec 3<>/dev/tcp/{address}/9000 || exit 1
         while [ ! -e /tmp/{id}.stop ]; do
           t=$(date +%s%3N); echo $t >&3 && read -t 5 -r -u 3 x && [ \"$x\" = \"$t\" ] || break
           echo $t; sleep 1
         done' >/tmp/{id}.log 2>&1 </dev/null &"
    );
    client.output(&script, SHORT).await.map(drop)
}

/// When the connection last carried a line.
async fn last_line(client: &Pod, id: &str) -> Result<u64> {
    let line = client
        .output(
            &format!("touch /tmp/{id}.stop; tail -n 1 /tmp/{id}.log"),
            SHORT,
        )
        .await?;
    line.parse().with_context(|| format!("{id}: {line:?}"))
}

fn windows_good(report: &ProbeReport, windows: &[(u64, u64)]) -> Result<()> {
    for (from, to) in windows {
        let part = report.between(*from, *to);
        part.all_good()
            .with_context(|| format!("in the {} ms from {from}", to - from))?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn clusters_work_on_while_an_api_server_is_away() -> Result<()> {
    let (scene, in_west) = ready_scene("outage").await?;
    let (east, west) = (scene.east(), scene.west());
    scene.hello(west, "back", 2).await?;
    let echo = echo_in_east(&scene).await?;
    let in_east = scene.client(east).await?;
    scene.answers(&in_east, "back").await?;
    wait_until("the first line", ARRIVAL, async || {
        in_west
            .output(&format!("echo a | socat -t 5 - TCP:{echo}:9000"), SHORT)
            .await
    })
    .await?;
    let gateways = pod_ips(&east.program_pods("gateway").await?);
    let resolvers = pod_ips(&east.program_pods("dns").await?);

    let from_west = Probe::http(&in_west, "from-west", &scene.url("hello")).await?;
    let from_east = Probe::http(&in_east, "from-east", &scene.url("back")).await?;
    let own_name = Probe::http(&in_east, "own-name", &scene.url("hello")).await?;
    long_connection(&in_west, "long", &echo).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;

    let begin = now_ms();
    let outage = east.node().stop_api_server().await?;
    let stopped = now_ms();
    tokio::time::sleep(Duration::from_secs(12)).await;
    let alive = now_ms();
    let last = last_line(&in_west, "long").await?;
    ensure!(
        alive - last < 5_000,
        "the long connection ended {} ms ago",
        alive - last
    );

    let killed = now_ms();
    east.node().signal_one("tombolo-gateway", "KILL").await?;
    east.node().signal_one("tombolo-dns", "KILL").await?;
    let ready = gateways
        .iter()
        .chain(&resolvers)
        .map(|ip| format!("curl -sS -f -m 3 http://{ip}:8080/readyz"));
    let ready = ready.collect::<Vec<_>>().join(" && ");
    wait_until(
        "the killed programs to be ready with no API server",
        SHORT,
        async || east.node().output(&ready).await,
    )
    .await?;
    for ip in &resolvers {
        let name = scene.name("hello");
        let answer = in_node_dns(east, ip, &name).await?;
        ensure!(answer, "the resolver at {ip} forgot {name}");
    }
    let pause = 30_000_u64.saturating_sub(now_ms() - stopped);
    tokio::time::sleep(Duration::from_millis(pause) + Duration::from_secs(3)).await;
    let end = now_ms();
    ensure!(
        end - stopped >= 30_000,
        "the API server was away for less than 30 s"
    );
    outage.now().await?;
    wait_until("east's API server", Duration::from_secs(120), async || {
        east.kubectl(&["get", "--raw", "/readyz"]).await
    })
    .await?;

    let windows = [(begin, killed), (killed + NOTICED_MS, end)];
    windows_good(&from_west.stop().await?, &windows).context("from west to east")?;
    windows_good(&from_east.stop().await?, &windows).context("from east to west")?;
    windows_good(&own_name.stop().await?, &windows).context("inside east")?;
    for cluster in scene.demo().clusters() {
        cluster.peers_synced().await?;
    }
    scene.hello(east, "later", 1).await?;
    scene.answers(&in_west, "later").await?;
    scene.finish().await
}

/// Whether the resolver at that address knows the name, asked from the node itself.
async fn in_node_dns(cluster: &Cluster, resolver: &str, name: &str) -> Result<bool> {
    // The node has no dig: a question by hand over TCP, with its length in front; of the answer
    // only the response code and the number of answers matter.
    let labels: String = name
        .split('.')
        .map(|label| format!("\\x{:02x}{label}", label.len()))
        .collect();
    let length = 12 + name.len() + 2 + 4;
    let question = format!(
        "\\x{:02x}\\x{:02x}\\x00\\x01\\x01\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00{labels}\\x00\\x00\\x01\\x00\\x01",
        length / 256,
        length % 256
    );
    let script = format!(
        "bash -c 'exec 3<>/dev/tcp/{resolver}/1053; printf \"{question}\" >&3; \
         timeout 5 head -c 10 <&3 | od -An -tu1'"
    );
    let header = cluster.node().output(&script).await?;
    let bytes: Vec<u8> = header
        .split_whitespace()
        .filter_map(|byte| byte.parse().ok())
        .collect();
    ensure!(bytes.len() == 10, "answered {header:?}");
    Ok(bytes[5] & 0x0f == 0 && (bytes[8], bytes[9]) > (0, 0))
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_cut_link_keeps_what_was_and_catches_up_when_mended() -> Result<()> {
    let (scene, client) = ready_scene("cut").await?;
    let (east, west) = (scene.east(), scene.west());
    let namespace = scene.namespace();
    scene.hello(east, "leaving", 1).await?;
    for cluster in [east, west] {
        scene.hello(cluster, "both", 1).await?;
        cluster.rolled_out(namespace, "deployment/both").await?;
    }
    west.imported(namespace, "both", &["east", "west"]).await?;
    let leaving = west.imported(namespace, "leaving", &["east"]).await?;
    scene.answers(&client, "both").await?;

    let cuts = (east.node().cut_link().await?, west.node().cut_link().await?);
    west.peer_condition("east", ("Connected", "False", "Unreachable"))
        .await?;
    scene.delete(east, "serviceexport", "leaving").await?;
    scene.hello(east, "coming", 1).await?;
    east.imported(namespace, "coming", &["east"]).await?;
    // What both clusters have goes on with this cluster's own pods.
    tokio::time::sleep(Duration::from_millis(NOTICED_MS)).await;
    let probe = Probe::http(&client, "both", &scene.url("both")).await?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    probe.stop().await?.all_good()?;
    // What only east has keeps its name and address.
    let answer = client.dig(&scene.name("leaving"), "A").await?;
    assert_eq!(answer.records, [leaving]);
    assert!(
        west.api::<ServiceImport>(namespace)
            .get_opt("coming")
            .await?
            .is_none()
    );

    cuts.0.now().await?;
    cuts.1.now().await?;
    for cluster in scene.demo().clusters() {
        cluster.peers_synced().await?;
    }
    scene.answers(&client, "coming").await?;
    scene.answers(&client, "hello").await?;
    west.wait_gone(&west.api::<ServiceImport>(namespace), "leaving")
        .await?;
    wait_until("NXDOMAIN", ARRIVAL, async || {
        let answer = client.dig(&scene.name("leaving"), "A").await?;
        ensure!(answer.status == "NXDOMAIN", "{answer:?}");
        Ok(())
    })
    .await?;
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn where_udp_is_blocked_tcp_carries_the_link_until_udp_is_back() -> Result<()> {
    let (scene, client) = ready_scene("tcp").await?;
    let (east, west) = (scene.east(), scene.west());
    let over_tcp = ("OverTCP", "True", "UDPNotAnswered");

    let blocks = (
        east.node().block_udp().await?,
        west.node().block_udp().await?,
    );
    west.peer_condition("east", over_tcp).await?;
    east.peer_condition("west", over_tcp).await?;
    let status = west.all::<Peer>().get("east").await?.status;
    let gateways = status.context("no status")?.gateways;
    ensure!(
        gateways.iter().any(|gateway| gateway.carrier == "TCP"),
        "{gateways:?}"
    );
    scene.answers(&client, "hello").await?;
    let probe = Probe::http(&client, "hello", &scene.url("hello")).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    probe.stop().await?.all_good()?;
    // What is new comes over TCP, too.
    scene.hello(east, "coming", 1).await?;
    scene.answers(&client, "coming").await?;

    let probe = Probe::http(&client, "back", &scene.url("hello")).await?;
    blocks.0.now().await?;
    blocks.1.now().await?;
    for (cluster, peer) in [(west, "east"), (east, "west")] {
        cluster
            .peer_condition(peer, ("OverTCP", "False", "OverUDP"))
            .await?;
    }
    // Long enough for the tunnels to go.
    tokio::time::sleep(Duration::from_secs(20)).await;
    probe.stop().await?.all_good()?;
    scene.finish().await
}

async fn set_addresses(cluster: &Cluster, peer: &str, addresses: &[String]) -> Result<()> {
    let patch = json!({"spec": {"addresses": addresses}});
    let peers = cluster.all::<Peer>();
    peers
        .patch(peer, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn one_side_that_can_be_dialled_is_enough() -> Result<()> {
    let (scene, in_west) = ready_scene("dial").await?;
    let (east, west) = (scene.east(), scene.west());
    scene.hello(west, "back", 1).await?;
    let in_east = scene.client(east).await?;
    scene.answers(&in_east, "back").await?;
    for (mute, peer) in [(east, "west"), (west, "east")] {
        let peers = mute.all::<Peer>();
        let saved = peers.get(peer).await?.spec.addresses;
        set_addresses(mute, peer, &[]).await?;
        let checks = async {
            // Links that were there before would prove nothing.
            try_join_all([
                east.restart_program("gateway"),
                west.restart_program("gateway"),
            ])
            .await?;
            for cluster in [east, west] {
                cluster.peers_synced().await?;
            }
            scene.answers(&in_west, "hello").await?;
            scene.answers(&in_east, "back").await
        }
        .await;
        set_addresses(mute, peer, &saved).await?;
        checks.with_context(|| format!("{} cannot dial", mute.name()))?;
    }
    scene.finish().await
}
