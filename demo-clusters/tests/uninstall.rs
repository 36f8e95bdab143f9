//! What `helm uninstall` leaves behind, and that an install over it works. It takes `west` down for
//! a while, so it runs after everything else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use tombolo_crds::mcs::{ServiceExport, ServiceImport};
use tombolo_demo_clusters::cluster::{Cluster, SYSTEM};
use tombolo_demo_clusters::{Scene, wait_until};

const LONG: Duration = Duration::from_secs(600);

const USERS_WORDS: &str = "# a user's own words\n";

async fn corefile(cluster: &Cluster) -> Result<String> {
    let config = cluster
        .api::<v1::ConfigMap>("kube-system")
        .get("coredns")
        .await?;
    config
        .data
        .and_then(|mut data| data.remove("Corefile"))
        .context("no Corefile")
}

/// What is there besides Tombolo's block.
fn without_forward(corefile: &str) -> String {
    let mut ours = false;
    let theirs = corefile.split_inclusive('\n').filter(|line| {
        ours |= line.starts_with("# BEGIN tombolo");
        let keep = !ours;
        ours &= !line.starts_with("# END tombolo");
        keep
    });
    theirs.collect()
}

async fn set_corefile(cluster: &Cluster, text: &str) -> Result<()> {
    let patch = serde_json::json!({"data": {"Corefile": text}}).to_string();
    let words = [
        "-n",
        "kube-system",
        "patch",
        "configmap",
        "coredns",
        "--type=merge",
        "-p",
    ];
    cluster
        .kubectl(&[&words[..], &[&patch]].concat())
        .await
        .map(drop)
}

/// What is left of Tombolo, as `kind/namespace/name` a line.
async fn remains(cluster: &Cluster) -> Result<String> {
    let columns = "custom-columns=K:.kind,NS:.metadata.namespace,N:.metadata.name";
    let get = async |rest: &[&str]| {
        let all = [
            &["get", "--no-headers", "--ignore-not-found", "-o", columns],
            rest,
        ]
        .concat();
        cluster.kubectl(&all).await
    };
    let in_namespace = "deployments,pods,jobs,services,secrets,configmaps,leases,serviceaccounts,roles,\
         rolebindings,poddisruptionbudgets,clusterexports.tombolo.io";
    let cluster_wide = "clusterroles,clusterrolebindings,validatingadmissionpolicies,\
                        validatingadmissionpolicybindings,roles,rolebindings";
    let mut lines = get(&["-n", SYSTEM, in_namespace]).await?;
    lines.push('\n');
    lines += &get(&["-A", cluster_wide, "-l", "app.kubernetes.io/name=tombolo"]).await?;
    lines.push('\n');
    lines += &get(&[
        "-A",
        "services,endpointslices",
        "-l",
        "tombolo.io/managed-by=operator",
    ])
    .await?;
    lines.push('\n');
    lines += &get(&["-A", "services", "-l", "tombolo.io/service-import"]).await?;
    Ok(lines
        .lines()
        .filter(
            |line| match line.split_whitespace().collect::<Vec<_>>()[..] {
                [] => false,
                // Kubernetes' own, in every namespace.
                ["ConfigMap", _, "kube-root-ca.crt"] | ["ServiceAccount", _, "default"] => false,
                _ => true,
            },
        )
        .collect::<Vec<_>>()
        .join("\n"))
}

#[tokio::test]
#[ignore = "needs the demo's clusters: run ./test.sh"]
async fn nothing_of_ours_stays_and_what_users_wrote_does() -> Result<()> {
    let scene = Scene::new("uninstall").await?;
    let (east, west) = (scene.east(), scene.west());
    let namespace = scene.namespace();
    scene.hello(east, "hello", 1).await?;
    scene.hello(west, "back", 1).await?;
    let in_west = scene.client(west).await?;
    let in_east = scene.client(east).await?;
    scene.answers(&in_west, "hello").await?;
    scene.answers(&in_east, "back").await?;
    let original = corefile(west).await?;
    ensure!(
        original.contains("clusterset.local"),
        "no forward before: {original}"
    );
    let commented = format!("{USERS_WORDS}{original}");
    set_corefile(west, &commented).await?;

    let words = [
        "uninstall",
        "tombolo",
        "-n",
        SYSTEM,
        "--wait",
        "--timeout",
        "5m",
    ];
    west.helm().output(&words, None, LONG).await?;
    let without = corefile(west).await?;
    assert_eq!(without, without_forward(&commented));
    assert!(!without.contains("clusterset.local"), "{without}");
    wait_until(
        "nothing of Tombolo's to be left",
        Duration::from_secs(60),
        async || {
            let left = remains(west).await?;
            ensure!(left.is_empty(), "left:\n{left}");
            Ok(())
        },
    )
    .await?;
    assert!(
        west.api::<ServiceImport>(namespace)
            .get_opt("hello")
            .await?
            .is_none()
    );
    assert!(
        west.api::<ServiceExport>(namespace)
            .get_opt("back")
            .await?
            .is_some()
    );
    let crds = west.all::<CustomResourceDefinition>();
    for name in ["serviceexports", "serviceimports"] {
        let name = format!("{name}.multicluster.x-k8s.io");
        assert!(crds.get_opt(&name).await?.is_some(), "{name} is gone");
    }
    in_west
        .get(&format!(
            "http://back.{namespace}.svc.cluster.local/hostname"
        ))
        .await?;
    let name = scene.name("hello");
    // CoreDNS takes its time to notice that the forward is gone; until then it has nobody to ask.
    let answer = in_west.dig(&name, "A").await;
    assert!(
        answer
            .as_ref()
            .map_or(true, |answer| answer.records.is_empty()),
        "{answer:?}"
    );

    scene.demo().script(&["up", "--no-sample"], LONG).await?;
    for cluster in [east, west] {
        cluster.peers_synced().await?;
    }
    scene.answers(&in_west, "hello").await?;
    scene.answers(&in_east, "back").await?;
    let again = corefile(west).await?;
    assert!(again.contains("clusterset.local"), "{again}");
    assert_eq!(without_forward(&again), without);
    set_corefile(west, &again.replace(USERS_WORDS, "")).await?;
    scene.finish().await
}
