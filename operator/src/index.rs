//! Everything that the operator has seen of its cluster, and which services a change concerns.
//!
//! ```text
//! ServiceExport ─┐
//! Service ───────┤ apply / delete / reset          ┌─► take_dirty: services to look at
//! EndpointSlice ─┼────────────────────────► Index ─┤
//! ClusterExport ─┤                                 └─► view(service): all there is about one
//! Namespace ─────┘
//! ```
//!
//! Synchronous and without I/O. Every replica of the operator keeps one up to date; only the
//! leader acts on it. The answers to the leader's own writes are applied too, so that a look right
//! after a write does not see the past.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tombolo_catalog::{Policies, PortClaim, ServiceName, derived_service_name};
use tombolo_crds::ClusterExport;
use tombolo_crds::mcs::{ServiceExport, ServiceImport};
use tombolo_crds::well_known::IMPORT_LABEL;

use crate::gateways::{Change, Listing};
use crate::mcs::McsVersion;
use crate::plan::ownership::{self, PortOwner};
use crate::plan::view::{EndpointService, NamespaceState, View};

mod indexed;
mod names;
mod packed;
mod ports_since;
mod store;
#[cfg(test)]
mod tests;

pub use indexed::Indexed;
use indexed::name_of;
use names::Names;
pub use packed::Packed;
use ports_since::PortsSince;
pub use store::Kind;
use store::Store;

/// All state of a cluster that decides what the operator writes.
#[derive(Debug)]
pub struct Index {
    cluster: Arc<str>,
    /// Tombolo's own.
    namespace: Arc<str>,
    mcs: McsVersion,
    exports: Store<ServiceExport>,
    imports: Store<ServiceImport>,
    services: Store<Service>,
    slices: Store<EndpointSlice>,
    cluster_exports: Store<ClusterExport>,
    namespaces: Store<Namespace>,
    /// Names of the slices of each Service, by the label that kube-proxy goes by.
    slices_of: Names,
    /// Names of the ClusterExports of each service, which are all in Tombolo's namespace.
    exporters: Names,
    /// Whose derived Service has this name: also for one that somebody else put there.
    derived: BTreeMap<ServiceName, ServiceName>,
    /// Names of the Services of other clusters' endpoints, by import.
    endpoints: Names,
    /// Names of these Services' slices, by import.
    endpoint_slices: Names,
    ports_since: PortsSince,
    /// How many ServiceImports are ours, and how many ServiceExports are in conflict: to count them
    /// all would be to unpack them all.
    own_imports: usize,
    conflicts: usize,
    gateways: Arc<[Listing]>,
    policies: Policies,
    /// Clusters that cannot be reached, and what their Peers say of it.
    stale: Arc<BTreeMap<String, String>>,
    dirty: BTreeSet<ServiceName>,
    awaited: BTreeSet<Kind>,
}

/// How many of what there is, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// ServiceExports.
    pub exports: usize,
    /// ServiceImports that this operator wrote.
    pub imports: usize,
    /// ServiceExports whose condition `Conflict` is True.
    pub conflicts: usize,
    /// Services that stand for endpoints of other clusters' headless Services.
    pub endpoints: usize,
}

// === impl Index ===

impl Index {
    /// Nothing is known yet of the cluster with this ID, where Tombolo is in `namespace`, and which
    /// has this version of the MCS-API.
    #[must_use]
    pub fn new(cluster: &str, namespace: &str, mcs: McsVersion) -> Self {
        Self {
            cluster: cluster.into(),
            namespace: namespace.into(),
            mcs,
            exports: Store::default(),
            imports: Store::default(),
            services: Store::default(),
            slices: Store::default(),
            cluster_exports: Store::default(),
            namespaces: Store::default(),
            slices_of: Names::default(),
            exporters: Names::default(),
            derived: BTreeMap::new(),
            endpoints: Names::default(),
            endpoint_slices: Names::default(),
            ports_since: PortsSince::default(),
            own_imports: 0,
            conflicts: 0,
            gateways: Arc::from([]),
            policies: Policies::default(),
            stale: Arc::default(),
            dirty: BTreeSet::new(),
            awaited: Kind::ALL.into_iter().collect(),
        }
    }

