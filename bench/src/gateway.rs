//! A gateway without Kubernetes: the product's data plane and links, with tables filled by hand.

use std::collections::{BTreeMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tombolo_catalog::ServiceName;
use tombolo_crds::ClusterExportSpec;
use tombolo_crds::mcs::{ServiceImportType, ServicePort};
use tombolo_gateway::data_plane::{DataPlane, Limits};
use tombolo_gateway::endpoints::{Slice, SlicePort};
use tombolo_gateway::listeners::Listeners;
use tombolo_gateway::metrics::DataPlaneMetrics;
use tombolo_gateway::routes::{DerivedPort, DerivedService};
use tombolo_gateway::service::Protocol;
use tombolo_gateway::world::World;
use tombolo_link::{CaBundle, Congestion, IdentityFiles, LinkConfig, Links, PeerConfig};
use tombolo_runtime::tasks::Tasks;
use tombolo_runtime::watch::{Index, Key};

use crate::say;

const NAMESPACE: &str = "bench";
const SERVICE: &str = "server";
const PORT: u16 = 80;
/// What the service has at its port, under which name, and as the API says it.
const PROTOCOLS: [(Protocol, &str, &str); 2] =
    [(Protocol::Tcp, "tcp", "TCP"), (Protocol::Udp, "udp", "UDP")];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// This cluster's ID
    #[arg(long)]
    cluster: String,
    /// Directory with tls.crt and tls.key
    #[arg(long)]
    identity: PathBuf,
    /// The other cluster's ID
    #[arg(long)]
    peer: String,
    /// File with the other cluster's CA
    #[arg(long)]
    peer_ca: PathBuf,
    /// Where to listen for links
    #[arg(long)]
    listen: SocketAddr,
    /// The other gateways, if this one dials
    #[arg(long, value_delimiter = ',')]
    dial: Vec<String>,
    /// This replica's name [default: the cluster's ID]
    #[arg(long)]
    replica: Option<String>,
    /// How many replicas this cluster's gateway has
    #[arg(long, default_value_t = 1)]
    replicas: u32,
    /// Port on which clients of the other cluster's server are taken
    #[arg(long)]
    import: Option<u16>,
    /// The server that this cluster exports
    #[arg(long)]
    export: Option<SocketAddr>,
    /// Congestion controller, if not the default
    #[arg(long, value_enum)]
    congestion: Option<Control>,
    /// Connections to the other gateway, if not the default
    #[arg(long)]
    connections: Option<usize>,
    /// Largest UDP payload, if not the default
    #[arg(long)]
    mtu: Option<u16>,
    /// Threads [default: the CPUs]
    #[arg(long)]
    workers: Option<NonZeroUsize>,
}

