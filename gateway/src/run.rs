//! Wires the parts.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use tokio::time;
use tombolo_crds::well_known::{
    COMPONENT_LABEL, KUBE_SERVICE_NAME_LABEL, MANAGED_BY_LABEL, MANAGER, MANAGER_LABEL,
    SLICE_MANAGER,
};
use tombolo_crds::{ClusterExport, Peer, TrafficPolicy};
use tombolo_link::{IdentityFiles, LinkConfig, Links};
use tombolo_runtime::readiness::Readiness;
use tombolo_runtime::watch::{Event, Watches, from_fn};
use tombolo_runtime::{Runtime, limits};

use crate::args::Args;
use crate::control::{Control, Outlets, Watched};
use crate::data_plane::{DataPlane, Limits};
use crate::health;
use crate::heartbeat::{self, Siblings};
use crate::link_metrics::LinkMetrics;
use crate::listeners::Listeners;
use crate::metrics::{ControlMetrics, DataPlaneMetrics};
use crate::projection;
use crate::world::{SharedTable, World};

/// How long a start waits for the API server to name this cluster's incarnation.
const INCARNATION_PATIENCE: Duration = Duration::from_secs(2);
const INCARNATION_FILE: &str = "incarnation";

// === impl Args ===

impl Args {
    /// Runs a gateway until it is told to stop: the control part on this thread, connections on
    /// threads of their own.
    ///
    /// # Errors
    /// If it cannot start, or a part without which it is of no use has failed.
    pub fn run(self) -> anyhow::Result<()> {
        let mut builder = Builder::new_multi_thread();
        if let Some(workers) = self.workers {
            builder.worker_threads(workers.get());
        }
        let data_plane = builder.thread_name("data-plane").enable_all().build()?;
        let control = Builder::new_current_thread().enable_all().build()?;
        let result = control.block_on(self.serve(data_plane.handle().clone()));
        // Nothing that is left there is worth waiting for.
        data_plane.shutdown_background();
        result
    }

    async fn serve(self, data_plane: Handle) -> anyhow::Result<()> {
        let Self {
            runtime,
            identity_dir,
            link_address,
            health_address,
            import_address,
            allowed_endpoint_cidrs,
            congestion,
            tcp_fallback,
            link_connections,
            export_lease,
            workers: _,
            pod_ip,
            pod_ips,
            api_server,
        } = self;
        let state_dir = runtime.state_dir.clone();
        let runtime = Runtime::build("gateway", runtime).await?;
        runtime
            .readiness
            .require_runtime("data-plane", data_plane.clone());

        let (catalog, catalog_receiver) = watch::channel(None);
        let (siblings, siblings_receiver) = watch::channel(0);
        let config = LinkConfig {
            incarnation: incarnation(&runtime.client, state_dir.as_deref()).await,
            congestion: congestion.into(),
            tcp_fallback,
            connections_per_replica: link_connections.into(),
            ..LinkConfig::new(link_address, &runtime.pod_name)
        };
        let identity =
            IdentityFiles::new(identity_dir.join("tls.crt"), identity_dir.join("tls.key"));
        let (links, incoming) = {
            let _on_data_plane = data_plane.enter();
            Links::start(config, identity, catalog_receiver, siblings_receiver)
                .context("cannot listen for links")?
        };
        tracing::info!(
            cluster = links.cluster(),
            clusterset = links.clusterset(),
            address = %links.local_addr(),
            "listening for links"
        );
        runtime.register(|registry| LinkMetrics::register(registry, links.clone()));

        let api_server = api_server.and_then(|address| address.parse::<IpAddr>().ok());
        let never: HashSet<_> = pod_ip
            .into_iter()
            .chain(pod_ips.iter().copied())
            .chain(api_server)
            .map(|ip| ip.to_canonical())
            .collect();
        let world = World::new(links.cluster(), allowed_endpoint_cidrs, never);
        let world = Arc::new(world.in_namespace(&runtime.namespace));
        let peers = world.table();
        let heard = Arc::new(Mutex::new(Siblings::default()));
        let watches = watch(&runtime, &world, &peers, &heard);

        let metrics = runtime.register(DataPlaneMetrics::register);
        let tasks = runtime.tasks.on(data_plane.clone());
        let carried = DataPlane::new(
            links.clone(),
            Arc::clone(world.snapshots()),
            metrics.clone(),
            Limits::for_open_files(limits::raise_open_files()?.now),
            tasks.clone(),
        );
        drop(tasks.spawn_service("inbound", Arc::clone(&carried).serve(incoming)));
        let over_tcp = links.clone();
        let take = move |stream, remote| over_tcp.accept_tcp(stream, remote);
        let health = health::serve(health_address, runtime.readiness.clone(), take);
        drop(tasks.spawn_service("health", health));
        let handlers = carried.handlers();
        let outlets = Outlets {
            listeners: Listeners::new(import_address, pod_ips.clone(), tasks, handlers),
            data_plane,
            data_plane_metrics: metrics,
            catalog,
            siblings,
            gate: runtime.readiness.gate("ports"),
        };
        let control = Control {
            client: runtime.client.clone(),
            namespace: runtime.namespace.clone(),
            replica: runtime.pod_name.clone(),
            links: links.clone(),
            export_lease: Duration::from_secs(export_lease),
            world,
            peers,
            siblings: heard,
            watches,
            events: runtime.events(),
            metrics: runtime.register(ControlMetrics::register),
            tasks: runtime.tasks.clone(),
        };
        Arc::new(control).spawn(outlets);

        let outcome = runtime.run().await;
        links.close().await;
        Ok(outcome?)
    }
}