    /// Whether every kind of object was listed at least once. Before that nothing may be written:
    /// what is not known might be there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.awaited.is_empty()
    }

    /// An object is there, or changed. One that is older than what is known says nothing.
    pub fn apply<T: Indexed>(&mut self, name: ServiceName, object: Arc<Packed<T>>) {
        let news = T::store(self).apply(name.clone(), Arc::clone(&object));
        if let Some(before) = news {
            T::changed(self, &name, before.as_deref(), Some(&object));
        }
    }

    /// An object is there, or changed: the answer to a write says so before any watch does.
    pub fn observe<T: Indexed>(&mut self, object: &T) {
        if let Some(packed) = Packed::new(object) {
            self.apply(name_of(object), Arc::new(packed));
        }
    }

    /// An object is gone.
    pub fn delete<T: Indexed>(&mut self, name: &ServiceName) {
        if let Some(before) = T::store(self).delete(name) {
            T::changed(self, name, Some(&before), None);
        }
    }

    /// These are all objects of a kind.
    pub fn reset<T: Indexed>(&mut self, all: BTreeMap<ServiceName, Arc<Packed<T>>>) {
        let known = T::store(self).names();
        let gone: Vec<_> = known
            .filter(|name| !all.contains_key(*name))
            .cloned()
            .collect();
        for gone in gone {
            self.delete::<T>(&gone);
        }
        for (name, object) in all {
            self.apply(name, object);
        }
        self.awaited.remove(&T::KIND);
    }

    /// The gateway replicas that are alive, and what is new about them.
    pub fn set_gateways(
        &mut self,
        listings: impl IntoIterator<Item = Listing>,
        changes: &BTreeSet<Change>,
    ) {
        self.awaited.remove(&Kind::Gateways);
        let before = std::mem::replace(&mut self.gateways, listings.into_iter().collect());
        let refused_before = refused_endpoints(&before);
        let refused_now = refused_endpoints(&self.gateways);
        let changed = refused_before.symmetric_difference(&refused_now);
        self.dirty
            .extend(changed.map(|(service, _)| service.clone()));
        for change in changes {
            match *change {
                Change::Replicas => {
                    let exported = self.exporters.services();
                    let with_peers: Vec<_> = exported
                        .filter(|name| self.has_peers(name))
                        .cloned()
                        .collect();
                    self.dirty.extend(with_peers);
                }
                Change::Listening { after, upto } => {
                    self.dirty
                        .extend(self.ports_since.between(after, upto).cloned());
                }
                Change::RefusedEndpoints => {}
            }
        }
    }

    /// The TrafficPolicies, all of them.
    pub fn set_policies(&mut self, policies: Policies) {
        self.awaited.remove(&Kind::TrafficPolicy);
        let is_exact = |policies: &Policies, name| policies.rules(name).exact;
        let changed = self.exporters.services();
        let changed =
            changed.filter(|name| is_exact(&self.policies, name) != is_exact(&policies, name));
        self.dirty.extend(changed.cloned());
        self.policies = policies;
    }

    /// The TrafficPolicies.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Whether there is a ServiceImport of this name, ours or not.
    #[must_use]
    pub fn has_import(&self, name: &ServiceName) -> bool {
        self.imports.has(name)
    }

    /// The clusters that cannot be reached, and what is to be said of it.
    pub fn set_stale(&mut self, stale: BTreeMap<String, String>) {
        self.awaited.remove(&Kind::Peer);
        let changed: BTreeSet<&String> = stale
            .iter()
            .filter(|(cluster, message)| self.stale.get(*cluster) != Some(message))
            .map(|(cluster, _)| cluster)
            .chain(self.stale.keys().filter(|c| !stale.contains_key(*c)))
            .collect();
        let concerned = self.exporters.services().filter(|name| {
            let mut exports = self.cluster_exports_of(name);
            exports.any(|export| changed.contains(&export.spec.cluster))
        });
        if !changed.is_empty() {
            let concerned: Vec<_> = concerned.cloned().collect();
            self.dirty.extend(concerned);
        }
        self.stale = Arc::new(stale);
    }

    /// The services that something changed for since the last call.
    pub fn take_dirty(&mut self) -> BTreeSet<ServiceName> {
        std::mem::take(&mut self.dirty)
    }

    /// Every service that there is anything to do for, or was.
    #[must_use]
    pub fn all_names(&self) -> BTreeSet<ServiceName> {
        let derived = self
            .services
            .iter()
            .filter_map(|service| import_of(&service));
        let exports = self.exports.names().cloned();
        let imports = self.imports.names().cloned();
        exports
            .chain(imports)
            .chain(self.exporters.services().cloned())
            .chain(derived)
            .chain(self.endpoints.services().cloned())
            .chain(self.endpoint_slices.services().cloned())
            .collect()
    }

    /// All that is known about one service.
    #[must_use]
    pub fn view(&self, name: &ServiceName) -> View {
        let derived = derived_name(name);
        let own = self.slices.with_prefix(&derived.namespace, &derived.name);
        // Whatever their names: kube-proxy goes by the label.
        let others = self.slices_of(&derived).filter(|slice| {
            let name = slice.metadata.name.as_deref().unwrap_or_default();
            ownership::is_our_slice(slice) && !name.starts_with(&derived.name)
        });
        View {
            cluster: Arc::clone(&self.cluster),
            mcs: self.mcs,
            name: name.clone(),
            namespace: self.namespace_state(&name.namespace),
            export: self.exports.get(name),
            service: self.services.get(name),
            service_slices: self.slices_of(name).collect(),
            cluster_exports: self.cluster_exports_of(name).collect(),
            import: self.imports.get(name),
            derived: self.services.get(&derived),
            slices: own.chain(others).collect(),
            gateways: Arc::clone(&self.gateways),
            ports_since: self.ports_since.get(&derived),
            system: Arc::clone(&self.namespace),
            endpoints: self.endpoints_of(name).collect(),
            endpoint_slices: self.endpoint_slices_of(name).collect(),
            addresses_exhausted: None,
            exact: self.policies.rules(name).exact,
            stale: Arc::clone(&self.stale),
            withdrawal_unconfirmed: false,
            failure: None,
        }
    }

    /// The gateway ports that derived Services, and those of endpoints, say are theirs.
    #[must_use]
    pub fn port_claims(&self) -> Vec<PortClaim> {
        let ours = self.services.iter().filter_map(|service| {
            let owner = match ownership::is_derived(&service) {
                true => PortOwner::of_import(import_of(&service)?),
                false => ownership::endpoint_of(&service, &self.namespace)?,
            };
            Some(ports_since::claims(&service, owner).collect::<Vec<_>>())
        });
        ours.flatten().collect()
    }

    /// How many service addresses each import has for endpoints of other clusters.
    pub fn endpoint_addresses(&self) -> impl Iterator<Item = (ServiceName, usize)> {
        let of_imports = self.endpoints.counts();
        of_imports.map(|(import, services)| (import.clone(), services))
    }

    /// How many of what there is.
    #[must_use]
    pub fn census(&self) -> Census {
        Census {
            exports: self.exports.len(),
            imports: self.own_imports,
            conflicts: self.conflicts,
            endpoints: self.endpoints.counts().map(|(_, services)| services).sum(),
        }
    }

    fn namespace_state(&self, namespace: &str) -> NamespaceState {
        let Some(namespace) = self.namespaces.get(&cluster_scoped(namespace)) else {
            return NamespaceState::Absent;
        };
        if namespace.metadata.deletion_timestamp.is_some() {
            return NamespaceState::Terminating;
        }
        NamespaceState::Present
    }

    fn slices_of<'a>(
        &'a self,
        service: &'a ServiceName,
    ) -> impl Iterator<Item = Arc<EndpointSlice>> + 'a {
        let names = self.slices_of.of(service);
        self.slices.named(&service.namespace, names)
    }

    fn endpoints_of(&self, import: &ServiceName) -> impl Iterator<Item = EndpointService> {
        let names = self.endpoints.of(import).iter();
        names.filter_map(|name| {
            let name = ServiceName::new(&*self.namespace, name);
            Some(EndpointService {
                service: self.services.get(&name)?,
                ports_since: self.ports_since.get(&name),
            })
        })
    }

    fn endpoint_slices_of(&self, import: &ServiceName) -> impl Iterator<Item = Arc<EndpointSlice>> {
        let names = self.endpoint_slices.of(import);
        self.slices.named(&self.namespace, names)
    }

    fn cluster_exports_of(
        &self,
        service: &ServiceName,
    ) -> impl Iterator<Item = Arc<ClusterExport>> {
        let names = self.exporters.of(service);
        self.cluster_exports.named(&self.namespace, names)
    }

    fn has_peers(&self, service: &ServiceName) -> bool {
        self.cluster_exports_of(service)
            .any(|export| export.spec.cluster != *self.cluster)
    }

    /// Something changed that makes `name` a service of the clusterset, or no longer.
    fn touch(&mut self, name: &ServiceName) {
        let known = self.exports.has(name) || self.imports.has(name) || self.exporters.has(name);
        if known {
            self.derived.insert(derived_name(name), name.clone());
        } else {
            self.derived.remove(&derived_name(name));
        }
        self.dirty.insert(name.clone());
    }

    fn touch_derived(&mut self, service: &ServiceName) {
        if let Some(name) = self.derived.get(service) {
            self.dirty.insert(name.clone());
        }
    }

    /// Touches a Service that is exported: any other's pods may come and go unnoticed.
    fn touch_exported(&mut self, service: &ServiceName) {
        if self.exports.has(service) {
            self.dirty.insert(service.clone());
        }
    }
}

fn refused_endpoints(gateways: &[Listing]) -> BTreeSet<(ServiceName, IpAddr)> {
    let refused = gateways
        .iter()
        .flat_map(|gateway| &gateway.refused_endpoints);
    refused
        .map(|(service, address)| (service.clone(), *address))
        .collect()
}

fn derived_name(name: &ServiceName) -> ServiceName {
    ServiceName::new(
        &name.namespace,
        derived_service_name(&name.namespace, &name.name),
    )
}

fn cluster_scoped(name: &str) -> ServiceName {
    ServiceName::new("", name)
}

fn import_of(service: &Service) -> Option<ServiceName> {
    let import = service.metadata.labels.as_ref()?.get(IMPORT_LABEL)?;
    Some(ServiceName::new(
        service.metadata.namespace.as_deref()?,
        import,
    ))
}
