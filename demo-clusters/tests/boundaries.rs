//! What must not pass: packets, endpoints, peers and loops that are nobody's business.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1;
use kube::api::ListParams;
use tombolo_crds::mcs::ServiceImport;
use tombolo_demo_clusters::cluster::{ARRIVAL, Cluster, SYSTEM};
use tombolo_demo_clusters::node::LINK_NODE_PORT;
use tombolo_demo_clusters::{Node, Pod, Probe, Scene, wait_until, workload};

const SHORT: Duration = Duration::from_secs(30);

/// Prints `open` if a TCP connection comes about.
fn tcp(address: &str, port: u16) -> String {
    format!(
        "timeout 3 bash -c '</dev/tcp/{address}/{port}' 2>/dev/null && echo open || echo closed"
    )
}

/// Prints what a UDP server at that address sends back to `ping`.
fn udp(address: &str, port: u16) -> String {
    format!(
        "bash -c 'exec 3<>/dev/udp/{address}/{port}; echo ping >&3; timeout 3 head -c 5 <&3 || true'"
    )
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn only_the_link_passes_between_the_clusters() -> Result<()> {
    let scene = Scene::new("isolation").await?;
    let (east, west) = (scene.east(), scene.west());
    let ranges = async |cluster: &Cluster| -> Result<_> {
        let nodes = cluster
            .all::<v1::Node>()
            .list(&ListParams::default())
            .await?;
        let pods = nodes
            .items
            .first()
            .and_then(|node| node.spec.clone()?.pod_cidr);
        let api = cluster
            .api::<v1::Service>("default")
            .get("kubernetes")
            .await?;
        Ok((
            pods.context("no pod range")?,
            api.spec.and_then(|spec| spec.cluster_ip),
        ))
    };
    assert_eq!(
        ranges(east).await?,
        ranges(west).await?,
        "pod and service ranges overlap"
    );

    // A server that answers on TCP and UDP to all that reach the node.
    let image = scene.demo().toolbox();
    let server = format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: server, labels: {{app: server}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: server
      image: {image}
      imagePullPolicy: IfNotPresent
      command: [bash, -c, \"socat UDP-LISTEN:9000,fork PIPE & socat TCP-LISTEN:9000,fork PIPE & wait\"]
---
apiVersion: v1
kind: Service
metadata: {{name: server}}
spec:
  type: NodePort
  selector: {{app: server}}
  ports:
    - {{name: tcp, port: 9000}}
    - {{name: udp, port: 9000, protocol: UDP}}
"
    );
    scene.apply(east, &server).await?;
    let service = east
        .api::<v1::Service>(scene.namespace())
        .get("server")
        .await?;
    let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
    let node_port = |protocol: &str| {
        let port = ports
            .iter()
            .find(|port| port.protocol.as_deref() == Some(protocol));
        port.and_then(|port| u16::try_from(port.node_port?).ok())
            .context("no node port")
    };
    let (tcp_port, udp_port) = (node_port("TCP")?, node_port("UDP")?);
    let address = east.node().address().await?;

    let tcp_ports = [6443, 10250, tcp_port];
    wait_until("east's node to answer itself", ARRIVAL, async || {
        for port in tcp_ports {
            let state = east.node().output(&tcp(&address, port)).await?;
            ensure!(state == "open", "TCP {port}: {state}");
        }
        let echo = east.node().output(&udp(&address, udp_port)).await?;
        ensure!(echo == "ping", "UDP {udp_port}: {echo:?}");
        Ok(())
    })
    .await?;
    let client = scene.client(west).await?;
    for port in tcp_ports {
        let from_node = west.node().output(&tcp(&address, port)).await?;
        let from_pod = client.output(&tcp(&address, port), SHORT).await?;
        assert_eq!(
            (from_node.as_str(), from_pod.as_str()),
            ("closed", "closed"),
            "TCP {port}"
        );
    }
    assert_eq!(
        west.node().run(&udp(&address, udp_port)).await?.stdout,
        "",
        "UDP {udp_port}"
    );
    assert_eq!(
        client.run(&udp(&address, udp_port), SHORT).await?.stdout,
        "",
        "UDP {udp_port}"
    );
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn programs_run_without_any_privilege() -> Result<()> {
    let scene = Scene::new("privileges").await?;
    for cluster in scene.demo().clusters() {
        for program in ["tombolo-operator", "tombolo-gateway", "tombolo-dns"] {
            // The kernel keeps 15 characters of a name.
            let comm: String = program.chars().take(15).collect();
            let script = format!(
                "for p in $(pgrep -x {comm}); do awk '/^(Uid|CapEff|CapPrm|NoNewPrivs|Seccomp):/ \
                 {{printf \"%s%s \", $1, $2}}' /proc/$p/status; \
                 awk '$5 == \"/\" {{print substr($6, 1, 2)}}' /proc/$p/mountinfo; done"
            );
            let all = cluster.node().output(&script).await?;
            let expected = "Uid:65532 CapPrm:0000000000000000 CapEff:0000000000000000 \
                            NoNewPrivs:1 Seccomp:2 ro";
            ensure!(all.lines().count() >= 2, "{program}: {all:?}");
            for process in all.lines() {
                assert_eq!(process, expected, "{program} in {}", cluster.name());
            }
        }
    }
    scene.finish().await
}

fn peer(name: &str, cluster_id: &str, address: &str, bundle: &str) -> String {
    let bundle = bundle.replace('\n', "\n    ");
    format!(
        "
apiVersion: tombolo.io/v1alpha1
kind: Peer
metadata: {{name: {name}}}
spec:
  clusterID: {cluster_id}
  addresses: [\"{address}\"]
  caBundle: |
    {bundle}
"
    )
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_bad_peer_is_told_so_and_nobody_else_suffers() -> Result<()> {
    let scene = Scene::new("peers").await?;
    let (east, west) = (scene.east(), scene.west());
    scene.hello(east, "hello", 1).await?;
    let client = scene.client(west).await?;
    scene.answers(&client, "hello").await?;
    let probe = Probe::http(&client, "peers", &scene.url("hello")).await?;
    let bundle = east.api::<v1::ConfigMap>(SYSTEM).get("tombolo-ca").await?;
    let bundle = bundle
        .data
        .and_then(|mut data| data.remove("ca.crt"))
        .context("no ca.crt")?;

    let address = "192.0.2.1:7843";
    let nonsense = "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----";
    let bad = [
        (
            peer("bad-bundle", "north", address, nonsense),
            "Accepted",
            "InvalidCABundle",
        ),
        (
            peer("bad-own", "west", address, &bundle),
            "Accepted",
            "OwnClusterID",
        ),
        (
            peer("bad-twin", "east", address, &bundle),
            "Accepted",
            "DuplicateClusterID",
        ),
        (
            peer("bad-name", "south", "no-such-host.invalid:7843", &bundle),
            "Connected",
            "Unreachable",
        ),
        (
            peer("bad-silence", "far", address, &bundle),
            "Connected",
            "Unreachable",
        ),
    ];
    let names = [
        "bad-bundle",
        "bad-own",
        "bad-twin",
        "bad-name",
        "bad-silence",
    ];
    let checks = async {
        for (yaml, _, _) in &bad {
            west.apply(yaml).await?;
        }
        for (name, (_, type_, reason)) in names.iter().zip(&bad) {
            let condition = west.peer_condition(name, (type_, "False", reason)).await?;
            ensure!(!condition.message.is_empty(), "{name}: no message");
        }
        // One that resolves badly is still a sensible Peer.
        west.peer_condition("bad-name", ("Accepted", "True", "Accepted"))
            .await?;
        west.peer_condition("east", ("Connected", "True", "Connected"))
            .await?;
        // What makes no sense at all is refused at once.
        for (name, id, address) in [
            ("bad-address", "up", "nonsense"),
            ("bad-id", "\"Not a label\"", address),
        ] {
            let refused = west.apply(&peer(name, id, address, &bundle)).await;
            ensure!(
                refused.is_err_and(|e| format!("{e:#}").contains("spec.")),
                "{name} was taken"
            );
        }
        Ok(())
    }
    .await;
    for name in names.into_iter().chain(["bad-address", "bad-id"]) {
        west.kubectl(&["delete", "peer", name, "--ignore-not-found"])
            .await?;
    }
    checks?;
    probe.stop().await?.all_good()?;
    west.peer_condition("east", ("Connected", "True", "Connected"))
        .await?;
    scene.finish().await
}

/// Tries for some seconds, since a refusal right after an export may only be its delay.
async fn never_answers(client: &Pod, name: &str) -> Result<()> {
    let script = format!(
        "for i in $(seq 6); do curl -sS -k -m 4 -o /dev/null -w '%{{http_code}}\\n' http://{name}/ \
         2>/dev/null; sleep 1; done | grep -v '^000$' || true"
    );
    let answers = client.output(&script, Duration::from_secs(90)).await?;
    ensure!(answers.is_empty(), "{name} answered: {answers}");
    Ok(())
}

/// How many connections from other clusters the gateways of this one refused for their endpoint.
async fn endpoints_refused(cluster: &Cluster) -> Result<u64> {
    let pods = cluster.program_pods("gateway").await?;
    let ips = pods.into_iter().filter_map(|pod| pod.status?.pod_ip);
    let pages = ips.map(|ip| format!("curl -sS -f -m 5 http://{ip}:8080/metrics"));
    let text = cluster
        .node()
        .output(&pages.collect::<Vec<_>>().join(" && "))
        .await?;
    let name = "tombolo_gateway_connections_refused_total{direction=\"Inbound\"";
    let counted = text
        .lines()
        .filter(|l| l.starts_with(name) && l.contains("\"EndpointRefused\""));
    Ok(counted
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum())
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_gateway_is_nobodys_deputy() -> Result<()> {
    let scene = Scene::new("deputy").await?;
    let (east, west) = (scene.east(), scene.west());
    scene.hello(east, "hello", 1).await?;
    let client = scene.client(west).await?;
    scene.answers(&client, "hello").await?;
    let node = east.node().address().await?;
    let clusterset_ip = east.imported(scene.namespace(), "hello", &["east"]).await?;
    let api = east.api::<v1::Service>("default").get("kubernetes").await?;
    let api = api
        .spec
        .and_then(|spec| spec.cluster_ip)
        .context("no API server address")?;
    let gateways = east.program_pods("gateway").await?;
    let gateway = gateways
        .first()
        .and_then(|pod| pod.status.clone()?.pod_ip)
        .context("no IP")?;

    let forbidden = [
        ("api-server", node.clone(), 6443),
        ("api-service", api, 443),
        ("kubelet", node, 10250),
        ("gateway-admin", gateway, 8080),
        ("clusterset-ip", clusterset_ip, 80),
        ("outside", "192.0.2.1".to_owned(), 80),
    ];
    let before = endpoints_refused(east).await?;
    for (name, address, port) in &forbidden {
        let yaml = workload::hand_made(name, address, *port);
        scene
            .apply(east, &format!("{yaml}---{}", workload::export(name)))
            .await?;
    }
    try_join_all(forbidden.iter().map(async |(name, _, _)| {
        west.imported(scene.namespace(), name, &["east"]).await?;
        never_answers(&client, &scene.name(name)).await
    }))
    .await?;
    // It was a gateway that said no, and not the lack of a route.
    let refused = endpoints_refused(east).await? - before;
    ensure!(
        refused >= 6,
        "{refused} connections refused for six forbidden endpoints"
    );
    scene.answers(&client, "hello").await?;
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_gateway_may_not_speak_for_its_own_cluster() -> Result<()> {
    let scene = Scene::new("speak").await?;
    let (east, west) = (scene.east(), scene.west());
    scene.hello(east, "hello", 1).await?;
    west.imported(scene.namespace(), "hello", &["east"]).await?;
    let export = format!("clusterexport/hello.{}.east", scene.namespace());
    let as_gateway = format!("--as=system:serviceaccount:{SYSTEM}:tombolo-gateway");
    let forge = [
        &as_gateway,
        "-n",
        SYSTEM,
        "patch",
        &export,
        "--type=merge",
        r#"--patch={"metadata":{"annotations":{"forged":"yes"}}}"#,
    ];
    let refused = east.kubectl(&forge).await;
    assert!(
        refused
            .as_ref()
            .is_err_and(|error| format!("{error:#}").contains("may not write this cluster's own")),
        "{refused:?}"
    );
    // In the other cluster the same object is a copy, which gateways are there to write.
    west.kubectl(&forge).await?;
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_chain_of_exported_imports_is_refused() -> Result<()> {
    let scene = Scene::new("loop").await?;
    let (east, west) = (scene.east(), scene.west());
    // Each cluster exports a Service whose only endpoint is its import of the other's.
    for (cluster, name) in [(east, "there"), (west, "back")] {
        let yaml = workload::hand_made(name, "192.0.2.1", 80);
        scene
            .apply(cluster, &format!("{yaml}---{}", workload::export(name)))
            .await?;
    }
    let there = west.imported(scene.namespace(), "there", &["east"]).await?;
    let back = east.imported(scene.namespace(), "back", &["west"]).await?;
    scene
        .apply(east, &workload::hand_made("there", &back, 80))
        .await?;
    scene
        .apply(west, &workload::hand_made("back", &there, 80))
        .await?;
    // The same by the gateways' own addresses and ports, past kube-proxy.
    for (cluster, import, name) in [
        (east, "back", "there-direct"),
        (west, "there", "back-direct"),
    ] {
        let gateways = cluster.program_pods("gateway").await?;
        let address = gateways
            .first()
            .and_then(|pod| pod.status.clone()?.pod_ip)
            .context("no IP")?;
        let derived = cluster
            .api::<ServiceImport>(scene.namespace())
            .get(import)
            .await?;
        let derived = derived
            .metadata
            .annotations
            .and_then(|mut all| all.remove("multicluster.kubernetes.io/derived-service"))
            .context("no derived Service")?;
        let service = cluster
            .api::<v1::Service>(scene.namespace())
            .get(&derived)
            .await?;
        let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
        let target = ports.first().and_then(|port| port.target_port.clone());
        let Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(port)) = target
        else {
            panic!("{derived} has no numeric target port: {ports:?}")
        };
        let yaml = workload::hand_made(name, &address, u16::try_from(port)?);
        scene
            .apply(cluster, &format!("{yaml}---{}", workload::export(name)))
            .await?;
    }
    west.imported(scene.namespace(), "there-direct", &["east"])
        .await?;
    let client = scene.client(west).await?;
    for name in ["there", "back", "there-direct", "back-direct"] {
        never_answers(&client, &scene.name(name)).await?;
    }
    scene.hello(east, "hello", 1).await?;
    scene.answers(&client, "hello").await?;
    scene.finish().await
}

async fn throw_garbage(from: &Node, to: &str) -> Result<()> {
    from.output(&format!(
        "bash -c 'for i in $(seq 400); do head -c $((RANDOM % 1400 + 1)) /dev/urandom \
         >/dev/udp/{to}/{LINK_NODE_PORT} || true; done; \
         for i in $(seq 20); do head -c 9000 /dev/urandom >/dev/udp/{to}/{LINK_NODE_PORT} || true; done'"
    ))
    .await
    .map(drop)
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn garbage_on_the_link_port_hurts_nobody() -> Result<()> {
    let scene = Scene::new("garbage").await?;
    let (east, west) = (scene.east(), scene.west());
    scene.hello(east, "hello", 1).await?;
    let client = scene.client(west).await?;
    scene.answers(&client, "hello").await?;
    let restarts = async |cluster: &Cluster| -> Result<i32> {
        let pods = cluster.program_pods("gateway").await?;
        let statuses = pods
            .into_iter()
            .filter_map(|pod| pod.status?.container_statuses);
        Ok(statuses
            .flatten()
            .map(|container| container.restart_count)
            .sum())
    };
    let before = (restarts(east).await?, restarts(west).await?);
    let probe = Probe::http(&client, "garbage", &scene.url("hello")).await?;
    let (east_address, west_address) = (east.node().address().await?, west.node().address().await?);
    throw_garbage(west.node(), &east_address).await?;
    throw_garbage(east.node(), &west_address).await?;
    probe.stop().await?.all_good()?;
    assert_eq!(
        (restarts(east).await?, restarts(west).await?),
        before,
        "a gateway restarted"
    );
    scene.finish().await
}
