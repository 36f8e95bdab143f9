//! A cluster's gateway without Kubernetes: its tables are filled by hand, its links and its TCP are
//! real, on addresses of its own in 127.0.0.0/8 or on `::1`.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tempfile::TempDir;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tombolo_catalog::{EndpointName, ServiceName};
use tombolo_crds::mcs::{ServiceImportType, ServicePort};
use tombolo_crds::traffic_policy::TargetRef;
use tombolo_crds::{ClusterExportSpec, TrafficPolicy, TrafficPolicySpec};
use tombolo_gateway::data_plane::{DataPlane, Limits};
use tombolo_gateway::endpoints::{Slice, SlicePort};
use tombolo_gateway::listeners::Listeners;
use tombolo_gateway::metrics::{DataPlaneMetrics, Direction, ReasonLabels};
use tombolo_gateway::pods::PodRecord;
use tombolo_gateway::routes::{DerivedPort, DerivedService};
use tombolo_gateway::service::Protocol;
use tombolo_gateway::world::World;
use tombolo_link::ca::Ca;
use tombolo_link::{CaBundle, IdentityFiles, Incoming, LinkConfig, Links, PeerConfig};
use tombolo_runtime::tasks::Tasks;
use tombolo_runtime::watch::{Index, Key};

pub(crate) const NAMESPACE: &str = "demo";
pub(crate) const PORT: u16 = 80;
/// The UDP port of each service.
pub(crate) const UDP_PORT: u16 = 53;

/// A cluster: its CA, and whatever replicas are started of it.
pub(crate) struct Cluster {
    pub(crate) name: &'static str,
    ca: Ca,
    identity: TempDir,
}

/// A gateway replica.
pub(crate) struct Site {
    pub(crate) links: Links,
    pub(crate) metrics: DataPlaneMetrics,
    /// Where clients of imports connect to.
    pub(crate) address: IpAddr,
    /// Whether what is exported and imported from now on has session affinity.
    pub(crate) affinity: bool,
    cluster: &'static str,
    world: World,
    listeners: Listeners,
    runtime: Option<Runtime>,
    handle: Handle,
}

// === impl Cluster ===

impl Cluster {
    pub(crate) fn new(name: &'static str) -> Self {
        let ca = Ca::generate("prod", name, SystemTime::now()).unwrap();
        let issued = ca
            .issue_gateway(Duration::from_secs(3600), SystemTime::now())
            .unwrap();
        let identity = TempDir::new().unwrap();
        std::fs::write(identity.path().join("tls.crt"), issued.certificate_pem).unwrap();
        std::fs::write(identity.path().join("tls.key"), issued.key_pem).unwrap();
        Self { name, ca, identity }
    }

    /// The links alone, for a test that is the data plane itself.
    pub(crate) fn start_links(
        &self,
        replica: &str,
        address: IpAddr,
        runtime: &Handle,
    ) -> (Links, mpsc::Receiver<Incoming>) {
        let (catalog, siblings) = (watch::channel(None).1, watch::channel(0).1);
        let config = LinkConfig::new(SocketAddr::from((address, 0)), replica);
        let path = self.identity.path();
        let identity = IdentityFiles::new(path.join("tls.crt"), path.join("tls.key"));
        let _guard = runtime.enter();
        Links::start(config, identity, catalog, siblings).unwrap()
    }

    /// A replica with a data plane and threads of its own.
    pub(crate) fn start(&self, replica: &str) -> Site {
        self.start_with(replica, Limits::for_open_files(65_536))
    }

    /// As [`start`](Self::start), with other limits.
    pub(crate) fn start_with(&self, replica: &str, limits: Limits) -> Site {
        let address = fresh_address().into();
        self.start_at(replica, limits, address, address)
    }

    /// A replica that listens for links and for clients at these addresses.
    pub(crate) fn start_at(
        &self,
        replica: &str,
        limits: Limits,
        link: IpAddr,
        address: IpAddr,
    ) -> Site {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (links, incoming) = self.start_links(replica, link, runtime.handle());
        let world = World::new(self.name, Vec::new(), HashSet::from([address]));
        let tasks = Tasks::new(runtime.handle().clone());
        let metrics = DataPlaneMetrics::default();
        let data_plane = DataPlane::new(
            links.clone(),
            Arc::clone(world.snapshots()),
            metrics.clone(),
            limits,
            tasks.clone(),
        );
        drop(tasks.spawn_service("inbound", Arc::clone(&data_plane).serve(incoming)));
        let listeners = Listeners::new(address, Vec::new(), tasks, data_plane.handlers());
        Site {
            links,
            metrics,
            address,
            affinity: false,
            cluster: self.name,
            world,
            listeners,
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        }
    }

