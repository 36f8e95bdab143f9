//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};
use tombolo_dns_zone::Zone;
use tombolo_runtime::readiness::Gate;
use tombolo_runtime::{Runtime, RuntimeArgs};

use crate::handler::Handler;
use crate::index::ZoneIndex;
use crate::listeners::Listeners;
use crate::metrics::DnsMetrics;
use crate::publisher::Publisher;
use crate::servers::{Loaded, Servers, multicluster};
use crate::{address, follow, forward};

/// hickory logs each question at info, and at warn each that comes from an impossible address.
const QUIET: &str = "hickory_server=error,hickory_net=error,hickory_proto=error";

/// As CoreDNS waits for its own watches before it listens.
const STARTUP_PATIENCE: Duration = Duration::from_secs(5);

/// Answers the names of the clusterset
#[derive(Clone, Debug, Parser)]
#[command(name = "tombolo-dns", version, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Edits the Corefile of the cluster's CoreDNS, so that it forwards the zone
    Corefile(Box<forward::Args>),
    /// Puts the address of a node's resolver on the node
    Address(address::Args),
}

#[derive(Clone, Debug, clap::Args)]
struct ServeArgs {
    /// Where questions are answered, UDP and TCP [default: port 1053 of all addresses]
    #[arg(long, env = "TOMBOLO_LISTEN")]
    listen: Option<SocketAddr>,

    /// A Corefile, as CoreDNS has it, that says what is answered where, in the place of --listen,
    /// --zone, --ttl and --negative-ttl
    #[arg(
        long,
        alias = "conf",
        env = "TOMBOLO_COREFILE",
        conflicts_with = "listen"
    )]
    corefile: Option<PathBuf>,

    /// The zone
    #[arg(long, env = "TOMBOLO_ZONE", default_value = "clusterset.local")]
    zone: String,

    /// How long answers may be cached, in seconds
    #[arg(long, env = "TOMBOLO_TTL", default_value_t = 5, value_parser = ttl())]
    ttl: u32,

    /// How long it may be cached that a name does not exist, in seconds
    #[arg(long, env = "TOMBOLO_NEGATIVE_TTL", default_value_t = 0, value_parser = ttl())]
    negative_ttl: u32,

    /// Addresses of `ns.dns.<zone>`, which the zone names as its server
    #[arg(long, env = "TOMBOLO_NAMESERVER_ADDRESSES", value_delimiter = ',')]
    nameserver_addresses: Vec<IpAddr>,

    #[command(flatten)]
    runtime: RuntimeArgs,
}

/// RFC 2181, section 8.
fn ttl() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(..=i64::from(i32::MAX))
}

// === impl Args ===

impl Args {
    /// Runs what was asked for, until it is done or the program is told to stop.
    ///
    /// # Errors
    /// If it cannot be done.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { command, serve } = self;
        match command {
            Some(Command::Corefile(args)) => args.run().await,
            Some(Command::Address(args)) => args.run(),
            None => serve.run().await,
        }
    }
}

// === impl ServeArgs ===

impl ServeArgs {
    async fn run(self) -> anyhow::Result<()> {
        let Self {
            listen,
            corefile,
            zone,
            ttl,
            negative_ttl,
            nameserver_addresses,
            mut runtime,
        } = self;
        let loaded = corefile.as_deref().map(Loaded::read).transpose()?;
        let told = loaded
            .as_ref()
            .and_then(|loaded| multicluster(&loaded.config));
        let follows_zone = loaded.is_none() || told.is_some();
        let (zone, nameservers) = match told {
            None => (Zone::new(&zone, ttl, negative_ttl)?, nameserver_addresses),
            Some(told) => (
                Zone::new(
                    &told.zone.to_ascii(),
                    told.ttl.unwrap_or(ttl),
                    told.negative_ttl.unwrap_or(negative_ttl),
                )?,
                if told.nameservers.is_empty() {
                    nameserver_addresses
                } else {
                    told.nameservers.clone()
                },
            ),
        };
        let patience = told.and_then(|told| told.startup_timeout);
        let zone = zone.with_nameserver_addresses(nameservers);
        if let Some(loaded) = &loaded {
            loaded.adjust(&mut runtime);
        }
        runtime.log_filter = format!("{QUIET},{}", runtime.log_filter);
        let runtime = Runtime::build("dns", runtime).await?;
        let metrics = runtime.register(DnsMetrics::register);
        let index = Arc::new(Mutex::new(ZoneIndex::default()));
        let origin = zone.origin().clone();
        let gate = runtime.readiness.gate("zone");
        let publisher = Publisher::new(zone, Arc::clone(&index), gate.clone(), metrics.clone());
        let published = publisher.published();

        if follows_zone {
            drop(follow::slices(&runtime.watches, Arc::clone(&index)));
            let imports = follow::imports(runtime.watches.clone(), index);
            runtime
                .tasks
                .spawn_critical_service("imports", async { imports.await.map(drop) });
            drop(runtime.tasks.spawn_service("publisher", publisher.run()));
        } else {
            gate.open();
        }
        // Work that never ends: a drain lets it answer until the grace period is over.
        if let (Some(path), Some(loaded)) = (corefile, loaded) {
            let readiness = runtime.readiness.clone();
            let drain = runtime.tasks.drain().clone();
            let patience = patience.unwrap_or(STARTUP_PATIENCE);
            let server = async move {
                // On a node it listens beside the one that it replaces, and takes half of the questions.
                let Some(known) = drain
                    .run_until_cancelled(timeout(patience, until_open(&gate)))
                    .await
                else {
                    return anyhow::Ok(());
                };
                if known.is_err() {
                    tracing::warn!(
                        "the clusterset's names are not known yet, all others are answered"
                    );
                }
                let servers = Servers::start(path, loaded, published, readiness, metrics)?;
                tracing::info!(addresses = ?servers.addresses(), zone = %origin, "listening");
                servers.run().await
            };
            runtime.tasks.spawn_critical("server", server);
        } else {
            let listeners = Listeners::bind(listen)?;
            tracing::info!(address = %listeners.address(), zone = %origin, "listening");
            let handler = Handler::new(published, metrics);
            runtime
                .tasks
                .spawn_critical("server", listeners.serve(handler));
        }
        runtime.run().await.context("stopped early")
    }
}

/// A gate cannot be waited for, and this one opens once in a program's life.
async fn until_open(gate: &Gate) {
    while !gate.is_open() {
        sleep(Duration::from_millis(5)).await;
    }
}
