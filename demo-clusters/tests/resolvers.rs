//! The ways by which pods' own resolvers come to know the clusterset. Each test changes how Tombolo is
//! installed in `west`, so they run one after the other (`--test-threads=1`).

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1;
use kube::api::ListParams;
use tombolo_demo_clusters::cluster::{ARRIVAL, Cluster, SYSTEM};
use tombolo_demo_clusters::{Pod, Scene, demo, wait_until, workload};

const LONG: Duration = Duration::from_secs(420);

/// The kubelet brings a changed ConfigMap into a pod within a minute or so, and then CoreDNS's
/// `reload` looks every 30 seconds.
const RELOADED: Duration = Duration::from_secs(180);

/// Where Kubernetes' manifest of NodeLocal DNSCache has it listen.
const CACHE: &str = "169.254.20.10";

/// Where the chart has the resolver of a node listen.
const NODE_RESOLVER: &str = "169.254.25.10";

/// Changes values of the release in a cluster; all others stay.
async fn set_values(cluster: &Cluster, values: &[&str]) -> Result<()> {
    let chart = demo::chart().display().to_string();
    let mut words = vec!["upgrade", "tombolo", &chart, "-n", SYSTEM, "--reuse-values"];
    for value in values {
        words.extend(["--set", value]);
    }
    words.extend(["--wait", "--timeout", "6m"]);
    cluster.helm().output(&words, None, LONG).await.map(drop)
}

/// A service `hello` of east that west knows.
async fn scene(subject: &str) -> Result<Scene> {
    let scene = Scene::new(subject).await?;
    scene.hello(scene.east(), "hello", 1).await?;
    let namespace = scene.namespace();
    scene.west().imported(namespace, "hello", &["east"]).await?;
    Ok(scene)
}

/// Waits until a name has so many addresses for the client.
async fn addresses_become(
    client: &Pod,
    name: &str,
    count: usize,
    patience: Duration,
) -> Result<()> {
    let aim = format!("{name} to have {count} addresses");
    wait_until(&aim, patience, async || {
        let answer = client.dig(name, "A").await?;
        ensure!(answer.records.len() == count, "{answer:?}");
        Ok(())
    })
    .await
}

