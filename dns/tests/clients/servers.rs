//! What is asked: CoreDNS, and `tombolo-dns` behind it and beside it.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};
use tombolo_dns_corefile::edit;

use crate::go_modules::build;
use crate::pod::Pod;
use crate::process::Process;
use crate::state::{kubeconfig_to_nowhere, save};

/// The cluster's CoreDNS, which forwards the clusterset.
pub(crate) const CLUSTER: &str = "10.96.0.10";
/// The Service `tombolo-dns`.
pub(crate) const TOMBOLO: &str = "10.96.0.53";
/// The resolver of the node.
pub(crate) const NODE: &str = "169.254.25.10";
/// Free for a test.
pub(crate) const OTHER: &str = "10.96.0.11";

/// Endpoints of the headless service `big`: more than fit into a datagram.
pub(crate) const HOSTS: u8 = 200;

/// Of kubeadm, with a zone file in the place of the plugin `kubernetes`, which needs an API server.
const COREFILE: &str = ".:53 {
    errors
    bind 10.96.0.10
    file cluster.local.zone cluster.local
    cache 30
    reload
    loadbalance
}
";
const CLUSTER_ZONE: &str = "\
@ 30 IN SOA ns.dns hostmaster 1 7200 1800 86400 30
@ 30 IN NS ns.dns
kubernetes.default.svc 30 IN A 10.96.0.1
";

/// A pod with all the servers, and a clusterset with a service of each kind.
pub(crate) struct Servers {
    // The servers end before their namespaces.
    _processes: Vec<Process>,
    pub(crate) pod: Pod,
}

// === impl Servers ===

impl Servers {
    pub(crate) fn start() -> Self {
        let pod = Pod::new(&[CLUSTER, TOMBOLO, OTHER]);
        let [core_dns] = build(["coredns"]);
        let tombolo = Path::new(env!("CARGO_BIN_EXE_tombolo-dns"));
        // As the init container of the node's resolver does.
        let added = pod.command(tombolo).args(["address", NODE]).status();
        assert!(added.unwrap().success());
        pod.write("kubeconfig", &kubeconfig_to_nowhere().to_string());
        for state in ["service", "node"] {
            save_zone(&pod, state);
        }
        let zone = pod.write("cluster.local.zone", CLUSTER_ZONE);
        let corefile = COREFILE.replace("cluster.local.zone", &zone.display().to_string());
        let server: IpAddr = TOMBOLO.parse().unwrap();
        let forwarding = edit::install(&corefile, "clusterset.local", server).unwrap();
        let corefile = pod.write("Corefile", &forwarding).display().to_string();
        let node = pod
            .write("Corefile-node", &node_corefile())
            .display()
            .to_string();
        let state = |name: &str| format!("--state-dir={}", pod.file(name).display());
        let common = [
            "--admin-address=127.0.0.1:0",
            "--api-patience=0.1",
            "--grace-period=0",
        ];

        let listen = format!("--listen={TOMBOLO}:53");
        let [of_service, of_node] = ["service", "node"].map(state);
        let service = [&common[..], &[&listen, &of_service]].concat();
        let on_node = [&common[..], &["--corefile", &node, &of_node]].concat();
        let processes = vec![
            pod.start("tombolo", tombolo, &service),
            pod.start("coredns", &core_dns, &["-conf", &corefile]),
            pod.start("node", tombolo, &on_node),
        ];
        for server in [TOMBOLO, CLUSTER, NODE] {
            pod.wait_for(server, "web.shop.svc.clusterset.local", "A");
        }
        pod.wait_for(NODE, "kubernetes.default.svc.cluster.local", "A");
        Self {
            _processes: processes,
            pod,
        }
    }
}

/// The value `dns.nodeLocal.corefile` of the chart, as the template would have it.
fn node_corefile() -> String {
    let values = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../deploy/helm/tombolo/values.yaml"
    );
    let values = fs::read_to_string(values).unwrap();
    let (_, after) = values.split_once("    corefile: |\n").unwrap();
    let lines = after.lines().take_while(|line| line.starts_with("      "));
    let mut corefile = lines.collect::<Vec<_>>().join("\n");
    for (template, value) in [
        ("{{ .Values.dns.nodeLocal.address }}", NODE),
        (
            r#"{{ join ":53 " .Values.dns.nodeLocal.clusterZones }}"#,
            "cluster.local",
        ),
        (
            r#"{{ required "dns.nodeLocal.clusterDNS is the ClusterIP of the cluster's own resolver" .Values.dns.nodeLocal.clusterDNS }}"#,
            CLUSTER,
        ),
        ("{{ .Values.dns.nodeLocal.readyPort }}", "8191"),
        // The node's own resolvers are not of this test.
        ("/etc/resolv.conf", CLUSTER),
    ] {
        assert!(corefile.contains(template), "{template}");
        corefile = corefile.replace(template, value);
    }
    assert!(!corefile.contains("{{"), "{corefile}");
    corefile
}

/// As a program would have saved it that had an API server.
fn save_zone(pod: &Pod, dir: &str) {
    let port =
        |name: &str, number: u16| json!([{"name": name, "protocol": "TCP", "number": number}]);
    let single = |addresses: &[&str]| json!({"headless": false, "addresses": addresses, "ports": port("http", 80)});
    let imports = json!([
        ["shop", "big", {"headless": true, "addresses": [], "ports": []}],
        ["shop", "dual", single(&["10.96.1.2", "fd00::2"])],
        ["shop", "web", single(&["10.96.1.1"])],
    ]);
    let endpoints: Vec<Value> = (0..HOSTS)
        .map(|n| json!({"hostname": format!("big-{n}"), "addresses": [format!("10.0.0.{n}")]}))
        .collect();
    let slices = json!([["shop", "big-east", {
        "service": "big",
        "cluster": "east",
        "endpoints": endpoints,
        "ports": port("sql", 5432),
    }]]);
    let dir = pod.file(dir);
    fs::create_dir(&dir).unwrap();
    save(&dir, "serviceimports", &imports);
    save(&dir, "endpointslices", &slices);
}
