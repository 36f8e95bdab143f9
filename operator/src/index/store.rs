//! Objects of one kind by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::Resource;
use tombolo_catalog::ServiceName;

/// The kinds of objects that must be known before anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// ServiceExport.
    ServiceExport,
    /// ServiceImport.
    ServiceImport,
    /// Service.
    Service,
    /// EndpointSlice.
    EndpointSlice,
    /// ClusterExport.
    ClusterExport,
    /// Namespace.
    Namespace,
    /// The gateways' Pods and Leases.
    Gateways,
    /// TrafficPolicy.
    TrafficPolicy,
    /// Peer.
    Peer,
}

#[derive(Debug)]
pub(super) struct Store<T>(BTreeMap<ServiceName, Arc<T>>);

// === impl Kind ===

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::ServiceExport,
        Self::ServiceImport,
        Self::Service,
        Self::EndpointSlice,
        Self::ClusterExport,
        Self::Namespace,
        Self::Gateways,
        Self::TrafficPolicy,
        Self::Peer,
    ];
}

// === impl Store ===

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Store<T> {
    pub(super) fn get(&self, name: &ServiceName) -> Option<&Arc<T>> {
        self.0.get(name)
    }

    /// Those that there are of these names in a namespace.
    pub(super) fn named<'a>(
        &'a self,
        namespace: &'a str,
        names: &'a [String],
    ) -> impl Iterator<Item = Arc<T>> {
        let objects = names
            .iter()
            .map(move |name| self.get(&ServiceName::new(namespace, name)));
        objects.flatten().cloned()
    }

    pub(super) fn with_prefix<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<T>> {
        self.0
            .range(ServiceName::new(namespace, prefix)..)
            .take_while(move |(name, _)| {
                name.namespace == namespace && name.name.starts_with(prefix)
            })
            .map(|(_, object)| object)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ServiceName, &Arc<T>)> {
        self.0.iter()
    }

    pub(super) fn delete(&mut self, name: &ServiceName) -> Option<Arc<T>> {
        self.0.remove(name)
    }

    pub(super) fn names_not_in(&self, others: &BTreeMap<ServiceName, Arc<T>>) -> Vec<ServiceName> {
        self.0
            .keys()
            .filter(|name| !others.contains_key(*name))
            .cloned()
            .collect()
    }
}

impl<T: Resource> Store<T> {
    /// What was there before, if the object is news.
    pub(super) fn apply(&mut self, name: ServiceName, object: Arc<T>) -> Option<Option<Arc<T>>> {
        if let Some(known) = self.0.get_mut(&name)
            && let (Some(known_version), Some(new)) = (version(&**known), version(&*object))
            && known_version >= new
        {
            // The answer to a write was known first. The watch keeps its own, so with that there
            // is one of each object in memory and not two.
            if known_version == new {
                *known = object;
            }
            return None;
        }
        Some(self.0.insert(name, object))
    }
}

/// Kubernetes' resourceVersions of one kind may be compared as numbers (KEP-5504).
fn version(object: &impl Resource) -> Option<u64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}
