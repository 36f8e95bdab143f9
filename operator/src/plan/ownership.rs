//! Which objects are the operator's own.
//!
//! An object of the right name that somebody else made is left alone: these marks are on all that
//! the operator makes. Objects restored from a backup bear them, so they are taken up again.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use tombolo_catalog::{EndpointName, ServiceName};
use tombolo_crds::well_known::{
    ENDPOINT_CLUSTER_LABEL, ENDPOINT_LABEL, ENDPOINT_NAMESPACE_LABEL, ENDPOINT_SERVICE_LABEL,
    IMPORT_LABEL, MANAGED_BY_LABEL, MANAGER, MANAGER_LABEL, SLICE_MANAGER,
};

/// The name under which the operator applies fields.
pub const FIELD_MANAGER: &str = "tombolo-operator";

/// Whether the operator made the object, be it a ServiceImport or a Service.
#[must_use]
pub fn is_ours(metadata: &ObjectMeta) -> bool {
    label(metadata, MANAGER_LABEL) == Some(MANAGER)
}

/// Whether the operator made this Service, as the derived Service of some import.
#[must_use]
pub fn is_derived(service: &Service) -> bool {
    is_ours(&service.metadata) && label(&service.metadata, IMPORT_LABEL).is_some()
}

/// Whether the operator made this Service, as the derived Service of this import.
#[must_use]
pub fn is_derived_of(service: &Service, import: &ServiceName) -> bool {
    is_ours(&service.metadata) && label(&service.metadata, IMPORT_LABEL) == Some(&import.name)
}

/// Whether the operator made this EndpointSlice.
#[must_use]
pub fn is_our_slice(slice: &EndpointSlice) -> bool {
    label(&slice.metadata, MANAGED_BY_LABEL) == Some(SLICE_MANAGER)
}

/// What the gateway ports in a Service are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortOwner {
    /// The import.
    pub import: ServiceName,
    /// The endpoint, if the Service stands for one.
    pub endpoint: Option<EndpointName>,
}

impl PortOwner {
    /// The import as a whole.
    #[must_use]
    pub fn of_import(import: ServiceName) -> Self {
        Self {
            import,
            endpoint: None,
        }
    }
}

/// The endpoint of another cluster that a Service in Tombolo's own namespace stands for. In any
/// other a user might claim the endpoints of services that are not theirs.
#[must_use]
pub fn endpoint_of(service: &Service, system: &str) -> Option<PortOwner> {
    let metadata = &service.metadata;
    if !is_ours(metadata) {
        return None;
    }
    Some(PortOwner {
        import: endpoints_import(metadata, system)?,
        endpoint: Some(EndpointName::new(
            label(metadata, ENDPOINT_CLUSTER_LABEL)?,
            label(metadata, ENDPOINT_LABEL)?,
        )),
    })
}

/// The import with whose endpoint's Service the operator made this EndpointSlice.
#[must_use]
pub fn endpoint_slice_of(slice: &EndpointSlice, system: &str) -> Option<ServiceName> {
    if !is_our_slice(slice) {
        return None;
    }
    endpoints_import(&slice.metadata, system)
}

fn endpoints_import(metadata: &ObjectMeta, system: &str) -> Option<ServiceName> {
    if metadata.namespace.as_deref() != Some(system) {
        return None;
    }
    Some(ServiceName::new(
        label(metadata, ENDPOINT_NAMESPACE_LABEL)?,
        label(metadata, ENDPOINT_SERVICE_LABEL)?,
    ))
}

/// Whether an owner is among those of an object.
pub(super) fn has_owner(metadata: &ObjectMeta, owner: &OwnerReference) -> bool {
    metadata
        .owner_references
        .iter()
        .flatten()
        .any(|found| found == owner)
}

/// Whether labels, or annotations, are as desired. Keys that nobody desires do not pass: they may
/// be what an export once had. Whether they are, or are somebody else's, shows when the desired
/// ones are applied.
pub(super) fn is_same_map(
    observed: Option<&BTreeMap<String, String>>,
    desired: Option<&BTreeMap<String, String>>,
) -> bool {
    let empty = BTreeMap::new();
    observed.unwrap_or(&empty) == desired.unwrap_or(&empty)
}

pub(super) fn label<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(key).map(String::as_str)
}
