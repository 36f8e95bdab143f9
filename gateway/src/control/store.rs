//! Requests to the API server.

use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::Status;
use kube::{Api, Client};
use serde_json::json;
use tokio::time;
use tombolo_catalog::ServiceName;
use tombolo_crds::well_known::CLUSTER_LABEL;
use tombolo_crds::{ClusterExport, ClusterExportSpec, Peer, PeerStatus};

/// Under which name gateways write: all replicas the same, so that one may take over from another.
pub(super) const FIELD_MANAGER: &str = "tombolo-gateway";

/// After so long without an answer a request is made anew.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer within {TIMEOUT:?}")]
    Timeout,
    /// What it says, without the rest of the Status object.
    #[error("{} ({})", .0.message, .0.code)]
    Refused(Box<Status>),
    #[error(transparent)]
    Unreachable(kube::Error),
}

/// The copies of peers' ClusterExports, and the status of Peers.
pub(super) struct Store {
    exports: Api<ClusterExport>,
    peers: Api<Peer>,
}

// === impl Failure ===

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::Unreachable(error);
        };
        Self::Refused(status)
    }
}

impl Failure {
    /// Whether it concerns what was sent, so that other requests may succeed.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(status) if (400..500).contains(&status.code))
    }
}

// === impl Store ===

impl Store {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self {
            exports: Api::namespaced(client.clone(), namespace),
            peers: Api::all(client),
        }
    }

    /// Stores a copy.
    pub(super) async fn apply(&self, export: &ClusterExportSpec) -> Result<(), Failure> {
        let name = export.object_name();
        let mut object = ClusterExport::new(&name, export.clone());
        let label = (CLUSTER_LABEL.to_owned(), export.cluster.clone());
        object.metadata.labels = Some([label].into());
        let params = PatchParams::apply(FIELD_MANAGER).force();
        request(self.exports.patch(&name, &params, &Patch::Apply(&object))).await?;
        Ok(())
    }

    /// Deletes the copy of `cluster`'s export of a service, if there is one.
    pub(super) async fn delete(&self, cluster: &str, service: &ServiceName) -> Result<(), Failure> {
        let name = format!("{}.{}.{cluster}", service.name, service.namespace);
        match request(self.exports.delete(&name, &DeleteParams::default())).await {
            Err(Failure::Refused(status)) if status.is_not_found() => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    /// Writes a Peer's status, and returns the Peer as it is then.
    pub(super) async fn set_status(
        &self,
        name: &str,
        status: &PeerStatus,
    ) -> Result<Peer, Failure> {
        // The null takes away what an older status had.
        let patch = json!({
            "status": {
                "conditions": status.conditions,
                "gateways": status.gateways,
                "exports": status.exports,
                "incarnation": status.incarnation,
            },
        });
        let params = PatchParams::default();
        request(
            self.peers
                .patch_status(name, &params, &Patch::Merge(&patch)),
        )
        .await
    }

    /// The Peers as they are, from the API server itself.
    pub(super) async fn peers(&self) -> Result<Vec<Peer>, Failure> {
        Ok(request(self.peers.list(&Default::default())).await?.items)
    }
}

/// A request, given up when it takes too long.
pub(super) async fn request<T>(
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Failure> {
    let answer = time::timeout(TIMEOUT, request)
        .await
        .map_err(|_| Failure::Timeout)?;
    answer.map_err(Failure::from)
}