    pub(crate) fn peer(&self, addresses: &[SocketAddr]) -> PeerConfig {
        PeerConfig {
            cluster: self.name.to_owned(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
            bundle: CaBundle::parse(self.ca.certificate_pem()).unwrap(),
        }
    }
}

// === impl Site ===

impl Site {
    /// This cluster exports `service`, whose endpoints are the pods at `backends`.
    pub(crate) fn export(&mut self, service: &str, backends: &[SocketAddr]) {
        for backend in backends {
            self.pod(backend.ip(), |_| {});
        }
        self.exported(self.cluster, service);
        self.slices(service, backends);
    }

    /// This cluster exports the headless `service`, whose endpoints are these pods with their
    /// hostnames.
    pub(crate) fn export_headless(&mut self, service: &str, backends: &[(&str, SocketAddr)]) {
        let addresses: Vec<_> = backends.iter().map(|(_, address)| *address).collect();
        self.export(service, &addresses);
        let name = key(&format!("{service}.{NAMESPACE}.{}", self.cluster));
        let mut export = (*self.world.exports.lock().objects()[&name]).clone();
        export.type_ = ServiceImportType::Headless;
        self.world.exports.lock().apply(&name, &Arc::new(export));
        let hostnames: BTreeMap<IpAddr, String> = backends
            .iter()
            .map(|(hostname, address)| (address.ip(), (*hostname).to_owned()))
            .collect();
        let slices = self.world.slices.lock().objects().clone();
        for (key, slice) in slices {
            let named = Slice {
                hostnames: hostnames.clone(),
                ..(*slice).clone()
            };
            self.world.slices.lock().apply(&key, &Arc::new(named));
        }
        self.world.refresh();
    }

    /// The pods of the exported `service` want to be told who connects.
    pub(crate) fn announce(&mut self, service: &str) {
        let key = key(&format!("{service}.{NAMESPACE}.{}", self.cluster));
        let mut exports = self.world.exports.lock();
        let mut export = (*exports.objects()[&key]).clone();
        export.proxy_protocol = Some("v2".to_owned());
        exports.apply(&key, &Arc::new(export));
        drop(exports);
        self.world.refresh();
    }

    /// The EndpointSlices of `service`: one for each port number.
    pub(crate) fn slices(&mut self, service: &str, backends: &[SocketAddr]) {
        let mut by_port: BTreeMap<u16, Vec<IpAddr>> = BTreeMap::new();
        for backend in backends {
            by_port
                .entry(backend.port())
                .or_default()
                .push(backend.ip());
        }
        let slices = by_port.into_iter().map(|(port, ready)| Slice {
            service: ServiceName::new(NAMESPACE, service),
            ports: vec![
                SlicePort {
                    name: "http".to_owned(),
                    protocol: Protocol::Tcp,
                    port: Some(port),
                },
                SlicePort {
                    name: "dns".to_owned(),
                    protocol: Protocol::Udp,
                    port: Some(port),
                },
            ],
            ready,
            terminating: Vec::new(),
            hostnames: BTreeMap::new(),
            unready: Vec::new(),
        });
        let keyed = slices
            .enumerate()
            .map(|(n, slice)| (key(&format!("{service}-{n}")), slice));
        let slices = keyed.map(|(key, slice)| (key, Arc::new(slice))).collect();
        self.world.slices.lock().reset(&slices);
        self.world.refresh();
    }

    /// There is a pod at `address`, in the namespace of all services unless `change` says otherwise.
    pub(crate) fn pod(&mut self, address: IpAddr, change: impl FnOnce(&mut PodRecord)) {
        let mut pod = PodRecord {
            namespace: NAMESPACE.to_owned(),
            name: format!("pod-{}", address.to_string().replace(['.', ':'], "-")),
            service_account: "default".to_owned(),
            addresses: vec![address],
            node_addresses: Vec::new(),
            host_network: false,
            gateway: false,
            node: String::new(),
            labels: BTreeMap::new(),
        };
        change(&mut pod);
        self.world
            .pods
            .lock()
            .apply(&key(&pod.name.clone()), &Arc::new(pod));
        self.world.refresh();
    }

