//! Carries actions out.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions};
use kube::core::{NamespaceResourceScope, Status};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tombolo_catalog::ServiceName;
use tombolo_crds::ClusterExport;
use tombolo_crds::mcs::{ServiceExport, ServiceImport, v1alpha1};

use crate::leadership::Leadership;
use crate::mcs::McsVersion;
use crate::metrics::{Metrics, Verb};
use crate::plan::action::{Action, DeletedKind, Deletion, Evidence, Withdrawal};
use crate::plan::ownership::FIELD_MANAGER;

mod error;

pub use error::WriteError;

/// No answer for so long is none. A write that was carried out all the same is seen by the watch.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Writes for the leader, and for no one else.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    /// Where ClusterExports are.
    namespace: String,
    mcs: McsVersion,
    leadership: Leadership,
    metrics: Metrics,
}

/// The answer to a write.
#[derive(Clone, Debug)]
pub enum Written {
    /// As it is now.
    ClusterExport(Box<ClusterExport>),
    /// As it is now.
    ServiceExport(Box<ServiceExport>),
    /// As it is now.
    ServiceImport(Box<ServiceImport>),
    /// As it is now.
    Service(Box<Service>),
    /// As it is now.
    EndpointSlice(Box<EndpointSlice>),
    /// The ClusterExport is gone.
    Withdrawn(ServiceName),
    /// The API server did not confirm that the export is gone.
    Unconfirmed,
    /// It is gone, or soon will be.
    Deleted(DeletedKind, ServiceName),
}

// === impl Writer ===

impl Writer {
    /// Writes with `client` while `leadership` is held.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        mcs: McsVersion,
        leadership: Leadership,
        metrics: Metrics,
    ) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            mcs,
            leadership,
            metrics,
        }
    }

    /// Carries one action out.
    ///
    /// # Errors
    /// If it may not, or the API server does not.
    pub async fn write(&self, action: &Action) -> Result<Written, WriteError> {
        let written = tokio::time::timeout(TIMEOUT, self.carry_out(action)).await;
        let written = written.map_err(|_| WriteError::Timeout)?;
        let verb = if action.is_removal() {
            Verb::Delete
        } else {
            Verb::Apply
        };
        if !matches!(
            written,
            Err(WriteError::NotLeader) | Ok(Written::Unconfirmed)
        ) {
            self.metrics.wrote(
                action.kind(),
                verb,
                written.as_ref().err().map(WriteError::reason),
            );
        }
        written
    }

    async fn carry_out(&self, action: &Action) -> Result<Written, WriteError> {
        if !self.leadership.is_held() {
            return Err(WriteError::NotLeader);
        }
        Ok(match action {
            Action::ApplyClusterExport(export) => {
                Written::ClusterExport(Box::new(self.apply(&self.namespace, &**export).await?))
            }
            Action::ApplyDerived(service) => {
                Written::Service(Box::new(self.apply_derived(service).await?))
            }
            Action::ApplyEndpoint(service) => Written::Service(Box::new(
                self.apply(namespace(&**service), &**service).await?,
            )),
            Action::ApplySlice(slice) => {
                Written::EndpointSlice(Box::new(self.apply(namespace(&**slice), &**slice).await?))
            }
            Action::ApplyImport(import) => {
                Written::ServiceImport(Box::new(self.apply_import(import, Part::Spec).await?))
            }
            Action::ApplyImportStatus(import) => {
                Written::ServiceImport(Box::new(self.apply_import(import, Part::Status).await?))
            }
            Action::ApplyExportStatus(export) => {
                Written::ServiceExport(Box::new(self.apply_export_status(export).await?))
            }
            Action::Withdraw(withdrawal) => self.withdraw(withdrawal).await?,
            Action::Delete(deletion) => self.delete(deletion).await?,
        })
    }

    /// What is applied is merged with ports that somebody else put there: who restored a backup,
    /// for one, owns them all.
    async fn apply_derived(&self, service: &Service) -> Result<Service, WriteError> {
        let namespace = namespace(service);
        let applied = self.apply(namespace, service).await?;
        if port_count(&applied) == port_count(service) {
            return Ok(applied);
        }
        let api: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let ports = service.spec.as_ref().map(|spec| &spec.ports);
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let patch = Patch::Merge(json!({ "spec": { "ports": ports } }));
        Ok(api.patch(name, &params, &patch).await?)
    }

    async fn apply_import(
        &self,
        import: &ServiceImport,
        part: Part,
    ) -> Result<ServiceImport, WriteError> {
        let namespace = namespace(import);
        match self.mcs {
            McsVersion::V1Beta1 => self.apply_part(namespace, import, part).await,
            McsVersion::V1Alpha1 => {
                let import = v1alpha1::ServiceImport::from(import.clone());
                self.apply_part(namespace, &import, part)
                    .await
                    .map(ServiceImport::from)
            }
        }
    }

    async fn apply_export_status(
        &self,
        export: &ServiceExport,
    ) -> Result<ServiceExport, WriteError> {
        let namespace = namespace(export);
        match self.mcs {
            McsVersion::V1Beta1 => self.apply_part(namespace, export, Part::Status).await,
            McsVersion::V1Alpha1 => {
                let export = v1alpha1::ServiceExport::from(export.clone());
                self.apply_part(namespace, &export, Part::Status)
                    .await
                    .map(ServiceExport::from)
            }
        }
    }

    async fn apply<K: Applied>(&self, namespace: &str, object: &K) -> Result<K, WriteError> {
        self.apply_part(namespace, object, Part::Spec).await
    }

    async fn apply_part<K: Applied>(
        &self,
        namespace: &str,
        object: &K,
        part: Part,
    ) -> Result<K, WriteError> {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let name = object.meta().name.as_deref().unwrap_or_default();
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let mut body = serde_json::to_value(object)
            .map_err(|error| WriteError::Unavailable(Box::new(kube::Error::SerdeError(error))))?;
        if let Some(body) = body.as_object_mut() {
            body.remove(match part {
                Part::Spec => "status",
                Part::Status => "spec",
            });
        }
        let patch = Patch::Apply(body);
        let applied = match part {
            Part::Spec => api.patch(name, &params, &patch).await,
            Part::Status => api.patch_status(name, &params, &patch).await,
        };
        Ok(applied?)
    }

    async fn withdraw(&self, withdrawal: &Withdrawal) -> Result<Written, WriteError> {
        if !self.is_confirmed(withdrawal).await? {
            return Ok(Written::Unconfirmed);
        }
        if !self.leadership.is_held() {
            return Err(WriteError::NotLeader);
        }
        let api: Api<ClusterExport> = Api::namespaced(self.client.clone(), &self.namespace);
        gone(
            api.delete(&withdrawal.object, &DeleteParams::default())
                .await
                .map(drop),
        )?;
        Ok(Written::Withdrawn(ServiceName::new(
            &self.namespace,
            &withdrawal.object,
        )))
    }

    /// Whether the API server says so too, now and of this very object.
    async fn is_confirmed(&self, withdrawal: &Withdrawal) -> Result<bool, WriteError> {
        let name = &withdrawal.service;
        let found = match (withdrawal.evidence, self.mcs) {
            (Evidence::Invalid, _) => return Ok(true),
            (Evidence::ExportGone, McsVersion::V1Beta1) => self.find::<ServiceExport>(name).await,
            (Evidence::ExportGone, McsVersion::V1Alpha1) => {
                self.find::<v1alpha1::ServiceExport>(name).await
            }
            (Evidence::ServiceGone, _) => self.find::<Service>(name).await,
        };
        match found {
            // It may take long to be gone, but it does not come back.
            Ok(metadata) => Ok(metadata.deletion_timestamp.is_some()),
            Err(kube::Error::Api(status)) => Ok(is_gone(&status, &name.name)),
            Err(error) => Err(error.into()),
        }
    }

    async fn find<K: Applied>(&self, name: &ServiceName) -> Result<ObjectMeta, kube::Error> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &name.namespace);
        Ok(api.get_metadata(&name.name).await?.metadata)
    }

    async fn delete(&self, deletion: &Deletion) -> Result<Written, WriteError> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: deletion.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match (deletion.kind, self.mcs) {
            (DeletedKind::EndpointSlice, _) => {
                self.delete_one::<EndpointSlice>(&deletion.name, &params)
                    .await?;
            }
            (DeletedKind::Service, _) => {
                self.delete_one::<Service>(&deletion.name, &params).await?;
            }
            (DeletedKind::ServiceImport, McsVersion::V1Beta1) => {
                self.delete_one::<ServiceImport>(&deletion.name, &params)
                    .await?;
            }
            (DeletedKind::ServiceImport, McsVersion::V1Alpha1) => {
                self.delete_one::<v1alpha1::ServiceImport>(&deletion.name, &params)
                    .await?;
            }
        }
        Ok(Written::Deleted(deletion.kind, deletion.name.clone()))
    }

    async fn delete_one<K: Applied>(
        &self,
        name: &ServiceName,
        params: &DeleteParams,
    ) -> Result<(), WriteError> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &name.namespace);
        gone(api.delete(&name.name, params).await.map(drop))
    }
}

