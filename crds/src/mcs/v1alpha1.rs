//! The same API under its older version, for clusters that serve no newer one.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the ServiceImport is to have beside what comes from the Service.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(crates(kube_core = "::kube_core"))]
#[kube(
    group = "multicluster.x-k8s.io",
    version = "v1alpha1",
    kind = "ServiceExport",
    namespaced,
    status = "super::ServiceExportStatus",
    derive = "PartialEq",
    doc = "Asks that the Service of the same namespace and name be usable from the whole clusterset.",
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(transparent)]
pub struct ServiceExportSpec(pub super::ServiceExportSpec);

/// The merged properties of all exports of one namespace and name.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(crates(kube_core = "::kube_core"))]
#[kube(
    group = "multicluster.x-k8s.io",
    version = "v1alpha1",
    kind = "ServiceImport",
    namespaced,
    status = "super::ServiceImportStatus",
    derive = "PartialEq",
    doc = "A service of the clusterset as this cluster sees it.",
    printcolumn = r#"{"name":"Type","type":"string","description":"How clients reach it","jsonPath":".spec.type"}"#,
    printcolumn = r#"{"name":"IP","type":"string","description":"The clusterset IPs","jsonPath":".spec.ips"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(transparent)]
pub struct ServiceImportSpec(pub super::ServiceImportSpec);

impl From<ServiceExport> for super::ServiceExport {
    fn from(old: ServiceExport) -> Self {
        Self {
            metadata: old.metadata,
            spec: old.spec.0,
            status: old.status,
        }
    }
}

impl From<super::ServiceExport> for ServiceExport {
    fn from(new: super::ServiceExport) -> Self {
        Self {
            metadata: new.metadata,
            spec: ServiceExportSpec(new.spec),
            status: new.status,
        }
    }
}

impl From<ServiceImport> for super::ServiceImport {
    fn from(old: ServiceImport) -> Self {
        Self {
            metadata: old.metadata,
            spec: old.spec.0,
            status: old.status,
        }
    }
}

impl From<super::ServiceImport> for ServiceImport {
    fn from(new: super::ServiceImport) -> Self {
        Self {
            metadata: new.metadata,
            spec: ServiceImportSpec(new.spec),
            status: new.status,
        }
    }
}
