//! Removes what Tombolo made in a cluster, before it is uninstalled.
//!
//! CRDs stay, as other implementations may use them, and so does what users wrote: ServiceExports
//! (without our conditions), Peers and ClusterProperties.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tombolo_crds::ClusterExport;
use tombolo_crds::mcs::{self, ServiceExport, ServiceImport};
use tombolo_crds::well_known::{
    CA_CONFIG_MAP, CA_SECRET, COMPONENT_LABEL, GATEWAY_IDENTITY_SECRET, MANAGED_BY_LABEL, MANAGER,
    MANAGER_LABEL, SLICE_MANAGER,
};

use crate::plan::ownership::FIELD_MANAGER;

/// Longer than a gateway drains.
const STOP_PATIENCE: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const PAGE: u32 = 500;

/// What was being done when the API server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct CleanupError {
    doing: &'static str,
    source: kube::Error,
}

// === impl CleanupError ===

impl CleanupError {
    /// A stable word for it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        "CleanupFailed"
    }

    fn when(doing: &'static str) -> impl Fn(kube::Error) -> Self {
        move |source| Self { doing, source }
    }
}

/// Stops operator and gateways, which would write everything back, and removes what they made.
///
/// # Errors
/// If the API server does not do what it is asked. It can be run again.
pub async fn run(client: Client, namespace: &str) -> Result<(), CleanupError> {
    stop(&client, namespace).await?;

    let slices = format!("{MANAGED_BY_LABEL}={SLICE_MANAGER}");
    delete_all::<EndpointSlice>(&client, &slices, "deleting EndpointSlices").await?;
    let ours = format!("{MANAGER_LABEL}={MANAGER}");
    delete_all::<Service>(&client, &ours, "deleting derived Services").await?;
    match mcs_version(&client).await? {
        Some("v1beta1") => {
            delete_all::<ServiceImport>(&client, &ours, "deleting ServiceImports").await?;
            forget_exports::<ServiceExport>(&client).await?;
        }
        Some(_) => {
            use mcs::v1alpha1 as old;
            delete_all::<old::ServiceImport>(&client, &ours, "deleting ServiceImports").await?;
            forget_exports::<old::ServiceExport>(&client).await?;
        }
        None => {}
    }
    delete_all_in::<ClusterExport>(
        &Api::namespaced(client.clone(), namespace),
        |_| true,
        "deleting ClusterExports",
    )
    .await?;
    delete_all_in::<Lease>(
        &Api::namespaced(client.clone(), namespace),
        |lease| {
            let name = lease.name_any();
            name == "tombolo-operator" || name.starts_with("tombolo-peer-")
        },
        "deleting Leases",
    )
    .await?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    for name in [GATEWAY_IDENTITY_SECRET, CA_SECRET] {
        delete(&secrets, name)
            .await
            .map_err(CleanupError::when("deleting Secrets"))?;
    }
    let maps: Api<ConfigMap> = Api::namespaced(client, namespace);
    delete(&maps, CA_CONFIG_MAP)
        .await
        .map_err(CleanupError::when("deleting a ConfigMap"))?;
    tracing::info!("removed what Tombolo made; CRDs, ServiceExports and Peers are left");
    Ok(())
}

async fn stop(client: &Client, namespace: &str) -> Result<(), CleanupError> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
    for name in ["tombolo-operator", "tombolo-gateway"] {
        let stopped = deployments
            .patch(name, &PatchParams::default(), &none)
            .await;
        absent_is_fine(stopped.map(drop))
            .map_err(CleanupError::when("stopping operator and gateways"))?;
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&format!("{COMPONENT_LABEL} in (operator,gateway)"));
    let began = Instant::now();
    loop {
        let left = pods
            .list(&params)
            .await
            .map_err(CleanupError::when("listing pods"))?;
        if left.items.is_empty() {
            return Ok(());
        }
        if began.elapsed() >= STOP_PATIENCE {
            tracing::info!(
                pods = left.items.len(),
                "still running after {STOP_PATIENCE:?}"
            );
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The version in which the cluster serves the MCS-API, if any.
async fn mcs_version(client: &Client) -> Result<Option<&'static str>, CleanupError> {
    for version in mcs::VERSIONS {
        let listed = client
            .list_api_group_resources(&format!("{}/{version}", mcs::GROUP))
            .await;
        match listed {
            Ok(_) => return Ok(Some(version)),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(CleanupError::when("looking for the MCS-API")(error)),
        }
    }
    Ok(None)
}

/// Takes our conditions back: what is applied last with nothing in it owns nothing.
async fn forget_exports<K: Cleaned>(client: &Client) -> Result<(), CleanupError> {
    let wrong = CleanupError::when("taking conditions back from ServiceExports");
    let exports: Api<K> = Api::all(client.clone());
    let params = ListParams::default().limit(PAGE);
    let mut page = exports.list(&params).await.map_err(&wrong)?;
    loop {
        for export in &page.items {
            let namespace = export.namespace().unwrap_or_default();
            let api: Api<K> = Api::namespaced(client.clone(), &namespace);
            let nothing = Patch::Apply(json!({
                "apiVersion": K::api_version(&()),
                "kind": K::kind(&()),
                "metadata": {"name": export.name_any()},
            }));
            let params = PatchParams::apply(FIELD_MANAGER).force();
            let patched = api
                .patch_status(&export.name_any(), &params, &nothing)
                .await;
            absent_is_fine(patched.map(drop)).map_err(&wrong)?;
        }
        let Some(more) = page.metadata.continue_.filter(|more| !more.is_empty()) else {
            return Ok(());
        };
        page = exports
            .list(&params.clone().continue_token(&more))
            .await
            .map_err(&wrong)?;
    }
}

async fn delete_all<K: Cleaned>(
    client: &Client,
    labels: &str,
    doing: &'static str,
) -> Result<(), CleanupError> {
    let wrong = CleanupError::when(doing);
    let params = ListParams::default().labels(labels);
    let all = Api::<K>::all(client.clone())
        .list(&params)
        .await
        .map_err(&wrong)?;
    for object in &all.items {
        let namespace = object.namespace().unwrap_or_default();
        let api: Api<K> = Api::namespaced(client.clone(), &namespace);
        delete(&api, &object.name_any()).await.map_err(&wrong)?;
    }
    tracing::info!(kind = %K::kind(&()), count = all.items.len(), "deleted");
    Ok(())
}

async fn delete_all_in<K: Cleaned>(
    api: &Api<K>,
    is_meant: impl Fn(&K) -> bool,
    doing: &'static str,
) -> Result<(), CleanupError> {
    let wrong = CleanupError::when(doing);
    let all = match api.list(&ListParams::default()).await {
        Ok(all) => all.items,
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => return Err(wrong(error)),
    };
    for object in all.iter().filter(|object| is_meant(object)) {
        delete(api, &object.name_any()).await.map_err(&wrong)?;
    }
    Ok(())
}

async fn delete<K: Cleaned>(api: &Api<K>, name: &str) -> Result<(), kube::Error> {
    absent_is_fine(api.delete(name, &DeleteParams::default()).await.map(drop))
}

fn absent_is_fine(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}

trait Cleaned:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned
{
}

impl<K> Cleaned for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
{
}