/// What is common to all that is applied.
trait Applied:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
{
}

impl<K> Applied for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
{
}

#[derive(Clone, Copy)]
enum Part {
    Spec,
    Status,
}

fn namespace(object: &impl Resource) -> &str {
    object.meta().namespace.as_deref().unwrap_or_default()
}

fn port_count(service: &Service) -> usize {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    ports.map_or(0, Vec::len)
}

/// Gone already, or another object of that name by now: neither is ours to delete any more.
fn gone(deleted: Result<(), kube::Error>) -> Result<(), WriteError> {
    match deleted {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        other => Ok(other?),
    }
}

/// An API server that does not know the kind says 404 too, but names no object.
fn is_gone(status: &Status, name: &str) -> bool {
    let named = status
        .details
        .as_ref()
        .is_some_and(|details| details.name == name);
    status.code == 404 && status.reason == "NotFound" && named
}

#[cfg(test)]
mod tests {
    use kube::core::response::StatusDetails;

    use super::*;

    #[test]
    fn only_a_404_that_names_the_object_says_that_it_is_gone() {
        let not_found = |name: &str| Status {
            code: 404,
            reason: "NotFound".to_owned(),
            details: Some(StatusDetails {
                name: name.to_owned(),
                group: String::new(),
                kind: String::new(),
                uid: String::new(),
                causes: Vec::new(),
                retry_after_seconds: 0,
            }),
            ..Status::default()
        };
        let forbidden = Status {
            code: 403,
            reason: "Forbidden".to_owned(),
            ..not_found("web")
        };

        assert!(is_gone(&not_found("web"), "web"));
        assert!(!is_gone(&not_found(""), "web"), "the kind is unknown");
        assert!(!is_gone(&forbidden, "web"));
    }
}
