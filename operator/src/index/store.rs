//! Objects of one kind by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tombolo_catalog::ServiceName;

use super::packed::Packed;

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
pub(super) struct Store<T>(BTreeMap<ServiceName, Arc<Packed<T>>>);

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
    pub(super) fn has(&self, name: &ServiceName) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.0.keys()
    }

    pub(super) fn delete(&mut self, name: &ServiceName) -> Option<Arc<Packed<T>>> {
        self.0.remove(name)
    }
}

impl<T: Resource + Serialize + DeserializeOwned> Store<T> {
    pub(super) fn get(&self, name: &ServiceName) -> Option<Arc<T>> {
        self.0.get(name).map(|object| object.unpack())
    }

    /// Those that there are of these names in a namespace.
    pub(super) fn named<'a>(
        &'a self,
        namespace: &'a str,
        names: &'a [String],
    ) -> impl Iterator<Item = Arc<T>> {
        let names = names.iter();
        names.filter_map(move |name| self.get(&ServiceName::new(namespace, name)))
    }

    pub(super) fn with_prefix<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
    ) -> impl Iterator<Item = Arc<T>> {
        self.0
            .range(ServiceName::new(namespace, prefix)..)
            .take_while(move |(name, _)| {
                name.namespace == namespace && name.name.starts_with(prefix)
            })
            .map(|(_, object)| object.unpack())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Arc<T>> {
        self.0.values().map(|object| object.unpack())
    }

    /// What was there before, if the object is news.
    pub(super) fn apply(
        &mut self,
        name: ServiceName,
        object: Arc<Packed<T>>,
    ) -> Option<Option<Arc<Packed<T>>>> {
        if let Some(known) = self.0.get_mut(&name)
            && let (Some(known_version), Some(new)) = (known.version(), object.version())
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