    /// `cluster` exports `service`, as this cluster knows it.
    pub(crate) fn exported(&mut self, cluster: &str, service: &str) {
        let export = ClusterExportSpec {
            cluster: cluster.to_owned(),
            namespace: NAMESPACE.to_owned(),
            name: service.to_owned(),
            created_at: Time("2026-01-01T00:00:00Z".parse().unwrap()),
            type_: ServiceImportType::ClusterSetIP,
            ports: vec![
                service_port("http", "TCP", PORT),
                service_port("dns", "UDP", UDP_PORT),
            ],
            session_affinity: self.affinity.then(|| "ClientIP".to_owned()),
            session_affinity_config: None,
            internal_traffic_policy: None,
            traffic_distribution: None,
            ip_families: vec!["IPv4".to_owned()],
            exported_labels: BTreeMap::new(),
            exported_annotations: BTreeMap::new(),
            ready: true,
            endpoints: Vec::new(),
            proxy_protocol: None,
        };
        let key = key(&export.object_name());
        self.world.exports.lock().apply(&key, &Arc::new(export));
        self.world.refresh();
    }

    /// This cluster imports `service` from `clusters`; where its TCP clients connect to.
    pub(crate) fn import(&mut self, service: &str, clusters: &[&str]) -> SocketAddr {
        self.import_over(Protocol::Tcp, service, clusters)
    }

    /// As [`import`](Self::import), where its UDP clients send to.
    pub(crate) fn import_udp(&mut self, service: &str, clusters: &[&str]) -> SocketAddr {
        self.import_over(Protocol::Udp, service, clusters)
    }

    fn import_over(&mut self, protocol: Protocol, service: &str, clusters: &[&str]) -> SocketAddr {
        for cluster in clusters {
            self.exported(cluster, service);
        }
        self.listen_for(protocol, service, None)
    }

    /// This cluster imports an endpoint of another one's headless `service`; where its clients
    /// connect to.
    pub(crate) fn import_endpoint(&mut self, service: &str, endpoint: EndpointName) -> SocketAddr {
        self.listen_for(Protocol::Tcp, service, Some(endpoint))
    }

    fn listen_for(
        &mut self,
        protocol: Protocol,
        service: &str,
        endpoint: Option<EndpointName>,
    ) -> SocketAddr {
        // Allotted by the kernel here, by the operator in a cluster.
        let gateway_port = match protocol {
            Protocol::Udp => std::net::UdpSocket::bind((self.address, 0))
                .unwrap()
                .local_addr(),
            Protocol::Tcp | Protocol::Sctp => std::net::TcpListener::bind((self.address, 0))
                .unwrap()
                .local_addr(),
        };
        let gateway_port = gateway_port.unwrap().port();
        let derived = DerivedService {
            import: ServiceName::new(NAMESPACE, service),
            endpoint: endpoint.clone(),
            addresses: Vec::new(),
            affinity: self.affinity,
            ports: vec![DerivedPort {
                protocol,
                port: if protocol == Protocol::Udp {
                    UDP_PORT
                } else {
                    PORT
                },
                gateway_port,
            }],
        };
        self.world
            .services
            .lock()
            .apply(&key(&format!("{service} {endpoint:?}")), &Arc::new(derived));
        self.world.refresh();
        let _guard = self.handle.enter();
        self.listeners
            .reconcile(&self.world.snapshots().routes.load().ports());
        assert!(self.listeners.unavailable().is_empty());
        SocketAddr::new(self.address, gateway_port)
    }

    /// A TrafficPolicy for `service`.
    pub(crate) fn policy(&mut self, service: &str, change: impl FnOnce(&mut TrafficPolicySpec)) {
        let mut spec = TrafficPolicySpec {
            target_ref: Some(TargetRef {
                group: "multicluster.x-k8s.io".to_owned(),
                kind: "ServiceImport".to_owned(),
                name: service.to_owned(),
            }),
            ..TrafficPolicySpec::default()
        };
        change(&mut spec);
        let mut policy = TrafficPolicy::new(service, spec);
        policy.metadata.namespace = Some(NAMESPACE.to_owned());
        let mut policies = self.world.policies.lock();
        policies.apply(&key(service), &Arc::new(policy));
        drop(policies);
        self.world.refresh();
    }

