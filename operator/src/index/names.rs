//! Names of objects by the service that they belong to.

use std::collections::BTreeMap;

use tombolo_catalog::ServiceName;

/// Sorted lists: most services have one object of a kind, and a set of one takes as much memory as
/// one of eleven.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<ServiceName, Vec<String>>);

// === impl Names ===

impl Names {
    pub(super) fn of(&self, service: &ServiceName) -> &[String] {
        self.0.get(service).map_or(&[], Vec::as_slice)
    }

    pub(super) fn has(&self, service: &ServiceName) -> bool {
        self.0.contains_key(service)
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.0.keys()
    }

    pub(super) fn services_in<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a ServiceName> {
        let first = ServiceName::new(namespace, "");
        let services = self.0.range(first..).map(|(service, _)| service);
        services.take_while(move |service| service.namespace == namespace)
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (&ServiceName, usize)> {
        self.0.iter().map(|(service, names)| (service, names.len()))
    }

    pub(super) fn insert(&mut self, service: ServiceName, name: String) {
        let names = self.0.entry(service).or_default();
        if names.is_empty() {
            names.reserve_exact(1);
        }
        if let Err(place) = names.binary_search(&name) {
            names.insert(place, name);
        }
    }

    pub(super) fn remove(&mut self, service: &ServiceName, name: &str) {
        let Some(names) = self.0.get_mut(service) else {
            return;
        };
        if let Ok(place) = names.binary_search_by(|known| known.as_str().cmp(name)) {
            names.remove(place);
        }
        if names.is_empty() {
            self.0.remove(service);
        }
    }
}

#[cfg(test)]
mod tests;
