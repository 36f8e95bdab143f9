//! What was applied, and made of it by the API server what is there.
//!
//! An older CRD drops fields that it does not know, a webhook changes others, and a user's label
//! stays beside ours: the object then never is as it was applied. Applying the same again would
//! change nothing, so it is not done while the object is as that left it. Of an object that is as it
//! was applied, which is nearly every one, nothing is remembered once its service is at rest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use kube::Resource;
use tombolo_catalog::ServiceName;

use crate::plan::action::Action;
use crate::plan::view::View;

#[cfg(test)]
mod tests;

/// What was applied last to each object of a service, and the version that came of it.
#[derive(Debug, Default)]
pub struct Settled(HashMap<ServiceName, BTreeMap<Target, (u64, String)>>);

/// The object that an action is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    kind: &'static str,
    name: ServiceName,
}

// === impl Settled ===

impl Settled {
    /// Whether the action would change nothing.
    #[must_use]
    pub fn has(&self, action: &Action, view: &View) -> bool {
        let Some(version) = version_in(view, action) else {
            return false;
        };
        let known = self.0.get(&view.name);
        let known = known.and_then(|known| known.get(&Target::of(action)));
        known.is_some_and(|(applied, left)| *applied == fingerprint(action) && *left == version)
    }

    /// The action was carried out, and left the object like this.
    pub fn record(&mut self, action: &Action, after: &View) {
        let known = self.0.entry(after.name.clone()).or_default();
        if action.is_removal() {
            known.remove(&Target::of(action));
        } else if let Some(version) = version_in(after, action) {
            known.insert(Target::of(action), (fingerprint(action), version));
        }
    }

    /// There is nothing to write for the service, and this is what would be written again without
    /// the knowledge that it changes nothing. All else about it is forgotten.
    pub fn rest(&mut self, service: &ServiceName, needed: &BTreeSet<Target>) {
        if let Some(known) = self.0.get_mut(service) {
            known.retain(|target, _| needed.contains(target));
            if known.is_empty() {
                self.0.remove(service);
            }
        }
    }

    /// Forgets everything: another replica has written since.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

// === impl Target ===

impl Target {
    /// What `action` is about.
    #[must_use]
    pub fn of(action: &Action) -> Self {
        let name = match action {
            Action::ApplyClusterExport(export) => name_of(&**export),
            Action::ApplyImport(import) | Action::ApplyImportStatus(import) => name_of(&**import),
            Action::ApplyDerived(service) | Action::ApplyEndpoint(service) => name_of(&**service),
            Action::ApplySlice(slice) => name_of(&**slice),
            Action::ApplyExportStatus(export) => name_of(&**export),
            Action::Withdraw(withdrawal) => ServiceName::new("", &withdrawal.object),
            Action::Delete(deletion) => deletion.name.clone(),
        };
        Self {
            kind: action.kind(),
            name,
        }
    }
}

fn version_in(view: &View, action: &Action) -> Option<String> {
    match action {
        Action::ApplyClusterExport(export) => {
            let mut found = view.cluster_exports.iter();
            version(&**found.find(|found| found.metadata.name == export.metadata.name)?)
        }
        Action::ApplyImport(_) | Action::ApplyImportStatus(_) => version(&**view.import.as_ref()?),
        Action::ApplyDerived(_) => version(&**view.derived.as_ref()?),
        Action::ApplyEndpoint(service) => {
            let mut found = view.endpoints.iter().map(|endpoint| &endpoint.service);
            version(&**found.find(|found| found.metadata.name == service.metadata.name)?)
        }
        Action::ApplySlice(slice) => {
            let mut found = view.slices.iter().chain(&view.endpoint_slices);
            version(&**found.find(|found| found.metadata.name == slice.metadata.name)?)
        }
        Action::ApplyExportStatus(_) => version(&**view.export.as_ref()?),
        Action::Withdraw(_) | Action::Delete(_) => None,
    }
}

fn version(object: &impl Resource) -> Option<String> {
    object.meta().resource_version.clone()
}

fn name_of(object: &impl Resource) -> ServiceName {
    let metadata = object.meta();
    ServiceName::new(
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

fn fingerprint(action: &Action) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{action:?}").hash(&mut hasher);
    hasher.finish()
}
