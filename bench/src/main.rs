//! How fast two gateways are, beside other ways across the same path.
//!
//! ```text
//! client ── near gateway ── path ── far gateway ── server      each in a network namespace
//! ```
//!
//! `run` makes the namespaces, starts each [carrier] between client and server, and
//! measures them in turn, so that a ratio compares what ran in the same minute. The gateways are
//! the product's data plane and links with tables filled by hand: what differs from a pod is that
//! nobody watches an API server. `failover` kills replicas of the far gateway under new connections.

mod carrier;
mod changes;
mod client;
mod delay;
mod failover;
mod figures;
mod gateway;
mod lab;
mod load;
mod probe;
mod process;
mod report;
mod run;
mod server;
mod udp;
mod wireguard;

use std::io::Write;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures gateways in network namespaces of this machine
#[derive(Debug, Parser)]
#[command(version)]
enum Args {
    /// Measures everything (root)
    Run(run::Args),
    /// Kills replicas of the far gateway, and tells how new connections fare (root)
    Failover(failover::Args),
    /// A gateway, as `run` starts it
    Gateway(gateway::Args),
    /// The server behind the far gateway
    Server(server::Args),
    /// One measurement; prints what it measured as JSON
    Client(client::Args),
    /// Holds back the packets of NFQUEUE queues
    Delay(delay::Args),
    /// Measures how soon resolvers answer with what has changed in the API
    Changes(changes::Args),
    /// Keeps a CPU from sleeping
    Spin,
}

fn main() -> anyhow::Result<()> {
    match Args::parse() {
        Args::Run(args) => args.run(),
        Args::Failover(args) => args.run(),
        Args::Gateway(args) => args.run(),
        Args::Server(args) => args.run(),
        Args::Client(args) => args.run(),
        Args::Delay(args) => args.run(),
        Args::Changes(args) => args.run(),
        Args::Spin => loop {
            std::hint::spin_loop();
        },
    }
}

/// Prints a line to whoever started this process.
fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
