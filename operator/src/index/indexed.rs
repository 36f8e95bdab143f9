//! What each kind of object has to do with which services.

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tombolo_catalog::ServiceName;
use tombolo_crds::ClusterExport;
use tombolo_crds::mcs::{ServiceExport, ServiceImport};
use tombolo_crds::well_known::{KUBE_SERVICE_NAME_LABEL, SERVICE_NAME_LABEL};

use super::packed::Packed;
use super::store::{Kind, Store};
use super::{Index, import_of};
use crate::plan::ownership::{self, PortOwner};

/// An object that the [`Index`] holds.
pub trait Indexed: Resource + Serialize + DeserializeOwned {
    /// Which kind it is.
    const KIND: Kind;
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn store(index: &mut Index) -> &mut Store<Self>;
    /// The store has been changed: other tables follow, and what it concerns is dirty.
    #[doc(hidden)]
    fn changed(
        index: &mut Index,
        name: &ServiceName,
        before: Option<&Packed<Self>>,
        after: Option<&Packed<Self>>,
    );
}

// === impl Indexed ===

impl Indexed for ServiceExport {
    const KIND: Kind = Kind::ServiceExport;

    #[allow(private_interfaces)]
    fn store(index: &mut Index) -> &mut Store<Self> {
        &mut index.exports
    }

    fn changed(
        index: &mut Index,
        name: &ServiceName,
        before: Option<&Packed<Self>>,
        after: Option<&Packed<Self>>,
    ) {
        recount(&mut index.conflicts, before, after, |export| {
            is_in_conflict(&export.unpack())
        });
        index.touch(name);
    }
}

impl Indexed for ServiceImport {
    const KIND: Kind = Kind::ServiceImport;

    #[allow(private_interfaces)]
    fn store(index: &mut Index) -> &mut Store<Self> {
        &mut index.imports
    }

    fn changed(
        index: &mut Index,
        name: &ServiceName,
        before: Option<&Packed<Self>>,
        after: Option<&Packed<Self>>,
    ) {
        recount(&mut index.own_imports, before, after, |import| {
            ownership::is_ours(&import.metadata())
        });
        index.touch(name);
    }
}

impl Indexed for Namespace {
    const KIND: Kind = Kind::Namespace;

    #[allow(private_interfaces)]
    fn store(index: &mut Index) -> &mut Store<Self> {
        &mut index.namespaces
    }

    fn changed(
        index: &mut Index,
        name: &ServiceName,
        before: Option<&Packed<Self>>,
        after: Option<&Packed<Self>>,
    ) {
        let is_leaving =
            |namespace: &Packed<Self>| namespace.metadata().deletion_timestamp.is_some();
        if before.map(is_leaving) == after.map(is_leaving) {
            return;
        }
        let exported = index.exporters.services_in(&name.name);
        index.dirty.extend(exported.cloned());
    }
}

impl Indexed for ClusterExport {
    const KIND: Kind = Kind::ClusterExport;

    #[allow(private_interfaces)]
    fn store(index: &mut Index) -> &mut Store<Self> {
        &mut index.cluster_exports
    }

    fn changed(
        index: &mut Index,
        name: &ServiceName,
        before: Option<&Packed<Self>>,
        after: Option<&Packed<Self>>,
    ) {
        if let Some(export) = before {
            let service = ServiceName::from(&export.unpack().spec);
            index.exporters.remove(&service, &name.name);
            index.touch(&service);
        }
        if let Some(export) = after {
            let service = ServiceName::from(&export.unpack().spec);
            index.exporters.insert(service.clone(), name.name.clone());
            index.touch(&service);
        }
    }
}

impl Indexed for Service {
    const KIND: Kind = Kind::Service;

    #[allow(private_interfaces)]
    fn store(index: &mut Index) -> &mut Store<Self> {
        &mut index.services
    }

