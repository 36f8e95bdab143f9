//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use parking_lot::Mutex;
use tombolo_dns_zone::Zone;
use tombolo_runtime::{Runtime, RuntimeArgs};

use crate::handler::Handler;
use crate::index::ZoneIndex;
use crate::listeners::Listeners;
use crate::metrics::DnsMetrics;
use crate::publisher::Publisher;
use crate::{follow, forward};

/// hickory logs each question at info, and at warn each that comes from an impossible address.
const QUIET: &str = "hickory_server=error,hickory_net=error,hickory_proto=error";

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
    Corefile(forward::Args),
}

#[derive(Clone, Debug, clap::Args)]
struct ServeArgs {
    /// Where questions are answered, UDP and TCP [default: port 1053 of all addresses]
    #[arg(long, env = "TOMBOLO_LISTEN")]
    listen: Option<SocketAddr>,

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
            None => serve.run().await,
        }
    }
}

// === impl ServeArgs ===

impl ServeArgs {
    async fn run(self) -> anyhow::Result<()> {
        let Self {
            listen,
            zone,
            ttl,
            negative_ttl,
            nameserver_addresses,
            mut runtime,
        } = self;
        let zone =
            Zone::new(&zone, ttl, negative_ttl)?.with_nameserver_addresses(nameserver_addresses);
        runtime.log_filter = format!("{QUIET},{}", runtime.log_filter);
        let runtime = Runtime::build("dns", runtime).await?;
        let metrics = runtime.register(DnsMetrics::register);

        let listeners = Listeners::bind(listen)?;
        tracing::info!(address = %listeners.address(), zone = %zone.origin(), "listening");
        let index = Arc::new(Mutex::new(ZoneIndex::default()));
        let gate = runtime.readiness.gate("zone");
        let publisher = Publisher::new(zone, Arc::clone(&index), gate, metrics.clone());
        let handler = Handler::new(publisher.published(), metrics);
        drop(follow::slices(&runtime.watches, Arc::clone(&index)));
        let imports = follow::imports(runtime.watches.clone(), index);
        runtime
            .tasks
            .spawn_critical_service("imports", async { imports.await.map(drop) });
        drop(runtime.tasks.spawn_service("publisher", publisher.run()));
        // Work that never ends: a drain lets it answer until the grace period is over.
        runtime
            .tasks
            .spawn_critical("server", listeners.serve(handler));
        runtime.run().await.context("stopped early")
    }
}