/// A congestion controller of the links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Control {
    Cubic,
    Bbr,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let files = rlimit::increase_nofile_limit(u64::MAX)?;
        let mut builder = Builder::new_multi_thread();
        if let Some(workers) = self.workers {
            builder.worker_threads(workers.get());
        }
        let runtime = builder.enable_all().build()?;
        runtime.block_on(self.serve(files))
    }

    async fn serve(self, files: u64) -> anyhow::Result<()> {
        let replica = self.replica.as_ref().unwrap_or(&self.cluster);
        let mut config = LinkConfig::new(self.listen, replica);
        if let Some(congestion) = self.congestion {
            config.congestion = congestion.into();
        }
        if let Some(connections) = self.connections {
            config.connections_per_replica = connections;
        }
        if let Some(mtu) = self.mtu {
            config.mtu_upper_bound = mtu;
        }
        let identity =
            IdentityFiles::new(self.identity.join("tls.crt"), self.identity.join("tls.key"));
        let (catalog, siblings) = (watch::channel(None).1, watch::channel(self.replicas).1);
        let (links, incoming) = Links::start(config, identity, catalog, siblings)?;

        let allowed = self.export.map(|server| server.ip().into());
        let world = World::new(&self.cluster, allowed.into_iter().collect(), HashSet::new());
        self.fill(&world);
        let tasks = Tasks::new(tokio::runtime::Handle::current());
        let data_plane = DataPlane::new(
            links.clone(),
            Arc::clone(world.snapshots()),
            DataPlaneMetrics::default(),
            Limits::for_open_files(files),
            tasks.clone(),
        );
        drop(tasks.spawn_service("inbound", Arc::clone(&data_plane).serve(incoming)));
        let any = Ipv4Addr::UNSPECIFIED.into();
        let mut listeners = Listeners::new(any, Vec::new(), tasks, data_plane.handlers());
        listeners.reconcile(&world.snapshots().routes.load().ports());

        let ca = std::fs::read_to_string(&self.peer_ca).context("the other cluster's CA")?;
        links.set_peers(vec![PeerConfig {
            cluster: self.peer.clone(),
            addresses: self.dial,
            bundle: CaBundle::parse(&ca)?,
        }]);
        tell_replicas(&links, &self.peer).await
    }

    fn fill(&self, world: &World) {
        if let Some(server) = self.export {
            let exports = &world.exports;
            exports
                .lock()
                .apply(&key(SERVICE), &Arc::new(exported(&self.cluster)));
            let slice = Slice {
                service: service(),
                ports: PROTOCOLS
                    .map(|(protocol, name, _)| SlicePort {
                        name: name.to_owned(),
                        protocol,
                        port: Some(server.port()),
                    })
                    .into(),
                ready: vec![server.ip()],
                terminating: Vec::new(),
                unready: Vec::new(),
                hostnames: BTreeMap::new(),
            };
            world.slices.lock().apply(&key(SERVICE), &Arc::new(slice));
        }
        if let Some(gateway_port) = self.import {
            let exports = &world.exports;
            exports
                .lock()
                .apply(&key(SERVICE), &Arc::new(exported(&self.peer)));
            let derived = DerivedService {
                import: service(),
                endpoint: None,
                affinity: false,
                addresses: Vec::new(),
                ports: PROTOCOLS
                    .map(|(protocol, _, _)| DerivedPort {
                        protocol,
                        port: PORT,
                        gateway_port,
                    })
                    .into(),
            };
            world
                .services
                .lock()
                .apply(&key(SERVICE), &Arc::new(derived));
        }
        world.refresh();
    }
}

// === impl Control ===

impl From<Control> for Congestion {
    fn from(control: Control) -> Self {
        match control {
            Control::Cubic => Self::Cubic,
            Control::Bbr => Self::Bbr,
        }
    }
}

/// Prints the replicas of the peer that are linked whenever they are others, until it is killed.
async fn tell_replicas(links: &Links, peer: &str) -> anyhow::Result<()> {
    let mut status = links.status();
    let mut told = Vec::new();
    loop {
        let linked: Vec<String> = match status.borrow_and_update().get(peer) {
            Some(link) => link.replicas.keys().cloned().collect(),
            None => Vec::new(),
        };
        if linked != told {
            say(&linked.join(" "))?;
            told = linked;
        }
        status.changed().await?;
    }
}

fn service() -> ServiceName {
    ServiceName::new(NAMESPACE, SERVICE)
}

fn key(name: &str) -> Key {
    Key::new(NAMESPACE, name)
}

fn exported(cluster: &str) -> ClusterExportSpec {
    ClusterExportSpec {
        cluster: cluster.to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: SERVICE.to_owned(),
        created_at: Time(jiff::Timestamp::UNIX_EPOCH),
        type_: ServiceImportType::ClusterSetIP,
        ports: PROTOCOLS
            .map(|(_, name, protocol)| ServicePort {
                name: Some(name.to_owned()),
                protocol: protocol.to_owned(),
                app_protocol: None,
                port: PORT.into(),
            })
            .into(),
        session_affinity: None,
        session_affinity_config: None,
        internal_traffic_policy: None,
        traffic_distribution: None,
        ip_families: vec!["IPv4".to_owned()],
        exported_labels: BTreeMap::new(),
        exported_annotations: BTreeMap::new(),
        ready: true,
        endpoints: Vec::new(),
        proxy_protocol: None,
    }
}
