//! The program: flags, and the parts wired.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};
use tombolo_catalog::PortAllotter;
use tombolo_runtime::events::{Events, Notice, Severity};
use tombolo_runtime::lease::{Kept, Lease, Timing};
use tombolo_runtime::readiness::Gate;
use tombolo_runtime::tasks::Tasks;
use tombolo_runtime::watch::Watches;
use tombolo_runtime::{Runtime, RuntimeArgs};

use crate::cleanup;
use crate::controller::{Controller, PORT_REST};
use crate::identity::{self, Identity, Names};
use crate::index::Index;
use crate::leadership::Leadership;
use crate::mcs::McsVersion;
use crate::metrics::{Metrics, register_census};
use crate::plan::Allotted;
use crate::plan::addresses::Addresses;
use crate::policies::PolicyStatuses;
use crate::reconcile::Reconciler;
use crate::trust::Trust;
use crate::watches::SharedIndex;
use crate::writer::Writer;
use crate::{heartbeats, installation, watches};

const LEASE: &str = "tombolo-operator";

/// Who leads takes dead gateways out of the slices, so a leader that dies with one of them has to be
/// replaced about as soon: within four seconds. A claim that is lost without need costs one look at
/// every service, and no write.
const TIMING: Timing = Timing {
    duration: Duration::from_secs(3),
    renew: Duration::from_secs(1),
    retry: Duration::from_millis(500),
};

/// Tombolo's operator: exports in, imports out.
#[derive(Debug, clap::Parser)]
#[command(version)]
pub struct Args {
    #[command(flatten)]
    runtime: RuntimeArgs,

    /// ID of this cluster, a DNS label; if absent, the ClusterProperty cluster.clusterset.k8s.io
    #[arg(long, env = "TOMBOLO_CLUSTER_ID", value_parser = not_empty)]
    cluster_id: Option<String>,

    /// ID of the clusterset, a DNS name; if absent, the ClusterProperty clusterset.k8s.io
    #[arg(long, env = "TOMBOLO_CLUSTERSET", value_parser = not_empty)]
    clusterset: Option<String>,

    /// How long a gateway's certificate is valid, in seconds; a new one is issued at half of it
    #[arg(long, env = "TOMBOLO_GATEWAY_IDENTITY_LIFETIME", default_value = "86400",
        value_parser = clap::value_parser!(u64).range(10..=31_536_000))]
    gateway_identity_lifetime: u64,

    /// Most addresses that endpoints of other clusters' headless Services may take together out of
    /// this cluster's service range
    #[arg(long, env = "TOMBOLO_MAX_ENDPOINT_ADDRESSES", default_value_t = 1000)]
    max_endpoint_addresses: usize,

    /// How long an endpoint that is gone keeps its address, in seconds: a pod that restarts under
    /// the same hostname within this time can be reached as before
    #[arg(long, env = "TOMBOLO_ENDPOINT_ADDRESS_REST", default_value = "300",
        value_parser = clap::value_parser!(u64).range(..=86_400))]
    endpoint_address_rest: u64,

    /// UID of this program's pod, for Events
    #[arg(long, env = "POD_UID")]
    pod_uid: Option<String>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Stops operator and gateways, and removes what they made: for the uninstallation
    Cleanup,
}

// === impl Args ===

impl Args {
    /// Runs the program to its end.
    ///
    /// # Errors
    /// If it cannot start, or a part fails without which it is of no use.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self {
            runtime,
            cluster_id,
            clusterset,
            gateway_identity_lifetime,
            max_endpoint_addresses,
            endpoint_address_rest,
            pod_uid,
            command,
        } = self;
        match command {
            Some(Command::Cleanup) => {
                tombolo_runtime::log::init(&runtime.log_filter, runtime.log_format)?;
                let client = tombolo_runtime::client::connect().await?;
                return Ok(cleanup::run(client, &runtime.namespace).await?);
            }
            None => {}
        }
        let runtime = Runtime::build("operator", runtime).await?;
        let lease = Lease::new(
            runtime.client.clone(),
            &runtime.namespace,
            LEASE,
            &runtime.pod_name,
        )
        .timing(TIMING);
        let kept = lease.keep(&runtime.tasks);
        let census = Arc::new(OnceLock::new());
        let metrics = runtime.register(|registry| {
            register_census(registry, Arc::clone(&census));
            Metrics::register(registry)
        });
        let operator = Operator {
            client: runtime.client.clone(),
            watches: runtime.watches.clone(),
            tasks: runtime.tasks.clone(),
            identified: runtime.readiness.gate("cluster-identity"),
            events: runtime.events(),
            namespace: runtime.namespace.clone(),
            pod: pod(&runtime, pod_uid),
            leadership: Leadership::new(kept.claims(), &runtime.pod_name),
            kept,
            flags: Names {
                cluster: cluster_id,
                clusterset,
            },
            identity_lifetime: Duration::from_secs(gateway_identity_lifetime),
            max_endpoint_addresses,
            endpoint_address_rest: Duration::from_secs(endpoint_address_rest),
            metrics,
            census,
        };
        runtime
            .tasks
            .spawn_critical_service("operator", operator.run());
        Ok(runtime.run().await?)
    }
}

/// This cluster is not the one that it was when the program started: everything that it knows is
/// about the other, so it starts anew.
#[derive(Debug, thiserror::Error)]
#[error("this cluster was {was}, and now is {now}")]
struct IdentityChanged {
    was: String,
    now: String,
}

