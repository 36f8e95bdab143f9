//! The watches that feed the index.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use parking_lot::Mutex;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tombolo_crds::mcs::{self, GROUP, ServiceImport, v1alpha1};
use tombolo_crds::well_known::SERVICE_NAME_LABEL;
use tombolo_runtime::watch::{Handle, Watches};

use crate::index::ZoneIndex;
use crate::state::{ImportState, SliceState};

/// The resource that must be there; a version of the group may be served without it.
const RESOURCE: &str = "serviceimports";
/// How often it is asked which versions are served, before one is and after.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const ASK_AGAIN_LATER: Duration = Duration::from_secs(60);

/// A version of the MCS-API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1beta1,
    V1alpha1,
}

/// The served version of the API changed before anything was heard of the old one.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{GROUP} is served as {now:?} only, and nothing was heard of {before:?}")]
pub(crate) struct VersionChanged {
    before: Version,
    now: Version,
}

/// Begins the watch of multi-cluster EndpointSlices, which only headless services need.
pub(crate) fn slices(watches: &Watches, index: Arc<Mutex<ZoneIndex>>) -> Handle {
    watches
        .all::<EndpointSlice>("endpointslices")
        .labels(SERVICE_NAME_LABEL)
        .feed_persisted(SliceState::new, index)
}

/// Watches ServiceImports in the best version of the API that is served.
///
/// # Errors
/// If the watch was begun with the wrong version while the API server was away: a new process
/// begins with the right one.
pub(crate) async fn imports(
    watches: Watches,
    index: Arc<Mutex<ZoneIndex>>,
) -> Result<Infallible, VersionChanged> {
    let mut version = first_served(&watches.client, watches.patience).await;
    loop {
        let stop = watches.tasks.kill().child_token();
        let handle = version.watch(&watches, stop.clone(), Arc::clone(&index));
        tracing::debug!(?version, "watching ServiceImports");
        let now = other_served(&watches.client, version).await;
        tracing::info!(
            ?version,
            ?now,
            "the served version of the MCS-API has changed"
        );
        if handle.health().origin().is_none() {
            return Err(VersionChanged {
                before: version,
                now,
            });
        }
        stop.cancel();
        version = now;
    }
}

// === impl Version ===

impl Version {
    fn name(self) -> &'static str {
        let [newest, older] = mcs::VERSIONS;
        match self {
            Self::V1beta1 => newest,
            Self::V1alpha1 => older,
        }
    }

    fn watch(
        self,
        watches: &Watches,
        stop: CancellationToken,
        index: Arc<Mutex<ZoneIndex>>,
    ) -> Handle {
        match self {
            Self::V1beta1 => watches
                .all::<ServiceImport>(RESOURCE)
                .until(stop)
                .feed_persisted(|import| Some(ImportState::from(import)), index),
            Self::V1alpha1 => watches
                .all::<v1alpha1::ServiceImport>(RESOURCE)
                .until(stop)
                .feed_persisted(
                    |old| Some(ImportState::from(ServiceImport::from(old))),
                    index,
                ),
        }
    }

    /// Whether this version is served.
    ///
    /// # Errors
    /// If the API server does not say.
    async fn is_served(self, client: &Client) -> Result<bool, kube::Error> {
        let version = format!("{GROUP}/{}", self.name());
        match client.list_api_group_resources(&version).await {
            Ok(list) => Ok(list
                .resources
                .iter()
                .any(|resource| resource.name == RESOURCE)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Waits until a version is served, which takes as long as the install of the CRDs. With an API
/// server that does not say, the newest: any will do to serve the state file.
async fn first_served(client: &Client, patience: Duration) -> Version {
    loop {
        match time::timeout(patience, served(client)).await {
            Ok(Ok(Some(version))) => return version,
            Ok(Ok(None)) => tracing::debug!("no version of the MCS-API is served yet"),
            Ok(Err(_)) | Err(_) => return Version::V1beta1,
        }
        time::sleep(ASK_AGAIN).await;
    }
}

/// Waits until `version` is not served any more, and another is.
async fn other_served(client: &Client, version: Version) -> Version {
    let mut pause = ASK_AGAIN;
    loop {
        time::sleep(pause).await;
        match version.is_served(client).await {
            Ok(true) => pause = ASK_AGAIN_LATER,
            Ok(false) => match served(client).await {
                Ok(Some(other)) => return other,
                Ok(None) => pause = ASK_AGAIN,
                Err(error) => tracing::debug!(%error, "served versions of the MCS-API unknown"),
            },
            Err(error) => tracing::debug!(%error, "served versions of the MCS-API unknown"),
        }
    }
}

async fn served(client: &Client) -> Result<Option<Version>, kube::Error> {
    for version in [Version::V1beta1, Version::V1alpha1] {
        if version.is_served(client).await? {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
