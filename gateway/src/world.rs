//! What the watches have told, and the snapshots that follow from it.
//!
//! ```text
//! watch ─► Table ─┐ (changed)
//! watch ─► Table ─┼──────────► World::refresh ─► Snapshots ─► data plane
//! watch ─► Table ─┘
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::watch;
use tombolo_catalog::{Policies, ServiceName};
use tombolo_crds::{ClusterExportSpec, TrafficPolicy};
use tombolo_runtime::watch::{Index, Key};

use crate::endpoints::{Endpoints, Guard, Slice};
use crate::places::{NodeRecord, Places};
use crate::pods::{PodRecord, Pods};
use crate::routes::{DerivedService, Routes};
use crate::rulebook::Rulebook;

/// What the data plane reads: swapped whole, never locked.
#[derive(Debug, Default)]
pub struct Snapshots {
    /// Near side.
    pub routes: ArcSwap<Routes>,
    /// Far side, and the pods.
    pub endpoints: ArcSwap<Endpoints>,
    /// Tells that `endpoints` was swapped.
    pub endpoints_changed: watch::Sender<()>,
    /// What the TrafficPolicies say.
    pub rules: ArcSwap<Rulebook>,
    /// How many gateways this cluster has; 0 if that is not known.
    pub replicas: AtomicU32,
}

/// The objects of one kind as last told.
#[derive(Debug)]
pub struct Table<T> {
    objects: BTreeMap<Key, Arc<T>>,
    version: u64,
    changed: watch::Sender<()>,
}

/// A [`Table`] that a watch feeds and others read.
pub type SharedTable<T> = Arc<Mutex<Table<T>>>;

/// All that the data plane follows from.
#[derive(Debug)]
pub struct World {
    own_cluster: String,
    namespace: String,
    guard: Guard,
    changed: watch::Sender<()>,
    snapshots: Arc<Snapshots>,
    built: Mutex<Built>,
    /// Derived Services.
    pub services: SharedTable<DerivedService>,
    /// ClusterExports of all clusters, our own too.
    pub exports: SharedTable<ClusterExportSpec>,
    /// EndpointSlices.
    pub slices: SharedTable<Slice>,
    /// Pods.
    pub pods: SharedTable<PodRecord>,
    /// Nodes that say where they are.
    pub nodes: SharedTable<NodeRecord>,
    /// TrafficPolicies.
    pub policies: SharedTable<TrafficPolicy>,
}

/// Of which versions the present snapshots are.
#[derive(Debug, Default)]
struct Built {
    services: u64,
    exports: u64,
    slices: u64,
    pods: u64,
    nodes: u64,
    policies: u64,
    pods_index: Arc<Pods>,
}

// === impl Table ===

impl<T> Table<T> {
    /// An empty table that tells `changed` of each change.
    #[must_use]
    pub fn new(changed: watch::Sender<()>) -> Self {
        Self {
            objects: BTreeMap::new(),
            version: 0,
            changed,
        }
    }

    /// The objects by key.
    #[must_use]
    pub fn objects(&self) -> &BTreeMap<Key, Arc<T>> {
        &self.objects
    }

    /// The objects.
    #[must_use]
    pub fn values(&self) -> Vec<Arc<T>> {
        self.objects.values().cloned().collect()
    }

    /// Grows with each change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    fn touch(&mut self) {
        self.version += 1;
        self.changed.send_replace(());
    }
}

impl<T: Send + Sync + 'static> Index<T> for Table<T> {
    fn apply(&mut self, key: &Key, value: &Arc<T>) {
        self.objects.insert(key.clone(), Arc::clone(value));
        self.touch();
    }

    fn delete(&mut self, key: &Key) {
        self.objects.remove(key);
        self.touch();
    }

    fn reset(&mut self, all: &BTreeMap<Key, Arc<T>>) {
        self.objects.clone_from(all);
        self.touch();
    }
}

// === impl World ===

impl World {
    /// Knows nothing yet. Endpoints in `allowed` may be dialled without being pods; `never` ones
    /// may not in any case (this gateway, the API server's service address).
    #[must_use]
    pub fn new(own_cluster: &str, allowed: Vec<IpNet>, never: HashSet<IpAddr>) -> Self {
        let changed = watch::Sender::new(());
        Self {
            own_cluster: own_cluster.to_owned(),
            namespace: String::new(),
            guard: Guard { allowed, never },
            snapshots: Arc::default(),
            built: Mutex::default(),
            services: shared(&changed),
            exports: shared(&changed),
            slices: shared(&changed),
            pods: shared(&changed),
            nodes: shared(&changed),
            policies: shared(&changed),
            changed,
        }
    }

