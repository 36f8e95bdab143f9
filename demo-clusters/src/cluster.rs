//! One cluster of the demo.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tombolo_crds::mcs::{ServiceExport, ServiceImport};
use tombolo_crds::{Peer, well_known};

use crate::node::Node;
use crate::pod::Pod;
use crate::tool::Tool;
use crate::wait::wait_until;

/// Namespace in which the demo installs Tombolo.
pub const SYSTEM: &str = "tombolo-system";

/// How long anything may take to arrive from the other cluster: generous, since the tests judge
/// whether it does; how fast it does is measured elsewhere.
pub const ARRIVAL: Duration = Duration::from_secs(60);

const LIMIT: Duration = Duration::from_secs(120);

/// One cluster of the demo.
#[derive(Clone)]
pub struct Cluster {
    name: String,
    client: Client,
    kubectl: Tool,
    helm: Tool,
    node: Node,
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    pub(crate) fn new(name: &str, client: Client, kubectl: Tool, helm: Tool, node: Node) -> Self {
        Self {
            name: name.to_owned(),
            client,
            kubectl,
            helm,
            node,
        }
    }

    /// Its cluster ID.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its control-plane node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// `helm` for this cluster.
    #[must_use]
    pub fn helm(&self) -> &Tool {
        &self.helm
    }

    /// Objects of a namespace.
    #[must_use]
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Objects of the whole cluster.
    #[must_use]
    pub fn all<K>(&self) -> Api<K>
    where
        K: Resource,
        K::DynamicType: Default,
    {
        Api::all(self.client.clone())
    }

