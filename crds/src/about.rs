//! The About API (KEP-2149), group `about.k8s.io`.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A fact about this cluster, named after what it tells (KEP-2149, `ClusterProperty`).
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(crates(kube_core = "::kube_core"))]
#[kube(
    group = "about.k8s.io",
    version = "v1beta1",
    kind = "ClusterProperty",
    plural = "clusterproperties",
    status = "ClusterPropertyStatus",
    doc = "A fact about this cluster, named after what it tells.",
    annotation(
        "api-approved.kubernetes.io",
        "https://github.com/kubernetes/enhancements/tree/master/keps/sig-multicluster/2149-clusterid"
    ),
    printcolumn = r#"{"name":"value","type":"string","jsonPath":".spec.value"}"#,
    printcolumn = r#"{"name":"age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
pub struct ClusterPropertySpec {
    /// The fact; for `cluster.clusterset.k8s.io` the ID of this cluster.
    #[schemars(length(min = 1, max = 128_000))]
    pub value: String,
}

/// Empty in this version of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterPropertyStatus {}
