//! What a cluster exports, told by itself: a snapshot between two marks, then changes.

use bytes::Bytes;
use k8s_openapi::api::core::v1::{ClientIPConfig, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use prost::Message;
use tombolo_catalog::{Malformed, ServiceName, is_dns_label, validate};
use tombolo_crds::mcs::{ServiceImportType, ServicePort};
use tombolo_crds::{ClusterExportSpec, ExportedEndpoint};

use crate::error::DecodeError;
use crate::frame::frame;
use crate::proto::{self, CatalogKind};

/// A message of a catalog stream.
#[derive(Clone, Debug, PartialEq)]
pub enum CatalogMessage {
    /// A snapshot begins.
    SnapshotBegin {
        /// Grows with every change, within one life of the sender.
        revision: u64,
    },
    /// An export of the snapshot, or one that is new or changed since.
    Upsert(Box<ClusterExportSpec>),
    /// The snapshot is complete: what it did not name is not exported.
    SnapshotEnd {
        /// How many exports it had.
        count: u64,
    },
    /// A service that is not exported any longer.
    Withdraw(ServiceName),
}

/// Why a message of a catalog stream is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogDecodeError {
    /// The stream cannot be trusted any further.
    #[error(transparent)]
    Broken(#[from] DecodeError),
    /// It tells an export that cannot be used, but of which service is clear: the others are not
    /// touched by it.
    #[error(transparent)]
    Rejected(#[from] RejectedExport),
}

/// An export that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("export {service} of {cluster}: {rejection}")]
pub struct RejectedExport {
    /// The cluster that it names as its own.
    pub cluster: String,
    /// The service.
    pub service: ServiceName,
    /// The rule.
    pub rejection: Rejection,
}

/// The rule that an export breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// One of the catalog's own.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It is neither of type ClusterSetIP nor Headless.
    #[error("type {0} is not known here")]
    UnknownType(i32),
    /// Its time of creation is none.
    #[error("createdAt is no time")]
    NoTime,
}

// === impl CatalogMessage ===

impl CatalogMessage {
    /// The message in its frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::SnapshotBegin { revision } => {
                encode(CatalogKind::SnapshotBegin(proto::SnapshotBegin {
                    revision: *revision,
                }))
            }
            Self::Upsert(export) => encode_upsert(export),
            Self::SnapshotEnd { count } => encode(CatalogKind::SnapshotEnd(proto::SnapshotEnd {
                count: *count,
            })),
            Self::Withdraw(service) => encode(CatalogKind::Withdraw(proto::Withdraw {
                namespace: service.namespace.clone(),
                name: service.name.clone(),
            })),
        }
    }

    /// Reads the content of a frame. The export of an `Upsert` has passed
    /// [`tombolo_catalog::validate`]; whether it is the peer's own is the receiver's to check.
    ///
    /// # Errors
    /// See [`CatalogDecodeError`].
    pub fn decode(content: Bytes) -> Result<Self, CatalogDecodeError> {
        let message = proto::CatalogMessage::decode(content).map_err(DecodeError::from)?;
        let kind = message
            .kind
            .ok_or(DecodeError::UnknownKind("the catalog message"))?;
        match kind {
            CatalogKind::SnapshotBegin(begin) => Ok(Self::SnapshotBegin {
                revision: begin.revision,
            }),
            CatalogKind::SnapshotEnd(end) => Ok(Self::SnapshotEnd { count: end.count }),
            CatalogKind::Withdraw(withdraw) => {
                check_label("namespace", &withdraw.namespace)?;
                check_label("name", &withdraw.name)?;
                Ok(Self::Withdraw(ServiceName::new(
                    withdraw.namespace,
                    withdraw.name,
                )))
            }
            CatalogKind::Upsert(export) => {
                export_from_proto(*export).map(|export| Self::Upsert(Box::new(export)))
            }
        }
    }
}

// === impl Rejection ===

impl Rejection {
    /// A stable word for it: a metric label, or the reason of a condition.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.reason(),
            Self::UnknownType(_) => "UnknownType",
            Self::NoTime => "InvalidCreationTime",
        }
    }
}

/// [`CatalogMessage::Upsert`] of a borrowed export, in its frame.
#[must_use]
pub fn encode_upsert(export: &ClusterExportSpec) -> Bytes {
    encode(CatalogKind::Upsert(Box::new(export_to_proto(export))))
}

fn encode(kind: CatalogKind) -> Bytes {
    frame(&proto::CatalogMessage { kind: Some(kind) })
}

fn check_label(field: &'static str, value: &str) -> Result<(), DecodeError> {
    if !is_dns_label(value) {
        return Err(DecodeError::field(field, value));
    }
    Ok(())
}