/// A pod of west that has the search list of the kubelet, but this resolver.
async fn client_asking(scene: &Scene, resolver: &str) -> Result<Pod> {
    let (west, namespace) = (scene.west(), scene.namespace());
    let client = workload::client(scene.demo().toolbox());
    let asks = format!(
        "  dnsPolicy: None
  dnsConfig:
    nameservers: [{resolver}]
    searches: [{namespace}.svc.cluster.local, svc.cluster.local, cluster.local]
    options: [{{name: ndots, value: \"5\"}}]
"
    );
    scene.apply(west, &format!("{client}{asks}")).await?;
    let ready = [
        "wait",
        "pod/client",
        "--for=condition=Ready",
        "--timeout=90s",
    ];
    scene.kubectl(west, &ready).await?;
    Ok(west.pod(namespace, "client"))
}

/// The cluster's own names, through the same resolver.
async fn own_names(client: &Pod) -> Result<()> {
    wait_until("a name of the cluster", ARRIVAL, async || {
        let answer = client.dig("kubernetes.default.svc.cluster.local", "A");
        let answer = answer.await?;
        ensure!(
            answer.status == "NOERROR" && answer.records.len() == 1,
            "{answer:?}"
        );
        let none = client.dig("none.default.svc.cluster.local", "A").await?;
        ensure!(none.status == "NXDOMAIN", "{none:?}");
        Ok(())
    })
    .await
}

async fn cluster_ip(cluster: &Cluster, namespace: &str, service: &str) -> Result<String> {
    let service = cluster.api::<v1::Service>(namespace).get(service).await?;
    let spec = service.spec.context("a Service without spec")?;
    spec.cluster_ip.context("a Service without address")
}

/// kubeadm's image of CoreDNS.
async fn coredns_image(cluster: &Cluster) -> Result<String> {
    let deployments = cluster.api::<Deployment>("kube-system");
    let coredns = deployments.get("coredns").await?;
    let pod = coredns.spec.and_then(|spec| spec.template.spec);
    let image = pod.and_then(|pod| pod.containers.into_iter().next()?.image);
    image.context("no image of CoreDNS")
}

async fn corefile(cluster: &Cluster, namespace: &str, name: &str, key: &str) -> Result<String> {
    let config = cluster.api::<v1::ConfigMap>(namespace).get(name).await?;
    let file = config.data.and_then(|mut data| data.remove(key));
    Ok(file.unwrap_or_default())
}

/// The containers of CoreDNS's pods: another one after each restart.
async fn containers_of_coredns(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let pods = cluster.api::<v1::Pod>("kube-system");
    let selector = ListParams::default().labels("k8s-app=kube-dns");
    let pods = pods.list(&selector).await?.items.into_iter();
    let statuses = pods.filter_map(|pod| pod.status?.container_statuses);
    Ok(statuses
        .flatten()
        .filter_map(|status| status.container_id)
        .collect())
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn kubeadms_coredns_takes_the_forward_without_a_restart() -> Result<()> {
    const NAMESPACE: &str = "kube-system";
    let scene = scene("reload").await?;
    let west = scene.west();
    let client = scene.client(west).await?;
    let before = corefile(west, NAMESPACE, "coredns", "Corefile").await?;
    let (_, without) = before
        .split_once("# END tombolo\n")
        .context("no block of ours")?;
    let patch = serde_json::json!({"data": {"Corefile": without}}).to_string();
    let words = [
        "-n",
        NAMESPACE,
        "patch",
        "configmap",
        "coredns",
        "--type=merge",
        "-p",
    ];
    west.kubectl(&[&words[..], &[&patch]].concat()).await?;
    let restart = ["-n", NAMESPACE, "rollout", "restart", "deployment/coredns"];
    west.kubectl(&restart).await?;
    west.rolled_out(NAMESPACE, "deployment/coredns").await?;
    let name = scene.name("hello");
    addresses_become(&client, &name, 0, ARRIVAL).await?;
    let containers = containers_of_coredns(west).await?;
    ensure!(!containers.is_empty(), "no CoreDNS");

    set_values(west, &[]).await?;

    let again = corefile(west, NAMESPACE, "coredns", "Corefile").await?;
    assert_eq!(again, before);
    addresses_become(&client, &name, 1, RELOADED).await?;
    scene.answers(&client, "hello").await?;
    own_names(&client).await?;
    // Those of before the restart may still have been ending then.
    let now = containers_of_coredns(west).await?;
    assert!(now.is_subset(&containers), "{now:?}, {containers:?}");
    scene.finish().await
}

/// The ConfigMap of Kubernetes' manifest of NodeLocal DNSCache, for kube-proxy's mode IPVS or nftables,
/// where it does not listen at the address of `kube-dns` as well.
fn cache_config() -> String {
    let block = |zone: &str, cache: &str, more: &str, upstream: &str| {
        format!(
            "    {zone}:53 {{
        errors
        cache {cache}
        reload
        loop
        bind {CACHE}
        forward . {upstream}
        prometheus :9253
{more}    }}
"
        )
    };
    let kept = "{\n            success 9984 30\n            denial 9984 5\n        }";
    let cluster = "__PILLAR__CLUSTER__DNS__ {\n            force_tcp\n        }";
    let blocks = [
        block(
            "cluster.local",
            kept,
            &format!("        health {CACHE}:8080\n"),
            cluster,
        ),
        block("in-addr.arpa", "30", "", cluster),
        block("ip6.arpa", "30", "", cluster),
        block(".", "30", "", "__PILLAR__UPSTREAM__SERVERS__"),
    ];
    format!(
        "
apiVersion: v1
kind: ConfigMap
metadata: {{name: node-local-dns, namespace: kube-system}}
data:
  Corefile: |
{}",
        blocks.concat()
    )
}

/// NodeLocal DNSCache's DaemonSet. Its program is CoreDNS, which before it starts puts the address on
/// the node and fills in the upstream servers; here init containers do that.
fn cache_pods(coredns: &str, toolbox: &str, cluster_dns: &str) -> String {
    let fill = format!(
        "sed 's|__PILLAR__CLUSTER__DNS__|{cluster_dns}|; s|__PILLAR__UPSTREAM__SERVERS__|/etc/resolv.conf|' \
         /base/Corefile.base >/etc/coredns/Corefile"
    );
    format!(
        "
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: node-local-dns, namespace: kube-system, labels: {{k8s-app: node-local-dns}}}}
spec:
  updateStrategy: {{rollingUpdate: {{maxUnavailable: 10%}}}}
  selector: {{matchLabels: {{k8s-app: node-local-dns}}}}
  template:
    metadata: {{labels: {{k8s-app: node-local-dns}}}}
    spec:
      priorityClassName: system-node-critical
      hostNetwork: true
      dnsPolicy: Default
      tolerations: [{{operator: Exists}}]
      initContainers:
        - name: address
          image: {toolbox}
          command: [sh, -c, ip address replace {CACHE}/32 dev lo scope link]
          securityContext: {{capabilities: {{add: [NET_ADMIN]}}}}
        - name: upstreams
          image: {toolbox}
          command: [sh, -c, \"{fill}\"]
          volumeMounts:
            - {{name: base, mountPath: /base}}
            - {{name: corefile, mountPath: /etc/coredns}}
      containers:
        - name: node-cache
          image: {coredns}
          args: [-conf, /etc/coredns/Corefile]
          livenessProbe: {{httpGet: {{host: {CACHE}, path: /health, port: 8080}}}}
          volumeMounts: [{{name: corefile, mountPath: /etc/coredns}}]
      volumes:
        - name: base
          configMap: {{name: node-local-dns, items: [{{key: Corefile, path: Corefile.base}}]}}
        - name: corefile
          emptyDir: {{}}
"
    )
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn nodelocal_dnscache_gets_the_forward() -> Result<()> {
    let scene = scene("cache").await?;
    let west = scene.west();
    let client = client_asking(&scene, CACHE).await?;
    let kube_dns = cluster_ip(west, "kube-system", "kube-dns").await?;
    let pods = cache_pods(
        &coredns_image(west).await?,
        scene.demo().toolbox(),
        &kube_dns,
    );
    west.apply_in("kube-system", &format!("{}---{pods}", cache_config()))
        .await?;
    west.rolled_out("kube-system", "daemonset/node-local-dns")
        .await?;
    own_names(&client).await?;
    let name = scene.name("hello");
    let unknown = client.dig(&name, "A").await?;
    assert!(unknown.records.is_empty(), "before: {unknown:?}");

    set_values(west, &["coredns.forward.nodeLocalConfigMap=node-local-dns"]).await?;
    let restart = [
        "-n",
        "kube-system",
        "rollout",
        "restart",
        "ds/node-local-dns",
    ];
    west.kubectl(&restart).await?;
    west.rolled_out("kube-system", "daemonset/node-local-dns")
        .await?;

    scene.answers(&client, "hello").await?;
    own_names(&client).await?;
    let file = corefile(west, "kube-system", "node-local-dns", "Corefile").await?;
    let (block, theirs) = file
        .split_once("# END tombolo\n")
        .context("no block of ours")?;
    assert!(block.contains(&format!("bind {CACHE}")), "{block}");
    assert!(theirs.contains("__PILLAR__CLUSTER__DNS__"), "{theirs}");

    set_values(west, &["coredns.forward.nodeLocalConfigMap="]).await?;
    let delete = [
        "-n",
        "kube-system",
        "delete",
        "daemonset/node-local-dns",
        "configmap/node-local-dns",
    ];
    west.kubectl(&delete).await?;
    let address = format!("ip address delete {CACHE}/32 dev lo");
    west.node().output(&address).await?;
    scene.finish().await
}

/// A CoreDNS as clouds run it: they own the Corefile, and what users add is in `coredns-custom`.
fn clouds_coredns(coredns: &str, cluster_dns: &str) -> String {
    format!(
        "
apiVersion: v1
kind: ConfigMap
metadata: {{name: coredns}}
data:
  Corefile: |
    cluster.local:53 {{
        errors
        forward . {cluster_dns}
        import custom/*.override
    }}
    .:53 {{
        errors
        reload 2s
    }}
    import custom/*.server
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: coredns-custom}}
---
apiVersion: v1
kind: Service
metadata: {{name: resolver}}
spec:
  selector: {{app: resolver}}
  ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: resolver}}
spec:
  selector: {{matchLabels: {{app: resolver}}}}
  template:
    metadata: {{labels: {{app: resolver}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: coredns
          image: {coredns}
          args: [-conf, /etc/coredns/Corefile]
          volumeMounts:
            - {{name: config, mountPath: /etc/coredns}}
            - {{name: custom, mountPath: /etc/coredns/custom}}
      volumes:
        - {{name: config, configMap: {{name: coredns}}}}
        - {{name: custom, configMap: {{name: coredns-custom, optional: true}}}}
"
    )
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn a_clouds_coredns_takes_the_forward_from_coredns_custom() -> Result<()> {
    let scene = scene("custom").await?;
    let (west, namespace) = (scene.west(), scene.namespace());
    let kube_dns = cluster_ip(west, "kube-system", "kube-dns").await?;
    let cloud = clouds_coredns(&coredns_image(west).await?, &kube_dns);
    scene.apply(west, &cloud).await?;
    west.rolled_out(namespace, "deployment/resolver").await?;
    let managed = corefile(west, namespace, "coredns", "Corefile").await?;
    let resolver = cluster_ip(west, namespace, "resolver").await?;
    let client = client_asking(&scene, &resolver).await?;
    own_names(&client).await?;
    let name = scene.name("hello");
    let unknown = client.dig(&name, "A").await?;
    assert!(unknown.records.is_empty(), "before: {unknown:?}");

    let here = format!("coredns.forward.namespace={namespace}");
    let values = [
        &here,
        "coredns.forward.configMap=coredns-custom",
        "coredns.forward.key=tombolo.server",
    ];
    set_values(west, &values).await?;

    addresses_become(&client, &name, 1, RELOADED).await?;
    scene.answers(&client, "hello").await?;
    own_names(&client).await?;
    assert_eq!(
        corefile(west, namespace, "coredns", "Corefile").await?,
        managed
    );

    let values = [
        "coredns.forward.namespace=kube-system",
        "coredns.forward.configMap=coredns",
        "coredns.forward.key=Corefile",
    ];
    set_values(west, &values).await?;
    scene.finish().await
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn the_resolver_of_a_node_answers_through_its_own_upgrade() -> Result<()> {
    let scene = scene("node").await?;
    let west = scene.west();
    let kube_dns = cluster_ip(west, "kube-system", "kube-dns").await?;
    let cluster_dns = format!("dns.nodeLocal.clusterDNS={kube_dns}");
    set_values(west, &["dns.nodeLocal.enabled=true", &cluster_dns]).await?;
    let resolver = "daemonset/tombolo-dns-node";
    west.rolled_out(SYSTEM, resolver).await?;
    let client = client_asking(&scene, NODE_RESOLVER).await?;
    scene.answers(&client, "hello").await?;
    own_names(&client).await?;
    let pods = node_resolvers(west).await?;

    // As resolvers of C libraries do: another try after a second without an answer.
    let (ours, theirs) = (scene.name("hello"), "kubernetes.default.svc.cluster.local");
    let asks = format!(
        "while ! [ -e /tmp/enough ]; do for name in {ours} {theirs}; do
           answer=$(dig +short +tries=2 +time=1 $name) && [[ $answer =~ ^[0-9.]+$ ]] && echo good || echo \"$name: $answer\"
         done; done"
    );
    let (answers, upgraded) = tokio::join!(client.output(&asks, LONG), async {
        let upgraded = upgrade_node_resolver(west, resolver, &pods).await;
        client
            .output("touch /tmp/enough", ARRIVAL)
            .await
            .and(upgraded)
    });
    upgraded?;
    let answers = answers?;
    let bad: Vec<_> = answers.lines().filter(|line| *line != "good").collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert!(answers.lines().count() > 100, "{answers}");

    set_values(west, &["dns.nodeLocal.enabled=false"]).await?;
    let address = format!("ip address delete {NODE_RESOLVER}/32 dev lo");
    west.node().output(&address).await?;
    scene.finish().await
}

/// Restarts the resolver of the node, and waits until nothing of the former one is left.
async fn upgrade_node_resolver(
    cluster: &Cluster,
    resolver: &str,
    former: &BTreeSet<String>,
) -> Result<()> {
    let restart = ["-n", SYSTEM, "rollout", "restart", resolver];
    cluster.kubectl(&restart).await?;
    cluster.rolled_out(SYSTEM, resolver).await?;
    wait_until("the former resolver to end", LONG, async || {
        let pods = node_resolvers(cluster).await?;
        ensure!(pods.is_disjoint(former), "{pods:?}");
        Ok(())
    })
    .await
}

/// The names of the pods, those that are ending included.
async fn node_resolvers(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let pods = cluster.api::<v1::Pod>(SYSTEM);
    let selector = ListParams::default().labels("tombolo.io/component=dns-node");
    let pods = pods.list(&selector).await?.items.into_iter();
    Ok(pods.filter_map(|pod| pod.metadata.name).collect())
}
