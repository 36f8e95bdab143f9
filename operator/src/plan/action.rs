//! The writes that a plan may ask for.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tombolo_catalog::ServiceName;
use tombolo_crds::ClusterExport;
use tombolo_crds::mcs::{ServiceExport, ServiceImport};

/// One write. What is applied holds the fields that are the operator's, and no others.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// This cluster's catalog entry.
    ApplyClusterExport(Box<ClusterExport>),
    /// Take it out of the catalog, once the API server has confirmed the reason.
    Withdraw(Withdrawal),
    /// The import's metadata and spec.
    ApplyImport(Box<ServiceImport>),
    /// The derived Service.
    ApplyDerived(Box<Service>),
    /// The Service that stands for an endpoint of another cluster.
    ApplyEndpoint(Box<Service>),
    /// One slice of either.
    ApplySlice(Box<EndpointSlice>),
    /// The export's status.
    ApplyExportStatus(Box<ServiceExport>),
    /// The import's status.
    ApplyImportStatus(Box<ServiceImport>),
    /// An object of ours that nothing needs any more.
    Delete(Deletion),
}

/// An export that seems to be no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// Name of the ClusterExport.
    pub object: String,
    /// The service.
    pub service: ServiceName,
    /// What has to be so for it.
    pub evidence: Evidence,
}

/// Why an export is withdrawn. An answer that tells nothing (forbidden, no such API) is no
/// evidence: the other clusters would lose a service because this operator lost a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// There is no ServiceExport of this name.
    ExportGone,
    /// There is no Service of this name.
    ServiceGone,
    /// The Service or the ServiceExport, as it was seen, cannot be exported.
    Invalid,
}

/// An object to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// What it is.
    pub kind: DeletedKind,
    /// Where it is.
    pub name: ServiceName,
    /// That very object, and no other of its name.
    pub uid: Option<String>,
}

/// The kinds that the operator deletes beside ClusterExports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeletedKind {
    /// A slice of a derived Service, or of an endpoint's.
    EndpointSlice,
    /// A derived Service, or an endpoint's.
    Service,
    /// A ServiceImport.
    ServiceImport,
}

// === impl Action ===

impl Action {
    /// The kind of object that is written, for metrics and logs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ApplyClusterExport(_) | Self::Withdraw(_) => "ClusterExport",
            Self::ApplyImport(_) => "ServiceImport",
            Self::ApplyDerived(_) | Self::ApplyEndpoint(_) => "Service",
            Self::ApplySlice(_) => "EndpointSlice",
            Self::ApplyExportStatus(_) => "ServiceExport/status",
            Self::ApplyImportStatus(_) => "ServiceImport/status",
            Self::Delete(deletion) => deletion.kind.as_str(),
        }
    }

    /// Whether something is taken away.
    #[must_use]
    pub fn is_removal(&self) -> bool {
        matches!(self, Self::Withdraw(_) | Self::Delete(_))
    }
}

// === impl DeletedKind ===

impl DeletedKind {
    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EndpointSlice => "EndpointSlice",
            Self::Service => "Service",
            Self::ServiceImport => "ServiceImport",
        }
    }
}
