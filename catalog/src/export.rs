//! From a Service and its ServiceExport to what the other clusters are told.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tombolo_crds::mcs::{ServiceExport, ServiceImportType, ServicePort};
use tombolo_crds::well_known::{
    ENDPOINT_SERVICE_LABEL, IMPORT_LABEL, PROXY_PROTOCOL_ANNOTATION, PROXY_PROTOCOL_V2,
};
use tombolo_crds::{ClusterExportSpec, ExportedEndpoint};

use crate::validate::{Malformed, validate};

#[cfg(test)]
mod tests;

/// Why a Service cannot be exported: the condition `Valid` is False.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// There is no Service of the export's name in its namespace.
    #[error("there is no Service of this name in this namespace")]
    NoService,
    /// The Service is of type ExternalName (or of one that this version does not know).
    #[error("a Service of type {0} cannot be exported")]
    Type(String),
    /// The Service is the derived Service of an import: to export it would be a loop.
    #[error("this Service is derived from the ServiceImport {0:?}: an import cannot be exported")]
    Derived(String),
    /// The Service is headless and declares no port, so that a gateway cannot carry it.
    #[error("a headless Service without ports cannot be exported")]
    HeadlessWithoutPorts,
    /// The Service or the export says something that the other clusters would refuse.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Invalid {
    /// The reason of the condition `Valid`: one of the two that the MCS-API names where one fits.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoService => "NoService",
            Self::Type(_) | Self::Derived(_) | Self::HeadlessWithoutPorts => "InvalidServiceType",
            Self::Malformed(malformed) => malformed.reason(),
        }
    }
}

/// What `cluster` tells the others of the Service that `export` names.
///
/// `service` is the Service of the same namespace and name, if there is one, `ready` whether any of
/// its endpoints is ready, and `endpoints` they are, of which a headless Service tells. Labels and annotations come from the export's spec only, never
/// from anybody's metadata (KEP-1645, Exporting Services).
///
/// # Errors
/// Why the export is not valid.
pub fn export_from(
    cluster: &str,
    export: &ServiceExport,
    service: Option<&Service>,
    ready: bool,
    endpoints: Vec<ExportedEndpoint>,
) -> Result<ClusterExportSpec, Invalid> {
    let service = service.ok_or(Invalid::NoService)?;
    let default_spec = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&default_spec);
    let type_ = import_type(service, spec)?;

    let exported = ClusterExportSpec {
        cluster: cluster.to_owned(),
        namespace: export.metadata.namespace.clone().unwrap_or_default(),
        name: export.metadata.name.clone().unwrap_or_default(),
        // An export that the API server never saw is younger than any that it did.
        created_at: export
            .metadata
            .creation_timestamp
            .clone()
            .unwrap_or(Time(Timestamp::MAX)),
        type_,
        ports: ports(spec),
        session_affinity: spec.session_affinity.clone(),
        session_affinity_config: spec.session_affinity_config.clone(),
        internal_traffic_policy: spec.internal_traffic_policy.clone(),
        traffic_distribution: spec.traffic_distribution.clone(),
        ip_families: spec.ip_families.clone().unwrap_or_default(),
        exported_labels: export.spec.exported_labels.clone(),
        exported_annotations: export.spec.exported_annotations.clone(),
        ready,
        endpoints: match type_ {
            ServiceImportType::Headless => endpoints,
            ServiceImportType::ClusterSetIP => Vec::new(),
        },
        proxy_protocol: proxy_protocol(service).ok().flatten().map(str::to_owned),
    };
    validate(&exported)?;
    Ok(exported)
}

/// The version of the PROXY protocol that a Service asks for.
///
/// # Errors
/// What it asks for, if there is no such version.
pub fn proxy_protocol(service: &Service) -> Result<Option<&str>, &str> {
    let annotations = service.metadata.annotations.as_ref();
    match annotations.and_then(|annotations| annotations.get(PROXY_PROTOCOL_ANNOTATION)) {
        None => Ok(None),
        Some(version) if version == PROXY_PROTOCOL_V2 => Ok(Some(version)),
        Some(other) => Err(other),
    }
}

fn import_type(service: &Service, spec: &ServiceSpec) -> Result<ServiceImportType, Invalid> {
    if let Some(import) = service.metadata.labels.as_ref().and_then(|l| {
        l.get(IMPORT_LABEL)
            .or_else(|| l.get(ENDPOINT_SERVICE_LABEL))
    }) {
        return Err(Invalid::Derived(import.clone()));
    }
    match spec.type_.as_deref() {
        None | Some("ClusterIP" | "NodePort" | "LoadBalancer") => {}
        Some(other) => return Err(Invalid::Type(other.to_owned())),
    }
    if spec.cluster_ip.as_deref() != Some("None") {
        return Ok(ServiceImportType::ClusterSetIP);
    }
    if spec.ports.as_ref().is_none_or(Vec::is_empty) {
        return Err(Invalid::HeadlessWithoutPorts);
    }
    Ok(ServiceImportType::Headless)
}

fn ports(spec: &ServiceSpec) -> Vec<ServicePort> {
    spec.ports
        .iter()
        .flatten()
        .map(|port| ServicePort {
            name: port.name.clone().filter(|name| !name.is_empty()),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            app_protocol: port.app_protocol.clone(),
            port: port.port,
        })
        .collect()
}