/// The clusters that a sibling said it is linked to, and when by its own clock.
type Beat = (BTreeSet<String>, Option<Timestamp>);

fn watch(
    runtime: &Runtime,
    world: &World,
    peers: &SharedTable<Peer>,
    siblings: &Arc<Mutex<Siblings>>,
) -> Watched {
    let watches = &runtime.watches;
    let namespace = &runtime.namespace;
    let system = namespace.clone();
    let services = watches
        .all::<Service>("services")
        .labels(&format!("{MANAGER_LABEL}={MANAGER}"))
        .feed_persisted(
            move |service| projection::derived_service(&service, &system),
            Arc::clone(&world.services),
        );
    let exports = watches
        .namespaced::<ClusterExport>("exports", namespace)
        .feed_persisted(projection::cluster_export, Arc::clone(&world.exports));
    let peers = watches
        .all::<Peer>("peers")
        .feed_persisted(Some, Arc::clone(peers));
    let not_ours = format!("{KUBE_SERVICE_NAME_LABEL},{MANAGED_BY_LABEL}!={SLICE_MANAGER}");
    watches
        .all::<EndpointSlice>("slices")
        .labels(&not_ours)
        .feed_persisted(|slice| projection::slice(&slice), Arc::clone(&world.slices));
    watches
        .all::<Pod>("pods")
        .feed_persisted(|pod| projection::pod(&pod), Arc::clone(&world.pods));

    watches
        .all::<Node>("nodes")
        .feed_persisted(|node| projection::node(&node), Arc::clone(&world.nodes));
    watches
        .all::<TrafficPolicy>("trafficpolicies")
        .feed_persisted(
            |mut policy| {
                // What became of it is for people.
                policy.status = None;
                policy.metadata.managed_fields = None;
                Some(policy)
            },
            Arc::clone(&world.policies),
        );

    // What siblings say helps to choose among them; a gateway serves without.
    let optional = Watches {
        readiness: Readiness::default(),
        ..watches.clone()
    };
    let siblings = Arc::clone(siblings);
    let hear = from_fn(move |event: Event<'_, Beat>| {
        let mut siblings = siblings.lock();
        match event {
            Event::Apply(key, beat) => siblings.hear(Instant::now(), &key.name, beat.0.clone()),
            Event::Delete(key) => siblings.forget(&key.name),
            Event::Reset(all) => {
                *siblings = Siblings::default();
                for (key, beat) in all {
                    siblings.hear(Instant::now(), &key.name, beat.0.clone());
                }
            }
        }
    });
    optional
        .namespaced::<Lease>("siblings", namespace)
        .labels(&format!("{COMPONENT_LABEL}=gateway"))
        .feed(|lease| Some(heartbeat::read(&lease)), hear);
    Watched {
        services,
        exports,
        peers,
    }
}

// The UID of kube-system tells a rebuilt cluster from the one that it replaces. Empty if unknown.
async fn incarnation(client: &Client, state_dir: Option<&Path>) -> String {
    let file = state_dir.map(|dir| dir.join(INCARNATION_FILE));
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let uid = match time::timeout(INCARNATION_PATIENCE, namespaces.get("kube-system")).await {
        Ok(Ok(namespace)) => namespace.metadata.uid.unwrap_or_default(),
        Ok(Err(_)) | Err(_) => {
            let saved = file.and_then(|file| std::fs::read_to_string(file).ok());
            return saved.unwrap_or_default();
        }
    };
    if let Some(file) = file
        && let Err(error) = std::fs::write(&file, &uid)
    {
        tracing::info!(file = %file.display(), %error, "cannot be saved");
    }
    uid
}
