//! The services of the zone, kept up to date with what is watched.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::Notify;
use tombolo_dns_zone::{Import, ImportKind, Port, Service};
use tombolo_runtime::watch::{Index, Key};

use crate::state::{ImportState, SliceState};

/// What the zone is made of. Fed by two watches; a change of one object makes one service anew.
#[derive(Debug, Default)]
pub struct ZoneIndex {
    /// None until the first complete list.
    imports: Option<BTreeMap<Key, Arc<ImportState>>>,
    /// None until the first complete list.
    slices: Option<BTreeMap<Key, Arc<SliceState>>>,
    /// Names of the slices of each service.
    slices_of: HashMap<Key, BTreeSet<String>>,
    services: HashMap<Key, Arc<Service>>,
    changed: Arc<Notify>,
}

// === impl ZoneIndex ===

impl ZoneIndex {
    /// Told whenever [`ZoneIndex::services`] would answer differently than before.
    #[must_use]
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// All services; none until both lists were complete.
    #[must_use]
    pub fn services(&self) -> Option<Vec<Arc<Service>>> {
        self.imports.as_ref().and(self.slices.as_ref())?;
        Some(self.services.values().cloned().collect())
    }

    fn rebuild_all(&mut self) {
        self.services.clear();
        let keys: Vec<Key> = self
            .imports
            .iter()
            .flat_map(BTreeMap::keys)
            .cloned()
            .collect();
        for key in keys {
            self.rebuild(&key);
        }
        self.changed.notify_one();
    }

    fn rebuild(&mut self, key: &Key) {
        let service = self.build(key);
        if service.as_ref() == self.services.get(key) {
            return;
        }
        match service {
            Some(service) => drop(self.services.insert(key.clone(), service)),
            None => drop(self.services.remove(key)),
        }
        self.changed.notify_one();
    }

    fn build(&self, key: &Key) -> Option<Arc<Service>> {
        let import = self.imports.as_ref()?.get(key)?;
        let kind = if import.headless {
            let slices = self.slices_of(key);
            ImportKind::Headless {
                endpoints: slices.flat_map(|slice| slice.endpoints()).collect(),
            }
        } else {
            ImportKind::ClusterSetIp {
                addresses: import.addresses.clone(),
                ports: import.ports.iter().map(Port::from).collect(),
            }
        };
        let Key { namespace, name } = key.clone();
        match Service::new(Import {
            namespace,
            name,
            kind,
        }) {
            Ok(service) => Some(Arc::new(service)),
            Err(error) => {
                tracing::info!(import = %key, %error, reason = error.reason(), "import left out");
                None
            }
        }
    }

    fn slices_of(&self, service: &Key) -> impl Iterator<Item = &SliceState> {
        let names = self.slices_of.get(service).into_iter().flatten();
        names.filter_map(|name| {
            let key = Key::new(service.namespace.as_str(), name.as_str());
            self.slices.as_ref()?.get(&key).map(AsRef::as_ref)
        })
    }

    /// The service that the slice belonged to.
    fn unlink(&mut self, slice: &Key) -> Option<Key> {
        let old = self.slices.as_mut()?.remove(slice)?;
        let service = Key::new(slice.namespace.as_str(), old.service.as_str());
        if let Some(names) = self.slices_of.get_mut(&service) {
            names.remove(&slice.name);
            if names.is_empty() {
                self.slices_of.remove(&service);
            }
        }
        Some(service)
    }

    fn link(&mut self, key: &Key, slice: &Arc<SliceState>) -> Key {
        let service = Key::new(key.namespace.as_str(), slice.service.as_str());
        self.slices_of
            .entry(service.clone())
            .or_default()
            .insert(key.name.clone());
        self.slices
            .get_or_insert_default()
            .insert(key.clone(), Arc::clone(slice));
        service
    }
}

impl Index<ImportState> for ZoneIndex {
    fn apply(&mut self, key: &Key, import: &Arc<ImportState>) {
        self.imports
            .get_or_insert_default()
            .insert(key.clone(), Arc::clone(import));
        self.rebuild(key);
    }

    fn delete(&mut self, key: &Key) {
        self.imports.get_or_insert_default().remove(key);
        self.rebuild(key);
    }

    fn reset(&mut self, all: &BTreeMap<Key, Arc<ImportState>>) {
        self.imports = Some(all.clone());
        self.rebuild_all();
    }
}

impl Index<SliceState> for ZoneIndex {
    fn apply(&mut self, key: &Key, slice: &Arc<SliceState>) {
        let old = self.unlink(key);
        let new = self.link(key, slice);
        if let Some(old) = old.filter(|old| *old != new) {
            self.rebuild(&old);
        }
        self.rebuild(&new);
    }

    fn delete(&mut self, key: &Key) {
        if let Some(service) = self.unlink(key) {
            self.rebuild(&service);
        }
    }

    fn reset(&mut self, all: &BTreeMap<Key, Arc<SliceState>>) {
        self.slices = Some(BTreeMap::new());
        self.slices_of.clear();
        for (key, slice) in all {
            self.link(key, slice);
        }
        self.rebuild_all();
    }
}

#[cfg(test)]
mod tests;
