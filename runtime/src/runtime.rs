//! The parts of a program, wired.

use std::{io, sync::Arc, time::Duration};

use kube::Client;
use parking_lot::RwLock;
use prometheus_client::{metrics::info::Info, registry::Registry};
use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    admin::{self, BindError},
    args::RuntimeArgs,
    client::{self, ClientError},
    events::Events,
    limits, log,
    process::ProcessCollector,
    readiness::Readiness,
    tasks::{TaskFailed, Tasks},
    watch::{WatchMetrics, Watches},
};

/// What the name of every metric of Tombolo's own begins with.
const PREFIX: &str = "tombolo";

/// What a program runs on.
#[non_exhaustive]
pub struct Runtime {
    /// Of the Kubernetes API; connects when it is used, so the program starts without one.
    pub client: Client,
    /// What `/readyz` waits for.
    pub readiness: Readiness,
    /// Where everything runs.
    pub tasks: Tasks,
    /// Where watches begin.
    pub watches: Watches,
    /// Tombolo's namespace.
    pub namespace: String,
    /// The name of this program's pod: its identity in Leases.
    pub pod_name: String,
    registry: Arc<RwLock<Registry>>,
    program: &'static str,
    grace_period: Duration,
    signals: Signals,
}

/// A program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Its log cannot be set up.
    #[error("log")]
    Log(#[from] log::InitError),
    /// There is no client of the Kubernetes API.
    #[error("Kubernetes API")]
    Client(#[from] ClientError),
    /// Its admin server cannot listen.
    #[error(transparent)]
    Admin(#[from] BindError),
    /// Signals cannot be listened for.
    #[error("signals")]
    Signals(#[source] io::Error),
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

// === impl BuildError ===

impl BuildError {
    /// A stable word for this error.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Log(error) => error.reason(),
            Self::Client(error) => error.reason(),
            Self::Admin(error) => error.reason(),
            Self::Signals(_) => "Signals",
        }
    }
}

// === impl Runtime ===

impl Runtime {
    /// Sets the process up (log, open files, crypto provider, signals), and begins to serve
    /// `/livez`, `/readyz` and `/metrics`. No API server is needed. To be called in the tokio
    /// runtime that is to run the program's control plane, `program` being its name without
    /// `tombolo-`.
    ///
    /// # Errors
    /// If a flag has no meaning, an address is taken, or no API server is configured.
    pub async fn build(program: &'static str, args: RuntimeArgs) -> Result<Self, BuildError> {
        let pod_name = args.pod_name();
        let RuntimeArgs {
            log_filter,
            log_format,
            admin_address,
            state_dir,
            api_patience,
            namespace,
            pod_name: _,
            grace_period,
        } = args;
        log::init(&log_filter, log_format)?;
        raise_limits();
        client::install_crypto_provider();
        let signals = Signals::listen().map_err(BuildError::Signals)?;
        let client = client::connect().await?;
        let tasks = Tasks::new(Handle::current());
        let readiness = Readiness::default();

        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessCollector));
        let tombolo = registry.sub_registry_with_prefix(PREFIX);
        build_info(tombolo, program);
        let metrics = WatchMetrics::register(tombolo);
        let registry = Arc::new(RwLock::new(registry));

        let listener = admin::bind(admin_address).await?;
        let admin_address = listener.local_addr().ok().map(tracing::field::display);
        let admin = admin::serve(listener, readiness.clone(), Arc::clone(&registry));
        tasks.spawn_critical_service("admin", admin);

        let watches = Watches {
            client: client.clone(),
            tasks: tasks.clone(),
            readiness: readiness.clone(),
            metrics,
            state_dir,
            patience: api_patience,
        };
        let version = env!("CARGO_PKG_VERSION");
        tracing::info!(program, version, pod_name, admin_address, "starting");
        Ok(Self {
            client,
            readiness,
            tasks,
            watches,
            namespace,
            pod_name,
            registry,
            program,
            grace_period,
            signals,
        })
    }

    /// Adds metrics: `runtime.register(LinkMetrics::register)`. Their names will begin with
    /// `tombolo_`.
    pub fn register<M>(&self, register: impl FnOnce(&mut Registry) -> M) -> M {
        register(self.registry.write().sub_registry_with_prefix(PREFIX))
    }

    /// Publishes Events in the name of this program.
    #[must_use]
    pub fn events(&self) -> Events {
        let controller = format!("tombolo.io/{}", self.program);
        Events::spawn(
            self.client.clone(),
            &controller,
            &self.pod_name,
            &self.tasks,
        )
    }

    /// Runs until SIGTERM or SIGINT, or until a critical task fails. Then the program is no longer
    /// ready, and its tasks drain for at most the grace period; a second signal cuts that short.
    ///
    /// # Errors
    /// If a critical task failed: `main` should return it.
    pub async fn run(mut self) -> Result<(), TaskFailed> {
        let outcome = tokio::select! {
            signal = self.signals.next() => {
                tracing::info!(signal, "draining");
                Ok(())
            }
            failed = self.tasks.failed() => Err(failed),
        };
        self.readiness.drain();
        tokio::select! {
            () = self.tasks.shutdown(self.grace_period) => tracing::info!("stopped"),
            signal = self.signals.next() => {
                tracing::info!(signal, "second signal, aborting");
                self.tasks.shutdown(Duration::ZERO).await;
            }
        }
        outcome
    }
}

// === impl Signals ===

impl Signals {
    fn listen() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self {
            terminate,
            interrupt,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn build_info(registry: &mut Registry, program: &'static str) {
    let labels = [("program", program), ("version", env!("CARGO_PKG_VERSION"))];
    registry.register("build", "The program", Info::new(labels));
}

fn raise_limits() {
    match limits::raise_open_files() {
        Ok(limit) => tracing::debug!(before = limit.before, now = limit.now, "open files"),
        Err(error) => tracing::warn!(%error, "limit on open files not raised"),
    }
}
