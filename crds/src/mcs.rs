//! The Multi-Cluster Services API (KEP-1645), group `multicluster.x-k8s.io`.
//!
//! The types here are of v1beta1, which is stored. Those in [`v1alpha1`] have the same schema and
//! are for clusters where another implementation's CRD serves nothing newer.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::SessionAffinityConfig;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::conditions;

mod absent_spec;
pub mod v1alpha1;

use absent_spec::{GivenServiceExportSpec, GivenServiceImportSpec};

/// The API group.
pub const GROUP: &str = "multicluster.x-k8s.io";

/// Versions of the API that Tombolo can speak, best first.
pub const VERSIONS: [&str; 2] = ["v1beta1", "v1alpha1"];

/// What the ServiceImport is to have beside what comes from the Service.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(crates(kube_core = "::kube_core"))]
#[kube(
    group = "multicluster.x-k8s.io",
    version = "v1beta1",
    kind = "ServiceExport",
    namespaced,
    status = "ServiceExportStatus",
    derive = "PartialEq",
    doc = "Asks that the Service of the same namespace and name be usable from the whole clusterset.",
    shortname = "svcex",
    shortname = "svcexport",
    label("multicluster.x-k8s.io/release-version", "v0.5.2"),
    label("multicluster.x-k8s.io/crd-schema-revision", "0"),
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", from = "Option<GivenServiceExportSpec>")]
#[schemars(!from)]
pub struct ServiceExportSpec {
    /// Labels that the ServiceImport is to have; nothing is taken from the Service's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exported_labels: BTreeMap<String, String>,
    /// Annotations that the ServiceImport is to have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exported_annotations: BTreeMap<String, String>,
}

/// What became of the export.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceExportStatus {
    /// `Valid`, `Ready`, `Conflict`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// The merged properties of all exports of one namespace and name.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(crates(kube_core = "::kube_core"))]
#[kube(
    group = "multicluster.x-k8s.io",
    version = "v1beta1",
    kind = "ServiceImport",
    namespaced,
    status = "ServiceImportStatus",
    derive = "PartialEq",
    doc = "A service of the clusterset as this cluster sees it.",
    shortname = "svcim",
    shortname = "svcimport",
    label("multicluster.x-k8s.io/release-version", "v0.5.2"),
    label("multicluster.x-k8s.io/crd-schema-revision", "0"),
    printcolumn = r#"{"name":"Type","type":"string","description":"How clients reach it","jsonPath":".spec.type"}"#,
    printcolumn = r#"{"name":"IP","type":"string","description":"The clusterset IPs","jsonPath":".spec.ips"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", from = "Option<GivenServiceImportSpec>")]
#[schemars(!from)]
pub struct ServiceImportSpec {
    /// Ports of the service.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub ports: Vec<ServicePort>,
    /// The clusterset IPs, at most one a family.
    #[schemars(length(max = 2))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// Families of `ips`, in the same order.
    #[schemars(length(max = 2))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_families: Vec<String>,
    /// ClusterSetIP or Headless.
    #[serde(rename = "type")]
    pub type_: ServiceImportType,
    /// `ClientIP` or `None`; ignored when Headless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<String>,
    /// Time-out of the session affinity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity_config: Option<SessionAffinityConfig>,
    /// `Cluster` or `Local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal_traffic_policy: Option<String>,
    /// As in the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_distribution: Option<String>,
}

/// How clients reach an imported service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ServiceImportType {
    /// By one virtual IP.
    #[default]
    ClusterSetIP,
    /// By the endpoints' own addresses and names.
    Headless,
}

/// A port of a ServiceImport.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// A DNS label, unique within the service; may be absent where there is only one port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `TCP`, `UDP` or `SCTP`.
    #[serde(default = "tcp")]
    pub protocol: String,
    /// Application protocol, as in the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
    /// The service's port.
    pub port: i32,
}

fn tcp() -> String {
    "TCP".to_owned()
}

/// What is known of an import.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceImportStatus {
    /// The clusters whose exports merged into it.
    #[schemars(
        extend("x-kubernetes-list-type" = "map"),
        extend("x-kubernetes-list-map-keys" = ["cluster"])
    )]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<ClusterStatus>,
    /// `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// `Present` or `Absent`: whether multi-cluster EndpointSlices are written.
    #[schemars(extend("enum" = ["Present", "Absent"]))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_slice_objects: Option<String>,
}

/// A source cluster of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterStatus {
    /// Its ID.
    pub cluster: String,
}
