//! The services of the zone, kept up to date with what is watched.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;
use std::sync::Arc;

use tokio::sync::Notify;
use tombolo_dns_zone::{Change, Import, ImportKind, Port, Service};
use tombolo_runtime::watch::{Index, Key};

use crate::state::{ImportState, SliceState};

/// What the zone is made of. Fed by two watches; a change of one object makes one service anew.
#[derive(Debug, Default)]
pub struct ZoneIndex {
    /// What is known of each service.
    known: HashMap<Key, Known>,
    /// The slices by their own names, to find the service that one belonged to.
    slices: HashMap<Key, Arc<SliceState>>,
    /// Whether there was a complete list.
    imports_listed: bool,
    slices_listed: bool,
    unpublished: Unpublished,
    changed: Arc<Notify>,
}

/// What is known of a service; there may be slices without an import.
#[derive(Debug, Default)]
struct Known {
    import: Option<Arc<ImportState>>,
    /// Few, each the very one that is found by its name.
    slices: Vec<Arc<SliceState>>,
    service: Option<Arc<Service>>,
}

/// What has changed since it was asked last.
#[derive(Debug, Default)]
enum Unpublished {
    /// A list came, or it was never asked.
    #[default]
    All,
    Some(HashSet<Key>),
}

/// What a publisher has to publish.
#[derive(Debug)]
pub enum Update {
    /// There are these services and no others.
    All(Vec<Arc<Service>>),
    /// These services are other than before.
    Some(Vec<Change>),
}

// === impl ZoneIndex ===

impl ZoneIndex {
    /// Told whenever [`ZoneIndex::update`] has something.
    #[must_use]
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// What has changed since this was called last; none until both lists were complete.
    pub fn update(&mut self) -> Option<Update> {
        if !(self.imports_listed && self.slices_listed) {
            return None;
        }
        let none = Unpublished::Some(HashSet::new());
        Some(match mem::replace(&mut self.unpublished, none) {
            Unpublished::All => Update::All(self.services().cloned().collect()),
            Unpublished::Some(keys) => {
                let changes = keys.into_iter().map(|key| self.change(key));
                Update::Some(changes.collect())
            }
        })
    }

    /// All services that are known, whether the lists were complete or not.
    pub(crate) fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.known
            .values()
            .filter_map(|known| known.service.as_ref())
    }

    fn change(&self, key: Key) -> Change {
        let known = self.known.get(&key);
        match known.and_then(|known| known.service.clone()) {
            Some(service) => Change::Put(service),
            None => Change::Remove {
                namespace: key.namespace,
                name: key.name,
            },
        }
    }

    fn rebuild_all(&mut self) {
        self.known
            .retain(|_, known| known.import.is_some() || !known.slices.is_empty());
        for (key, known) in &mut self.known {
            let service = known.build(key);
            // One copy, that of the snapshot, of what is the same.
            if service != known.service {
                known.service = service;
            }
        }
        self.unpublished = Unpublished::All;
        self.changed.notify_one();
    }

    fn rebuild(&mut self, key: &Key) {
        let Some(known) = self.known.get_mut(key) else {
            return;
        };
        let service = known.build(key);
        let same = service == known.service;
        known.service = service;
        if known.import.is_none() && known.slices.is_empty() {
            self.known.remove(key);
        }
        if same {
            return;
        }
        if let Unpublished::Some(keys) = &mut self.unpublished {
            keys.insert(key.clone());
        }
        self.changed.notify_one();
    }

    /// The service that the slice belonged to.
    fn unlink(&mut self, slice: &Key) -> Option<Key> {
        let old = self.slices.remove(slice)?;
        let service = Key::new(slice.namespace.as_str(), old.service.as_ref());
        if let Some(known) = self.known.get_mut(&service) {
            let mut slices = known.slices.iter();
            if let Some(position) = slices.position(|slice| Arc::ptr_eq(slice, &old)) {
                known.slices.remove(position);
            }
        }
        Some(service)
    }

    fn link(&mut self, key: &Key, slice: &Arc<SliceState>) -> Key {
        let service = Key::new(key.namespace.as_str(), slice.service.as_ref());
        let known = self.known.entry(service.clone()).or_default();
        // Most services have one, and `push` would make room for four.
        known.slices.reserve_exact(1);
        known.slices.push(Arc::clone(slice));
        self.slices.insert(key.clone(), Arc::clone(slice));
        service
    }
}

// === impl Known ===

impl Known {
    fn build(&self, key: &Key) -> Option<Arc<Service>> {
        let import = self.import.as_ref()?;
        let kind = if import.headless {
            let slices = self.slices.iter();
            ImportKind::Headless {
                endpoints: slices.flat_map(|slice| slice.endpoints()).collect(),
            }
        } else {
            ImportKind::ClusterSetIp {
                addresses: import.addresses.to_vec(),
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
}

impl Index<ImportState> for ZoneIndex {
    fn apply(&mut self, key: &Key, import: &Arc<ImportState>) {
        let known = self.known.entry(key.clone()).or_default();
        known.import = Some(Arc::clone(import));
        self.rebuild(key);
    }

    fn delete(&mut self, key: &Key) {
        if let Some(known) = self.known.get_mut(key) {
            known.import = None;
        }
        self.rebuild(key);
    }

    fn reset(&mut self, all: &BTreeMap<Key, Arc<ImportState>>) {
        for known in self.known.values_mut() {
            known.import = None;
        }
        for (key, import) in all {
            let known = self.known.entry(key.clone()).or_default();
            known.import = Some(Arc::clone(import));
        }
        self.imports_listed = true;
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
        self.slices.clear();
        for known in self.known.values_mut() {
            known.slices.clear();
        }
        for (key, slice) in all {
            self.link(key, slice);
        }
        self.slices_listed = true;
        self.rebuild_all();
    }
}

#[cfg(test)]
mod tests;