    /// Tells the peers how many endpoints there are.
    pub(crate) fn tell_headcounts(&self) {
        let endpoints = self.world.snapshots().endpoints.load();
        self.links
            .set_headcounts(Arc::clone(endpoints.headcounts()));
    }

    /// Waits until `cluster` has told how many endpoints of `service` are ready.
    pub(crate) async fn hears(&self, cluster: &str, service: &str, ready: u32) {
        let service = ServiceName::new(NAMESPACE, service);
        let heard = async {
            loop {
                let told = self.links.headcounts(cluster, &service);
                let told = told.map(|places| places.values().map(|count| count.ready).sum::<u32>());
                if told == Some(ready) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), heard).await;
        assert!(in_time.is_ok(), "{cluster} does not tell");
    }

    /// This cluster imports nothing any more.
    pub(crate) fn forget_imports(&mut self) {
        self.world.services.lock().reset(&BTreeMap::new());
        self.world.refresh();
        let _guard = self.handle.enter();
        self.listeners
            .reconcile(&self.world.snapshots().routes.load().ports());
    }

    pub(crate) fn refused(&self, direction: Direction, reason: &'static str) -> u64 {
        self.metrics
            .refused
            .get_or_create(&ReasonLabels { direction, reason })
            .get()
    }

    /// Waits until one connection was counted that ended so.
    pub(crate) async fn closed(&self, direction: Direction, reason: &'static str) {
        let closed = &self.metrics.closed;
        counted(closed, (direction, reason), |count| count == 1).await;
    }

    /// Waits until so many UDP flows have ended so.
    pub(crate) async fn flows_closed(
        &self,
        direction: Direction,
        reason: &'static str,
        least: u64,
    ) {
        let closed = &self.metrics.flows.closed;
        counted(closed, (direction, reason), |count| count >= least).await;
    }

    /// Waits until there is a link to `replicas` replicas of `cluster`.
    pub(crate) async fn linked(&self, cluster: &str, replicas: usize) {
        let mut status = self.links.status();
        let linked = status.wait_for(|status| {
            status.get(cluster).map_or(0, |peer| peer.replicas.len()) == replicas
        });
        tokio::time::timeout(Duration::from_secs(60), linked)
            .await
            .unwrap()
            .unwrap();
    }

    /// Dies as a process does that is killed: nothing is said to anybody.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits until the count is right.
async fn counted(
    counters: &Family<ReasonLabels, Counter>,
    (direction, reason): (Direction, &'static str),
    is_right: impl Fn(u64) -> bool,
) {
    let labels = ReasonLabels { direction, reason };
    let counted = async {
        while !is_right(counters.get_or_create(&labels).get()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), counted).await;
    assert!(in_time.is_ok(), "{counters:?}");
}

/// `west`, which dials `east` and `south`.
pub(crate) struct Three {
    pub(crate) east: Site,
    pub(crate) south: Site,
    pub(crate) west: Site,
    _clusters: [Cluster; 3],
}

impl Three {
    pub(crate) async fn linked() -> Self {
        let [east, south, west] = ["east", "south", "west"].map(Cluster::new);
        let (at_east, at_south) = (east.start("east-0"), south.start("south-0"));
        let at_west = west.start("west-0");
        for site in [&at_east, &at_south] {
            site.links.set_peers(vec![west.peer(&[])]);
        }
        at_west.links.set_peers(vec![
            east.peer(&[at_east.links.local_addr()]),
            south.peer(&[at_south.links.local_addr()]),
        ]);
        at_west.linked("east", 1).await;
        at_west.linked("south", 1).await;
        Self {
            east: at_east,
            south: at_south,
            west: at_west,
            _clusters: [east, south, west],
        }
    }
}

/// Links `near` to `far`, which does not dial.
pub(crate) async fn link(near: (&Cluster, &Site), far: (&Cluster, &Site)) {
    far.1.links.set_peers(vec![near.0.peer(&[])]);
    near.1
        .links
        .set_peers(vec![far.0.peer(&[far.1.links.local_addr()])]);
    near.1.linked(far.0.name, 1).await;
}

/// An address that nothing else in this process has.
pub(crate) fn fresh_address() -> Ipv4Addr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(127, 77, high, low)
}

fn service_port(name: &str, protocol: &str, port: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        protocol: protocol.to_owned(),
        app_protocol: None,
        port: port.into(),
    }
}

fn key(name: &str) -> Key {
    Key::new(NAMESPACE, name)
}
