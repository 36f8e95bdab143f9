//! `Peer`: another cluster that this one is linked to.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{address_list, ca_bundle, conditions, dns_label};

/// Another cluster of the clusterset: how to reach its gateways and which CA vouches for them.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(crates(kube_core = "::kube_core"))]
#[kube(
    group = "tombolo.io",
    version = "v1alpha1",
    kind = "Peer",
    status = "PeerStatus",
    derive = "PartialEq",
    doc = "Another cluster of the clusterset: how to reach its gateways and which CA vouches for them.",
    label("tombolo.io/release-version", "v0.1.0"),
    label("tombolo.io/crd-schema-revision", "2"),
    printcolumn = r#"{"name":"Cluster","type":"string","jsonPath":".spec.clusterID"}"#,
    printcolumn = r#"{"name":"Accepted","type":"string","jsonPath":".status.conditions[?(@.type=='Accepted')].status"}"#,
    printcolumn = r#"{"name":"Connected","type":"string","jsonPath":".status.conditions[?(@.type=='Connected')].status"}"#,
    printcolumn = r#"{"name":"Over TCP","type":"string","jsonPath":".status.conditions[?(@.type=='OverTCP')].status"}"#,
    printcolumn = r#"{"name":"Exports","type":"integer","jsonPath":".status.exports"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct PeerSpec {
    /// The other cluster's ID, a DNS label. Its gateways' certificates must name it.
    #[serde(rename = "clusterID")]
    #[schemars(schema_with = "dns_label")]
    pub cluster_id: String,
    /// `host:port` (UDP, and TCP where UDP is blocked), an IPv6 address in brackets, under which its gateways are reached; empty where only the other side
    /// can dial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "address_list")]
    pub addresses: Vec<String>,
    /// PEM certificates of the other cluster's CA: the content of `ca.crt` of its ConfigMap
    /// `tombolo-ca`. Two, while a CA is being replaced.
    #[schemars(schema_with = "ca_bundle")]
    pub ca_bundle: String,
}

/// What this cluster's gateways know of the peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// `Accepted` (the spec makes sense), `Connected` (a gateway here is linked to one there),
    /// `CatalogSynced` (all of its exports are here), `WithdrawalHeld` (see the message),
    /// `ExportsStale` (it is not reached: its exports stand until their lease runs out), `OverTCP`
    /// (TCP carries the link, since nobody answers over UDP).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// The gateways there to which the gateway here is linked that writes this status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<LinkedGateway>,
    /// How many exports its catalog holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exports: Option<i64>,
    /// The UID of its namespace `kube-system` when its catalog was last received: with another one
    /// the cluster was rebuilt, and nothing that it exported before is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<String>,
}

/// A gateway of the peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkedGateway {
    /// Its name: its pod's.
    pub name: String,
    /// What carries the link to it: `UDP`, or `TCP` where UDP is not answered.
    pub carrier: String,
}
