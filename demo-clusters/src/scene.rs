//! Where one test plays: a namespace of its own in every cluster.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1;
use kube::api::ListParams;
use tombolo_crds::mcs::ServiceExport;

use crate::cluster::Cluster;
use crate::demo::Demo;
use crate::pod::Pod;
use crate::wait::wait_until;
use crate::workload;

const POD_START: Duration = Duration::from_secs(90);
const LIMIT: Duration = Duration::from_secs(120);

/// Label of namespaces that tests made: what a failed test leaves to look at is found by it.
pub const LABEL: &str = "tombolo.io/e2e";

/// A namespace of one test, the same in all clusters.
#[derive(Debug)]
pub struct Scene {
    demo: Demo,
    namespace: String,
}

impl Scene {
    /// Makes a new namespace in east and in west.
    ///
    /// # Errors
    /// If there are no clusters, or they do not take it.
    pub async fn new(subject: &str) -> Result<Self> {
        Self::in_demo(Demo::load().await?, subject).await
    }

    /// Makes a new namespace in every cluster of a demo.
    ///
    /// # Errors
    /// If a cluster does not take it.
    pub async fn in_demo(demo: Demo, subject: &str) -> Result<Self> {
        let namespace = format!("e2e-{subject}-{:x}", now_ms() / 100 % 0x1_0000_0000);
        let scene = Self { demo, namespace };
        try_join_all(scene.demo.clusters().iter().map(make_ballast)).await?;
        try_join_all(
            scene
                .demo
                .clusters()
                .iter()
                .map(|c| scene.make_namespace(c)),
        )
        .await?;
        Ok(scene)
    }

    /// Makes the namespace in a cluster that lacks it.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn make_namespace(&self, cluster: &Cluster) -> Result<()> {
        let Self { namespace, .. } = self;
        let labels = format!("{{{LABEL}: \"true\"}}");
        cluster
            .apply(&format!(
                "{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}, labels: {labels}}}}}"
            ))
            .await?;
        // A pod made before its namespace has the default ServiceAccount is refused.
        let api = cluster.api::<v1::ServiceAccount>(namespace);
        cluster
            .wait_for(&api, "default", "a service account", POD_START, |_| Ok(()))
            .await
    }

    /// The clusters.
    #[must_use]
    pub fn demo(&self) -> &Demo {
        &self.demo
    }

    /// The cluster that exports.
    #[must_use]
    pub fn east(&self) -> &Cluster {
        self.demo.east()
    }

    /// The cluster that imports.
    #[must_use]
    pub fn west(&self) -> &Cluster {
        self.demo.west()
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name by which the clusterset knows a service of this namespace.
    #[must_use]
    pub fn name(&self, service: &str) -> String {
        workload::clusterset_name(&self.namespace, service)
    }

    /// The URL at which a [`workload::hello`] tells the pod's name.
    #[must_use]
    pub fn url(&self, service: &str) -> String {
        format!("http://{}/hostname", self.name(service))
    }

    /// `kubectl apply` of this YAML in the namespace.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn apply(&self, cluster: &Cluster, yaml: &str) -> Result<()> {
        cluster.apply_in(&self.namespace, yaml).await
    }

    /// `kubectl delete` in the namespace, without waiting for the end of it.
    ///
    /// # Errors
    /// If there is no such object.
    pub async fn delete(&self, cluster: &Cluster, kind: &str, name: &str) -> Result<()> {
        cluster
            .kubectl(&["-n", &self.namespace, "delete", kind, name, "--wait=false"])
            .await
            .map(drop)
    }

    /// `kubectl` with these words in the namespace.
    ///
    /// # Errors
    /// If it fails.
    pub async fn kubectl(&self, cluster: &Cluster, words: &[&str]) -> Result<()> {
        let in_namespace = [&["-n", &self.namespace], words].concat();
        cluster.kubectl(&in_namespace).await.map(drop)
    }

    /// A pod to type into.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn client(&self, cluster: &Cluster) -> Result<Pod> {
        self.apply(cluster, &workload::client(self.demo.toolbox()))
            .await?;
        let pod = cluster.pod(&self.namespace, "client");
        wait_until(
            format!("client pod in {}", cluster.name()),
            POD_START,
            async || pod.output("true", Duration::from_secs(10)).await,
        )
        .await?;
        Ok(pod)
    }

    /// Runs [`workload::hello`] in a cluster and exports it, without waiting for either.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn hello(&self, cluster: &Cluster, name: &str, replicas: usize) -> Result<()> {
        let server = workload::hello(name, replicas, self.demo.toolbox());
        self.apply(cluster, &format!("{server}---{}", workload::export(name)))
            .await
    }

    /// Waits until a client gets an answer from a service of [`Scene::hello`].
    ///
    /// # Errors
    /// If there is none after a minute and a half.
    pub async fn answers(&self, client: &Pod, service: &str) -> Result<String> {
        let url = self.url(service);
        wait_until(format!("an answer of {url}"), POD_START, async || {
            client.get(&url).await
        })
        .await
    }

    /// The names of the pods with this label `app` in a cluster, without those that are deleted.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub async fn pods_of(&self, cluster: &Cluster, app: &str) -> Result<BTreeSet<String>> {
        let pods = cluster.api::<v1::Pod>(&self.namespace);
        let selector = ListParams::default().labels(&format!("app={app}"));
        let pods = pods.list(&selector).await?.items.into_iter();
        let there = pods.filter(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(there.filter_map(|pod| pod.metadata.name).collect())
    }

    /// Begins to delete the namespaces. A test that fails before leaves them to be looked at.
    ///
    /// # Errors
    /// If an API server does not answer.
    pub async fn finish(self) -> Result<()> {
        for cluster in self.demo.clusters() {
            cluster
                .kubectl(&[
                    "delete",
                    "namespace",
                    &self.namespace,
                    "--ignore-not-found",
                    "--wait=false",
                ])
                .await?;
        }
        Ok(())
    }
}

/// Exports that no test touches, so that the few that a test withdraws are never "a large part at
/// once", which importing clusters would hold back.
async fn make_ballast(cluster: &Cluster) -> Result<()> {
    const NAME: &str = "e2e-ballast";
    let exports = cluster.api::<ServiceExport>(NAME);
    if exports
        .get_opt("ballast-39")
        .await
        .is_ok_and(|found| found.is_some())
    {
        return Ok(());
    }
    cluster
        .apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAME}}}}}"
        ))
        .await?;
    let each = (0..40).map(|number| {
        let name = format!("ballast-{number:02}");
        let service = workload::service(&name, &[("http", 80, 8080)]);
        format!("{service}---{}", workload::export(&name))
    });
    let yaml = each.collect::<Vec<_>>().join("---");
    // So much at once is too much for the etcd of a busy machine now and then.
    wait_until(format!("{NAME} in {}", cluster.name()), LIMIT, async || {
        cluster.apply_in(NAME, &yaml).await
    })
    .await
}

/// Milliseconds since the epoch; pods on this machine tell the same.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