    /// The same, where Tombolo is in `namespace`.
    #[must_use]
    pub fn in_namespace(self, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..self
        }
    }

    /// What the data plane reads.
    #[must_use]
    pub fn snapshots(&self) -> &Arc<Snapshots> {
        &self.snapshots
    }

    /// One more table of which [`World::changes`] tells.
    #[must_use]
    pub fn table<T>(&self) -> SharedTable<T> {
        shared(&self.changed)
    }

    /// Tells of each change of any table.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Makes new snapshots of what has changed.
    pub fn refresh(&self) {
        // Held throughout, so that of two refreshes the later one is the last to be stored.
        let mut built = self.built.lock();
        let services_changed = is_news(&self.services, &mut built.services);
        let exports_changed = is_news(&self.exports, &mut built.exports);
        let slices_changed = is_news(&self.slices, &mut built.slices);
        let pods_changed =
            is_news(&self.pods, &mut built.pods) | is_news(&self.nodes, &mut built.nodes);
        let policies_changed = is_news(&self.policies, &mut built.policies);
        if policies_changed || services_changed {
            self.refresh_rules();
        }
        if !(services_changed || exports_changed || slices_changed || pods_changed) {
            return;
        }

        let services = self.services.lock().values();
        let exports = self.exports.lock().values();
        if services_changed || exports_changed {
            let routes = Routes::build(
                &self.own_cluster,
                services.iter().map(AsRef::as_ref),
                exports.iter().map(AsRef::as_ref),
            );
            self.snapshots.routes.store(Arc::new(routes));
        }

        if pods_changed {
            let places = Arc::new(Places::build(self.nodes.lock().values()));
            let pods = Pods::build(self.pods.lock().values()).with_places(places);
            let replicas = pods.gateways(&self.namespace);
            self.snapshots.replicas.store(replicas, Ordering::Relaxed);
            built.pods_index = Arc::new(pods);
        }
        let slices = self.slices.lock().values();
        let own = exports
            .iter()
            .map(AsRef::as_ref)
            .filter(|export: &&ClusterExportSpec| export.cluster == self.own_cluster);
        let affinity = affinity(&services);
        let endpoints = Endpoints::build(
            own.map(|export| (export, affinity(export))),
            slices.iter().map(AsRef::as_ref),
            Arc::clone(&built.pods_index),
            self.guard(&services, &slices),
            &self.snapshots.endpoints.load(),
        );
        self.snapshots.endpoints.store(Arc::new(endpoints));
        self.snapshots.endpoints_changed.send_replace(());
    }

    fn refresh_rules(&self) {
        let policies = Policies::new(&self.namespace, self.policies.lock().values());
        let services = self.services.lock().values();
        let imports = services.iter().map(|service| &service.import);
        let rules = Rulebook::build(&policies, imports);
        self.snapshots.rules.store(Arc::new(rules));
    }

    fn guard(&self, services: &[Arc<DerivedService>], slices: &[Arc<Slice>]) -> Guard {
        let mut guard = self.guard.clone();
        guard
            .never
            .extend(services.iter().flat_map(|service| &service.addresses));
        // The API server writes its own addresses here, and nobody else may.
        let api_server = ServiceName::new("default", "kubernetes");
        let of_api_server = slices.iter().filter(|slice| slice.service == api_server);
        guard
            .never
            .extend(of_api_server.flat_map(|slice| slice.ready.iter().chain(&slice.terminating)));
        guard
    }
}

// What the import says goes before what this cluster's Service says: the exporters agreed on it.
fn affinity(services: &[Arc<DerivedService>]) -> impl Fn(&ClusterExportSpec) -> bool {
    let of_imports: HashMap<ServiceName, bool> = services
        .iter()
        .map(|service| (service.import.clone(), service.affinity))
        .collect();
    move |export| {
        let of_import = of_imports.get(&ServiceName::from(export));
        of_import
            .copied()
            .unwrap_or_else(|| export.session_affinity.as_deref() == Some("ClientIP"))
    }
}

// Objects read after this may be newer still: then they are news again, and built twice.
fn is_news<T>(table: &SharedTable<T>, built: &mut u64) -> bool {
    let version = table.lock().version;
    std::mem::replace(built, version) != version
}