    /// Runs kubectl.
    ///
    /// # Errors
    /// If it fails or takes over two minutes.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl.output(arguments, None, LIMIT).await
    }

    /// `kubectl apply` of this YAML.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        self.apply_in("default", yaml).await
    }

    /// `kubectl apply --server-side` of this YAML in a namespace: two tests may apply the same at once.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn apply_in(&self, namespace: &str, yaml: &str) -> Result<()> {
        self.kubectl
            .output(
                &[
                    "-n",
                    namespace,
                    "apply",
                    "--server-side",
                    "--force-conflicts",
                    "-f",
                    "-",
                ],
                Some(yaml),
                LIMIT,
            )
            .await
            .with_context(|| format!("apply in {}:\n{yaml}", self.name))?;
        Ok(())
    }

    /// A running pod of that name.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Pod {
        Pod::new(&self.name, self.kubectl.clone(), namespace, name)
    }

    /// Waits until every pod of a workload is ready.
    ///
    /// # Errors
    /// If that takes longer than two minutes.
    pub async fn rolled_out(&self, namespace: &str, workload: &str) -> Result<()> {
        let limit = format!("--timeout={}s", LIMIT.as_secs() - 5);
        self.kubectl(&["-n", namespace, "rollout", "status", workload, &limit])
            .await?;
        Ok(())
    }

    /// Pods of one of Tombolo's programs (`operator`, `gateway`, `dns`) that are not going away.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub async fn program_pods(&self, component: &str) -> Result<Vec<v1::Pod>> {
        let selector = format!("{}={component}", well_known::COMPONENT_LABEL);
        let mut pods = self
            .api::<v1::Pod>(SYSTEM)
            .list(&ListParams::default().labels(&selector))
            .await?
            .items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(pods)
    }

    /// Restarts a program as `kubectl rollout restart` does and waits for the new pods.
    ///
    /// # Errors
    /// If they do not get ready.
    pub async fn restart_program(&self, component: &str) -> Result<()> {
        let deployment = format!("deployment/tombolo-{component}");
        self.kubectl(&["-n", SYSTEM, "rollout", "restart", &deployment])
            .await?;
        self.rolled_out(SYSTEM, &deployment).await
    }

    /// Sets the number of a program's replicas and waits until it is so.
    ///
    /// # Errors
    /// If it does not get there.
    pub async fn scale_program(&self, component: &str, replicas: usize) -> Result<()> {
        let deployment = format!("deployment/tombolo-{component}");
        let count = format!("--replicas={replicas}");
        self.kubectl(&["-n", SYSTEM, "scale", &deployment, &count])
            .await?;
        self.rolled_out(SYSTEM, &deployment).await?;
        wait_until(
            format!("{replicas} pods of {component}"),
            LIMIT,
            async || {
                let pods = self.program_pods(component).await?.len();
                ensure!(pods == replicas, "{pods} pods");
                Ok(())
            },
        )
        .await
    }

    /// Waits until an object is there and `check` accepts it.
    ///
    /// # Errors
    /// If that is not so after `limit`.
    pub async fn wait_for<K, T>(
        &self,
        api: &Api<K>,
        name: &str,
        what: &str,
        limit: Duration,
        check: impl Fn(&K) -> Result<T>,
    ) -> Result<T>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        wait_until(
            format!("{name} in {}: {what}", self.name),
            limit,
            async || {
                let object = api.get_opt(name).await?.context("no such object")?;
                check(&object)
            },
        )
        .await
    }

    /// Waits until an object is gone.
    ///
    /// # Errors
    /// If it is still there after [`ARRIVAL`].
    pub async fn wait_gone<K>(&self, api: &Api<K>, name: &str) -> Result<()>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        wait_until(
            format!("{name} in {} to be gone", self.name),
            ARRIVAL,
            async || {
                ensure!(api.get_opt(name).await?.is_none(), "it is still there");
                Ok(())
            },
        )
        .await
    }

    /// Waits for a ServiceImport with a clusterset IP from exactly these clusters, and gives the IP.
    ///
    /// # Errors
    /// If it is not so after [`ARRIVAL`].
    pub async fn imported(&self, namespace: &str, name: &str, from: &[&str]) -> Result<String> {
        let api = self.api::<ServiceImport>(namespace);
        self.wait_for(&api, name, "an import with an IP", ARRIVAL, |import| {
            let status = import.status.as_ref().context("no status")?;
            let mut clusters: Vec<_> = status.clusters.iter().map(|c| c.cluster.as_str()).collect();
            clusters.sort_unstable();
            ensure!(clusters == from, "from {clusters:?} instead of {from:?}");
            import.spec.ips.first().cloned().context("no IP")
        })
        .await
    }

    /// Waits until a ServiceExport has this condition.
    ///
    /// # Errors
    /// If it has not after [`ARRIVAL`].
    pub async fn export_condition(
        &self,
        namespace: &str,
        name: &str,
        (type_, status, reason): (&str, &str, &str),
    ) -> Result<Condition> {
        let api = self.api::<ServiceExport>(namespace);
        let what = format!("{type_}={status} ({reason})");
        self.wait_for(&api, name, &what, ARRIVAL, |export| {
            let conditions = export.status.iter().flat_map(|status| &status.conditions);
            condition(conditions, type_, status, reason)
        })
        .await
    }

    /// Waits until a Peer has this condition.
    ///
    /// # Errors
    /// If it has not after [`ARRIVAL`].
    pub async fn peer_condition(
        &self,
        name: &str,
        (type_, status, reason): (&str, &str, &str),
    ) -> Result<Condition> {
        let what = format!("{type_}={status} ({reason})");
        self.wait_for(&self.all::<Peer>(), name, &what, ARRIVAL, |peer| {
            let conditions = peer.status.iter().flat_map(|status| &status.conditions);
            condition(conditions, type_, status, reason)
        })
        .await
    }

    /// Waits until every peer is connected and its catalog is here.
    ///
    /// # Errors
    /// If it is not so after two minutes.
    pub async fn peers_synced(&self) -> Result<()> {
        wait_until(format!("peers of {}", self.name), LIMIT, async || {
            let peers = self.all::<Peer>().list(&ListParams::default()).await?.items;
            ensure!(!peers.is_empty(), "there is none");
            for peer in &peers {
                for type_ in ["Connected", "CatalogSynced"] {
                    let conditions = peer.status.iter().flat_map(|status| &status.conditions);
                    let found = conditions.clone().find(|c| c.type_ == type_);
                    ensure!(
                        found.is_some_and(|c| c.status == "True"),
                        "{:?}: {:?}",
                        peer.metadata.name,
                        conditions.map(shown).collect::<Vec<_>>()
                    );
                }
            }
            Ok(())
        })
        .await
    }
}

fn condition<'a>(
    conditions: impl Iterator<Item = &'a Condition>,
    type_: &str,
    status: &str,
    reason: &str,
) -> Result<Condition> {
    let all: Vec<_> = conditions.collect();
    let wanted = all
        .iter()
        .find(|c| c.type_ == type_ && c.status == status && c.reason == reason);
    match wanted {
        Some(condition) => Ok((*condition).clone()),
        None => bail!(
            "conditions: {:?}",
            all.into_iter().map(shown).collect::<Vec<_>>()
        ),
    }
}

fn shown(condition: &Condition) -> String {
    let Condition {
        type_,
        status,
        reason,
        message,
        ..
    } = condition;
    format!("{type_}={status} ({reason}) {message}")
}