    fn changed(
        index: &mut Index,
        name: &ServiceName,
        before: Option<&Packed<Self>>,
        after: Option<&Packed<Self>>,
    ) {
        index.touch_exported(name);
        index.touch_derived(name);
        let after = after.map(Packed::unpack);
        let owner = |service: &Self| port_owner(index, service);
        let owners = (
            before.and_then(|before| owner(&before.unpack())),
            after.as_deref().and_then(owner),
        );
        if owners.0 != owners.1
            && let Some(owner) = &owners.0
        {
            index.ports_since.forget(name);
            index.endpoints.remove(&owner.import, &name.name);
            index.dirty.insert(owner.import.clone());
        }
        if let (Some(owner), Some(service)) = (owners.1, after) {
            index.dirty.insert(owner.import.clone());
            if owner.endpoint.is_some() {
                let import = owner.import.clone();
                index.endpoints.insert(import, name.name.clone());
            }
            index.ports_since.handle(name, owner, &service);
        }
    }
}

impl Indexed for EndpointSlice {
    const KIND: Kind = Kind::EndpointSlice;

    #[allow(private_interfaces)]
    fn store(index: &mut Index) -> &mut Store<Self> {
        &mut index.slices
    }

    fn changed(
        index: &mut Index,
        name: &ServiceName,
        before: Option<&Packed<Self>>,
        after: Option<&Packed<Self>>,
    ) {
        if let Some(slice) = before.map(labelled) {
            if let Some(service) = service_of(&slice) {
                index.slices_of.remove(&service, &name.name);
            }
            if let Some(import) = ownership::endpoint_slice_of(&slice, &index.namespace) {
                index.endpoint_slices.remove(&import, &name.name);
            }
            touch_slice(index, name, &slice);
        }
        if let Some(slice) = after.map(labelled) {
            if let Some(service) = service_of(&slice) {
                index.slices_of.insert(service, name.name.clone());
            }
            if let Some(import) = ownership::endpoint_slice_of(&slice, &index.namespace) {
                index.endpoint_slices.insert(import, name.name.clone());
            }
            touch_slice(index, name, &slice);
        }
    }
}

/// Namespace (empty for cluster-scoped objects) and name.
pub(super) fn name_of(object: &impl Resource) -> ServiceName {
    let metadata = object.meta();
    ServiceName::new(
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

/// Keeps a count of objects in step with one that has changed.
fn recount<T>(
    count: &mut usize,
    before: Option<&Packed<T>>,
    after: Option<&Packed<T>>,
    is_counted: impl Fn(&Packed<T>) -> bool,
) {
    *count += usize::from(after.is_some_and(&is_counted));
    *count -= usize::from(before.is_some_and(&is_counted));
}

fn is_in_conflict(export: &ServiceExport) -> bool {
    let status = export.status.as_ref();
    let mut conditions = status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.type_ == "Conflict" && condition.status == "True")
}

/// A slice without its endpoints, which say nothing about whose it is.
fn labelled(slice: &Packed<EndpointSlice>) -> EndpointSlice {
    EndpointSlice {
        metadata: slice.metadata(),
        ..EndpointSlice::default()
    }
}

fn service_of(slice: &EndpointSlice) -> Option<ServiceName> {
    let service = slice
        .metadata
        .labels
        .as_ref()?
        .get(KUBE_SERVICE_NAME_LABEL)?;
    Some(ServiceName::new(
        slice.metadata.namespace.as_deref()?,
        service,
    ))
}

/// Whose gateway ports a Service records.
fn port_owner(index: &Index, service: &Service) -> Option<PortOwner> {
    import_of(service)
        .map(PortOwner::of_import)
        .or_else(|| ownership::endpoint_of(service, &index.namespace))
}

fn touch_slice(index: &mut Index, name: &ServiceName, slice: &EndpointSlice) {
    if let Some(import) = ownership::endpoint_slice_of(slice, &index.namespace) {
        index.dirty.insert(import);
        return;
    }
    let labels = slice.metadata.labels.as_ref();
    if let Some(import) = labels.and_then(|labels| labels.get(SERVICE_NAME_LABEL))
        && ownership::is_our_slice(slice)
    {
        index
            .dirty
            .insert(ServiceName::new(&name.namespace, import));
        return;
    }
    if let Some(service) = service_of(slice) {
        index.touch_exported(&service);
    }
    // Somebody else's slice in a place that ours may want: ours begin with the Service's name.
    let derived = name
        .name
        .splitn(3, '-')
        .take(2)
        .collect::<Vec<_>>()
        .join("-");
    index.touch_derived(&ServiceName::new(&name.namespace, derived));
}
