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
    plural = "clusterproperties"
)]
pub struct ClusterPropertySpec {
    /// The fact; for `cluster.clusterset.k8s.io` the ID of this cluster.
    pub value: String,
}