fn shared<T>(changed: &watch::Sender<()>) -> SharedTable<T> {
    Arc::new(Mutex::new(Table::new(changed.clone())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::endpoints::{NoEndpoint, SlicePort};
    use crate::routes::DerivedPort;
    use crate::service::Protocol;
    use crate::testing::{client, export_of, pick_at};

    use super::*;

    #[test]
    fn api_server_and_clusterset_ips_are_never_dialled() {
        let allowed = vec!["10.0.0.0/8".parse().unwrap()];
        let world = World::new("east", allowed, HashSet::from([ip("10.1.1.1")]));
        world
            .exports
            .lock()
            .apply(&key("web"), &Arc::new(export_of("east", "demo", "web")));
        world
            .services
            .lock()
            .apply(&key("derived"), &Arc::new(derived()));
        let kubernetes = slice("default", "kubernetes", "10.3.3.3");
        world
            .slices
            .lock()
            .apply(&key("kubernetes"), &Arc::new(kubernetes));
        for (address, dialled) in [
            ("10.1.1.1", false),
            ("10.2.2.2", false),
            ("10.3.3.3", false),
            ("10.4.4.4", true),
        ] {
            let hand_made = slice("demo", "web", address);
            world.slices.lock().apply(&key("web"), &Arc::new(hand_made));
            world.refresh();

            let picked = pick(&world);

            assert_eq!(picked.is_ok(), dialled, "{address}: {picked:?}");
        }
    }

    #[test]
    fn exports_of_other_clusters_are_not_served_here() {
        let world = World::new("west", Vec::new(), HashSet::new());
        world
            .exports
            .lock()
            .apply(&key("web"), &Arc::new(export_of("east", "demo", "web")));
        world
            .services
            .lock()
            .apply(&key("derived"), &Arc::new(derived()));
        world.refresh();

        assert_eq!(pick(&world), Err(NoEndpoint::NotExported));
        let routes = world.snapshots().routes.load();
        let route = routes.get(Protocol::Tcp, 10_000).unwrap();
        assert_eq!(route.clusters(), ["east".into()]);
    }

    #[test]
    fn affinity_at_the_far_side_is_that_of_the_import() {
        let in_turn = BTreeSet::from([ip("10.4.4.4"), ip("10.5.5.5")]);
        for (of_import, of_service, expected) in [
            (Some(true), None, 1),
            (Some(false), Some("ClientIP"), 2),
            (None, Some("ClientIP"), 1),
            (None, Some("None"), 2),
            (None, None, 2),
        ] {
            let world = World::new("east", vec!["10.0.0.0/8".parse().unwrap()], HashSet::new());
            let mut export = export_of("east", "demo", "web");
            export.session_affinity = of_service.map(str::to_owned);
            world.exports.lock().apply(&key("web"), &Arc::new(export));
            let mut hand_made = slice("demo", "web", "10.4.4.4");
            hand_made.ready.push(ip("10.5.5.5"));
            world.slices.lock().apply(&key("web"), &Arc::new(hand_made));
            if let Some(affinity) = of_import {
                let derived = DerivedService {
                    affinity,
                    ..derived()
                };
                world
                    .services
                    .lock()
                    .apply(&key("derived"), &Arc::new(derived));
            }
            world.refresh();

            let endpoints = world.snapshots().endpoints.load();
            let web = ServiceName::new("demo", "web");
            let first = |_| {
                let picked = pick_at(&endpoints, &web, 80, Some(client(3)));
                picked.unwrap()[0].ip()
            };
            let firsts: BTreeSet<_> = (0..4).map(first).collect();

            assert_eq!(firsts.len(), expected, "{of_import:?} {of_service:?}");
            assert!(firsts.is_subset(&in_turn));
        }
    }

    #[test]
    fn a_refresh_without_news_keeps_the_snapshots() {
        let world = World::new("west", Vec::new(), HashSet::new());
        world
            .services
            .lock()
            .apply(&key("derived"), &Arc::new(derived()));
        world.refresh();
        let before = world.snapshots().routes.load_full();

        world.refresh();

        assert!(Arc::ptr_eq(&before, &world.snapshots().routes.load_full()));
    }

    fn pick(world: &World) -> Result<Vec<std::net::SocketAddr>, NoEndpoint> {
        let endpoints = world.snapshots().endpoints.load();
        pick_at(&endpoints, &ServiceName::new("demo", "web"), 80, None)
    }

    fn derived() -> DerivedService {
        DerivedService {
            import: ServiceName::new("demo", "web"),
            endpoint: None,
            addresses: vec![ip("10.2.2.2")],
            affinity: false,
            ports: vec![DerivedPort {
                protocol: Protocol::Tcp,
                port: 80,
                gateway_port: 10_000,
            }],
        }
    }

    fn slice(namespace: &str, service: &str, ready: &str) -> Slice {
        Slice {
            service: ServiceName::new(namespace, service),
            hostnames: BTreeMap::new(),
            ports: vec![SlicePort {
                name: "http".to_owned(),
                protocol: Protocol::Tcp,
                port: Some(8080),
            }],
            ready: vec![ip(ready)],
            terminating: Vec::new(),
            unready: Vec::new(),
        }
    }

    fn key(name: &str) -> Key {
        Key::new("demo", name)
    }

    fn ip(address: &str) -> IpAddr {
        address.parse().unwrap()
    }
}