struct Operator {
    client: Client,
    watches: Watches,
    tasks: Tasks,
    identified: Gate,
    events: Events,
    namespace: String,
    pod: ObjectReference,
    leadership: Leadership,
    /// Given up when this is dropped.
    kept: Kept,
    flags: Names,
    identity_lifetime: Duration,
    max_endpoint_addresses: usize,
    endpoint_address_rest: Duration,
    metrics: Metrics,
    census: Arc<OnceLock<Arc<RwLock<Index>>>>,
}

// === impl Operator ===

impl Operator {
    async fn run(self) -> Result<(), IdentityChanged> {
        let crds = installation::run(self.client.clone(), self.leadership.clone());
        drop(self.tasks.spawn_service("crds", crds));
        let mcs = installation::wait(self.client.clone()).await;
        let mut properties = identity::properties(&self.watches);
        let identity = self.identify(&mut properties).await;
        tracing::info!(
            cluster = identity.cluster,
            clusterset = identity.clusterset,
            mcs = mcs.name(),
            "identified"
        );
        self.identified.open();
        self.begin(&identity, mcs);
        self.stays(identity, &mut properties).await
    }

    /// Waits until it is known which cluster this is.
    async fn identify(&self, properties: &mut watch::Receiver<Option<Names>>) -> Identity {
        loop {
            let names = properties.borrow_and_update().clone();
            let decided = names.map(|names| Identity::decide(&names, &self.flags));
            match decided {
                Some(Ok(identity)) => return identity,
                Some(Err(error)) => {
                    tracing::error!(%error, "nothing is done until this is settled");
                    let notice = Notice {
                        severity: Severity::Warning,
                        reason: error.reason(),
                        action: "Start",
                        note: error.to_string(),
                    };
                    self.events.publish(&self.pod, notice);
                }
                None => {}
            }
            if properties.changed().await.is_err() {
                // The watch has ended, and so will this task.
                std::future::pending::<()>().await;
            }
        }
    }

    fn begin(&self, identity: &Identity, mcs: McsVersion) {
        let index = SharedIndex {
            index: Arc::new(RwLock::new(Index::new(
                &identity.cluster,
                &self.namespace,
                mcs,
            ))),
            changed: Arc::new(Notify::new()),
        };
        // Set once in the life of the process.
        let _ = self.census.set(Arc::clone(&index.index));
        watches::spawn(&self.watches, &self.namespace, mcs, &index);
        let gateways = heartbeats::run(self.watches.clone(), self.namespace.clone(), index.clone());
        drop(self.tasks.spawn_service("gateways", gateways));

        let statuses = PolicyStatuses {
            client: self.client.clone(),
            namespace: self.namespace.clone(),
            index: index.clone(),
            leadership: self.leadership.clone(),
            metrics: self.metrics.clone(),
        };
        let statuses = statuses.run(self.watches.clone());
        drop(self.tasks.spawn_service("policies", statuses));

        let trust = Trust {
            client: self.client.clone(),
            namespace: self.namespace.clone(),
            identity: identity.clone(),
            lifetime: self.identity_lifetime,
            leadership: self.leadership.clone(),
            events: self.events.clone(),
            metrics: self.metrics.clone(),
        };
        drop(self.tasks.spawn_service("trust", trust.run()));

        let writer = Writer::new(
            self.client.clone(),
            &self.namespace,
            mcs,
            self.leadership.clone(),
            self.metrics.clone(),
        );
        let allotted = Allotted {
            ports: PortAllotter::new(PORT_REST),
            addresses: Addresses::new(self.max_endpoint_addresses, self.endpoint_address_rest),
        };
        let reconciler = Reconciler::new(
            Arc::clone(&index.index),
            allotted,
            writer,
            self.events.clone(),
        );
        let controller = Controller::new(
            index,
            reconciler,
            self.leadership.clone(),
            self.metrics.clone(),
        );
        let drain = self.tasks.drain().clone();
        self.tasks.spawn_critical("controller", async move {
            controller.run(drain).await;
            Ok::<(), std::convert::Infallible>(())
        });
    }

    async fn stays(
        self,
        identity: Identity,
        properties: &mut watch::Receiver<Option<Names>>,
    ) -> Result<(), IdentityChanged> {
        let _kept = self.kept;
        while properties.changed().await.is_ok() {
            let names = properties.borrow_and_update().clone().unwrap_or_default();
            let now = match Identity::decide(&names, &self.flags) {
                Ok(now) if now == identity => continue,
                Ok(now) => format!("{} of {}", now.cluster, now.clusterset),
                Err(error) => format!("undecided: {error}"),
            };
            let was = format!("{} of {}", identity.cluster, identity.clusterset);
            return Err(IdentityChanged { was, now });
        }
        std::future::pending().await
    }
}

fn pod(runtime: &Runtime, uid: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(runtime.namespace.clone()),
        name: Some(runtime.pod_name.clone()),
        uid,
        ..ObjectReference::default()
    }
}

/// A variable that is set to nothing is a chart's way to say that there is none.
fn not_empty(value: &str) -> Result<String, String> {
    if value.is_empty() {
        return Err("is empty: leave it out instead".to_owned());
    }
    Ok(value.to_owned())
}
