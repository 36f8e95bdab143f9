//! `ClusterExport`: an export as its own cluster tells it to the others.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::SessionAffinityConfig;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mcs::{ServiceImportType, ServicePort};

/// One exported Service of one cluster. Only that cluster's operator writes it; every other
/// cluster holds an unchanged copy, so merging the same ClusterExports gives the same import
/// everywhere. It lives in Tombolo's namespace, since the Service's namespace may be absent.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(crates(kube_core = "::kube_core"))]
#[kube(
    group = "tombolo.io",
    version = "v1alpha1",
    kind = "ClusterExport",
    namespaced,
    derive = "PartialEq",
    doc = "One exported Service of one cluster, as that cluster tells it to the others.",
    label("tombolo.io/release-version", "v0.1.0"),
    label("tombolo.io/crd-schema-revision", "0"),
    printcolumn = r#"{"name":"Cluster","type":"string","jsonPath":".spec.cluster"}"#,
    printcolumn = r#"{"name":"Service-Namespace","type":"string","jsonPath":".spec.namespace"}"#,
    printcolumn = r#"{"name":"Service","type":"string","jsonPath":".spec.name"}"#,
    printcolumn = r#"{"name":"Type","type":"string","jsonPath":".spec.type"}"#,
    printcolumn = r#"{"name":"Ready","type":"boolean","jsonPath":".spec.ready"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterExportSpec {
    /// ID of the exporting cluster.
    pub cluster: String,
    /// Namespace of the exported Service, the same in all clusters.
    pub namespace: String,
    /// Name of the exported Service.
    pub name: String,
    /// `creationTimestamp` of the ServiceExport: the oldest wins a conflict (KEP-1645, Conflict
    /// Resolution).
    pub created_at: Time,
    /// Whether clients reach it by one virtual IP or by the endpoints' own names.
    #[serde(rename = "type")]
    pub type_: ServiceImportType,
    /// Ports of the Service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ServicePort>,
    /// `ClientIP` or `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<String>,
    /// Time-out of the session affinity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity_config: Option<SessionAffinityConfig>,
    /// `Cluster` or `Local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal_traffic_policy: Option<String>,
    /// As in the Service, for instance `PreferSameZone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_distribution: Option<String>,
    /// IP families of the Service in its order: `IPv4`, `IPv6`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_families: Vec<String>,
    /// `spec.exportedLabels` of the ServiceExport.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exported_labels: BTreeMap<String, String>,
    /// `spec.exportedAnnotations` of the ServiceExport.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exported_annotations: BTreeMap<String, String>,
    /// Whether any endpoint takes traffic.
    #[serde(default)]
    pub ready: bool,
    /// The single endpoints of a headless Service, sorted by ID. None of any other: its pods' churn
    /// stays at home.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<ExportedEndpoint>,
    /// The version of the PROXY protocol by which gateways tell the Service's pods who connects
    /// from other clusters: `v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<String>,
}

/// An endpoint of a headless Service. Where it is says nothing to another cluster, whose addresses
/// may be the same: connections to it name it by its ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportedEndpoint {
    /// Its hostname, a DNS label, else its address with dashes: the first label of its DNS name.
    pub id: String,
    /// Whether it takes connections.
    #[serde(default)]
    pub ready: bool,
}

impl ClusterExportSpec {
    /// Name of the ClusterExport object: unique over clusters, namespaces and names, since none of
    /// the last two holds a dot.
    #[must_use]
    pub fn object_name(&self) -> String {
        format!("{}.{}.{}", self.name, self.namespace, self.cluster)
    }
}
