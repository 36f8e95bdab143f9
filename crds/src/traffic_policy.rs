//! `TrafficPolicy`: where connections to an imported service go.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::schema::{conditions, dns_label, healthy_floor, label_map};

/// Where this cluster's connections to an imported service go. It speaks for the clients of the
/// cluster in which it is, and is not told to others.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(crates(kube_core = "::kube_core"))]
#[kube(
    group = "tombolo.io",
    version = "v1alpha1",
    kind = "TrafficPolicy",
    plural = "trafficpolicies",
    namespaced,
    status = "TrafficPolicyStatus",
    derive = "PartialEq",
    doc = "Where this cluster's connections to an imported service go.",
    label("tombolo.io/release-version", "v0.1.0"),
    label("tombolo.io/crd-schema-revision", "0"),
    label("gateway.networking.k8s.io/policy", "Direct"),
    printcolumn = r#"{"name":"Target","type":"string","jsonPath":".spec.targetRef.name"}"#,
    printcolumn = r#"{"name":"Accepted","type":"string","jsonPath":".status.ancestors[0].conditions[?(@.type=='Accepted')].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.ancestors[0].conditions[?(@.type=='Accepted')].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct TrafficPolicySpec {
    /// The ServiceImport of the same namespace that it is for. Left out in Tombolo's own
    /// namespace, and only there, it is the default of the whole cluster: what a service's own
    /// policy does not say is taken from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Who splits the traffic. Left out, it is `Exact` if `prefer`, `minHealthy`, `clusters` or
    /// `subsets` say anything, else `Shared`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// What decides first, second, …: all endpoints that are equal in it form a tier, and the
    /// nearest tier gets all traffic while it is healthy. Empty, all endpoints form one tier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub prefer: Vec<Preference>,
    /// The floor of ready endpoints, as a number or as a percentage of a tier's endpoints. Below
    /// it a tier keeps the share of the traffic that its ready endpoints are of the floor, and the
    /// rest goes to the next tier. Left out, a tier gives nothing away until it has no ready
    /// endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "healthy_floor")]
    pub min_healthy: Option<IntOrString>,
    /// How each tier's traffic is split between clusters. Empty, by their ready endpoints; a
    /// cluster that is not named gets nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["cluster"])
    )]
    pub clusters: Vec<ClusterWeight>,
    /// How traffic is split between pods with certain labels, in whichever cluster. Empty, any pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub subsets: Vec<Subset>,
    /// Whether a client stays with its endpoint. Left out, as the import says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<Affinity>,
    /// How long one cluster may take to open a connection before another is tried, in
    /// milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60_000))]
    pub connect_timeout_milliseconds: Option<i32>,
    /// What clients of this cluster may ask of the service through its gateways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<TrafficLimits>,
}

/// What a policy is attached to, as in the Gateway API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// `multicluster.x-k8s.io`.
    #[schemars(extend("enum" = ["multicluster.x-k8s.io"]))]
    pub group: String,
    /// `ServiceImport`.
    #[schemars(extend("enum" = ["ServiceImport"]))]
    pub kind: String,
    /// Its name.
    #[schemars(schema_with = "dns_label")]
    pub name: String,
}

/// Who splits the traffic of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Split {
    /// kube-proxy, evenly between this cluster's own pods and the gateways, which speak for the
    /// other clusters: local traffic takes no detour, and the policy is for the gateways' share.
    Shared,
    /// The gateways alone: they send to this cluster's own pods too.
    Exact,
}

/// What makes one endpoint nearer than another.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Preference {
    /// It is in this cluster.
    Local,
    /// It is in the client's zone (the label `topology.kubernetes.io/zone` of their nodes).
    Zone,
    /// It is in the client's region (the label `topology.kubernetes.io/region`).
    Region,
    /// The measured round-trip time to its cluster is shorter by more than a factor of two.
    RoundTripTime,
}

/// A cluster's share of the traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterWeight {
    /// ID of the cluster.
    #[schemars(schema_with = "dns_label")]
    pub cluster: String,
    /// Its share is this of the sum of all.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: i32,
}

/// Pods with certain labels, and their share of the traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subset {
    /// For people and metrics.
    #[schemars(schema_with = "dns_label")]
    pub name: String,
    /// Labels that its pods have.
    #[schemars(schema_with = "label_map")]
    pub labels: BTreeMap<String, String>,
    /// Its share is this of the sum of all.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: i32,
}

/// Whether a client stays with its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Affinity {
    /// Each connection goes its own way.
    None,
    /// All connections from one address go to one endpoint, for as long as it is ready.
    ClientIP,
}

/// What clients may ask of a service. What is above it is reset at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficLimits {
    /// Connections at a time, by all gateways of this cluster together: each has an even share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub connections: Option<i32>,
    /// New connections a second, by all gateways of this cluster together: each has an even share,
    /// and may use that of one second at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub connections_per_second: Option<i32>,
}

/// What became of the policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficPolicyStatus {
    /// One for what it is attached to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub ancestors: Vec<PolicyAncestor>,
}

/// What became of the policy with respect to one object, as in the Gateway API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAncestor {
    /// The object: a ServiceImport, or Tombolo's Namespace for the cluster's default.
    pub ancestor_ref: AncestorRef,
    /// `tombolo.io/operator`.
    #[schemars(length(min = 1, max = 253))]
    pub controller_name: String,
    /// `Accepted`; if not, because it is `Invalid`, `Conflicted` (an older policy has the same
    /// target) or there is no such target (`TargetNotFound`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// An object that a policy is attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AncestorRef {
    /// Its API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}
