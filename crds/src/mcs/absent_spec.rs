//! The MCS-API lets `spec` be absent, and most ServiceExports have none. A derived root type wants
//! one; but a type that reads itself as an `Option` makes an empty one of what is not there, so
//! that one such object does not fail the list of all.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::SessionAffinityConfig;
use serde::Deserialize;

use super::{ServiceExportSpec, ServiceImportSpec, ServiceImportType, ServicePort};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct GivenServiceExportSpec {
    exported_labels: BTreeMap<String, String>,
    exported_annotations: BTreeMap<String, String>,
}

impl From<Option<GivenServiceExportSpec>> for ServiceExportSpec {
    fn from(given: Option<GivenServiceExportSpec>) -> Self {
        let GivenServiceExportSpec {
            exported_labels,
            exported_annotations,
        } = given.unwrap_or_default();
        Self {
            exported_labels,
            exported_annotations,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct GivenServiceImportSpec {
    ports: Vec<ServicePort>,
    ips: Vec<String>,
    ip_families: Vec<String>,
    #[serde(rename = "type")]
    type_: ServiceImportType,
    session_affinity: Option<String>,
    session_affinity_config: Option<SessionAffinityConfig>,
    internal_traffic_policy: Option<String>,
    traffic_distribution: Option<String>,
}

impl From<Option<GivenServiceImportSpec>> for ServiceImportSpec {
    fn from(given: Option<GivenServiceImportSpec>) -> Self {
        let given = given.unwrap_or_default();
        Self {
            ports: given.ports,
            ips: given.ips,
            ip_families: given.ip_families,
            type_: given.type_,
            session_affinity: given.session_affinity,
            session_affinity_config: given.session_affinity_config,
            internal_traffic_policy: given.internal_traffic_policy,
            traffic_distribution: given.traffic_distribution,
        }
    }
}