fn export_to_proto(export: &ClusterExportSpec) -> proto::Export {
    // Every field by name: a new one must not be forgotten here.
    let ClusterExportSpec {
        cluster,
        namespace,
        name,
        created_at,
        type_,
        ports,
        session_affinity,
        session_affinity_config,
        internal_traffic_policy,
        traffic_distribution,
        ip_families,
        exported_labels,
        exported_annotations,
        ready,
        endpoints,
        proxy_protocol,
    } = export;
    let type_ = match type_ {
        ServiceImportType::ClusterSetIP => proto::ExportType::ClusterSetIp,
        ServiceImportType::Headless => proto::ExportType::Headless,
    };
    let ports = ports.iter().map(|port| proto::Port {
        name: port.name.clone(),
        protocol: port.protocol.clone(),
        app_protocol: port.app_protocol.clone(),
        port: port.port,
    });
    let affinity = session_affinity_config
        .as_ref()
        .map(|config| proto::SessionAffinityConfig {
            client_ip: config.client_ip.as_ref().map(|client_ip| proto::ClientIp {
                timeout_seconds: client_ip.timeout_seconds,
            }),
        });
    let endpoints = endpoints.iter().map(|endpoint| proto::Endpoint {
        id: endpoint.id.clone(),
        ready: endpoint.ready,
    });
    proto::Export {
        cluster: cluster.clone(),
        namespace: namespace.clone(),
        name: name.clone(),
        created_seconds: created_at.0.as_second(),
        created_nanos: created_at.0.subsec_nanosecond(),
        type_: type_.into(),
        ports: ports.collect(),
        session_affinity: session_affinity.clone(),
        session_affinity_config: affinity,
        internal_traffic_policy: internal_traffic_policy.clone(),
        traffic_distribution: traffic_distribution.clone(),
        ip_families: ip_families.clone(),
        labels: exported_labels.clone(),
        annotations: exported_annotations.clone(),
        ready: *ready,
        endpoints: endpoints.collect(),
        proxy_protocol: proxy_protocol.clone(),
    }
}

fn export_from_proto(export: proto::Export) -> Result<ClusterExportSpec, CatalogDecodeError> {
    check_label("cluster", &export.cluster)?;
    check_label("namespace", &export.namespace)?;
    check_label("name", &export.name)?;
    let rejected = |rejection| RejectedExport {
        cluster: export.cluster.clone(),
        service: ServiceName::new(&export.namespace, &export.name),
        rejection,
    };
    let type_ = match proto::ExportType::try_from(export.type_) {
        Ok(proto::ExportType::ClusterSetIp) => ServiceImportType::ClusterSetIP,
        Ok(proto::ExportType::Headless) => ServiceImportType::Headless,
        Ok(proto::ExportType::Unspecified) | Err(_) => {
            return Err(rejected(Rejection::UnknownType(export.type_)).into());
        }
    };
    let Ok(created_at) = Timestamp::new(export.created_seconds, export.created_nanos) else {
        return Err(rejected(Rejection::NoTime).into());
    };
    let ports = export.ports.iter().map(|port| ServicePort {
        name: port.name.clone(),
        protocol: port.protocol.clone(),
        app_protocol: port.app_protocol.clone(),
        port: port.port,
    });
    let affinity = export
        .session_affinity_config
        .map(|config| SessionAffinityConfig {
            client_ip: config.client_ip.map(|client_ip| ClientIPConfig {
                timeout_seconds: client_ip.timeout_seconds,
            }),
        });
    let endpoints = export.endpoints.iter().map(|endpoint| ExportedEndpoint {
        id: endpoint.id.clone(),
        ready: endpoint.ready,
    });
    let spec = ClusterExportSpec {
        cluster: export.cluster.clone(),
        namespace: export.namespace.clone(),
        name: export.name.clone(),
        created_at: Time(created_at),
        type_,
        ports: ports.collect(),
        session_affinity: export.session_affinity.clone(),
        session_affinity_config: affinity,
        internal_traffic_policy: export.internal_traffic_policy.clone(),
        traffic_distribution: export.traffic_distribution.clone(),
        ip_families: export.ip_families.clone(),
        exported_labels: export.labels.clone(),
        exported_annotations: export.annotations.clone(),
        ready: export.ready,
        endpoints: endpoints.collect(),
        proxy_protocol: export.proxy_protocol.clone(),
    };
    match validate(&spec) {
        Ok(()) => Ok(spec),
        Err(malformed) => Err(rejected(malformed.into()).into()),
    }
}
