//! The client: puts one load on the path and prints what came of it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::say;
use crate::{load, probe, udp};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to connect to
    target: SocketAddr,
    /// How long to measure
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How long the load is on before it is measured
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    #[command(subcommand)]
    load: Load,
}

#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub(crate) enum Load {
    /// Bytes as fast as they go
    Bulk {
        /// TCP connections
        #[arg(long, default_value_t = 1)]
        streams: usize,
        /// From the server to the client
        #[arg(long)]
        down: bool,
        /// One more from the client to this server, beside them
        #[arg(long)]
        rival: Option<SocketAddr>,
    },
    /// A question after the answer to the one before
    Ask {
        /// Bulk streams beside it, from the client to the server
        #[arg(long, default_value_t = 0)]
        beside: usize,
    },
    /// The same over UDP
    UdpAsk,
    /// Datagrams to the server
    UdpRate {
        /// At this rate, if not as fast as the socket takes them
        #[arg(long)]
        megabits: Option<f64>,
    },
    /// Connections that are opened, say a byte, hear it, and are closed
    Connect {
        /// How many at a time
        #[arg(long, default_value_t = 16)]
        parallel: usize,
    },
    /// New connections at a steady rate, each told when it is over, until it is killed
    Probe {
        /// How many a second
        #[arg(long, default_value_t = 50)]
        rate: u32,
    },
    /// Connections that say nothing, until standard input ends
    Idle {
        /// How many
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
    },
}

/// What a load measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Bytes that arrived at the far end while it was measured, by stream.
    pub(crate) streams: Vec<u64>,
    /// Bytes that arrived since the load began.
    pub(crate) all_bytes: u64,
    /// Bytes of the rival that arrived while it was measured.
    pub(crate) rival: u64,
    /// How long it was measured.
    pub(crate) seconds: f64,
    /// From a question to its answer, ascending, in microseconds.
    pub(crate) answers: Vec<u32>,
    /// Datagrams that were sent, or questions over UDP.
    pub(crate) sent: u64,
    /// Those of them that did not arrive, or had no answer.
    pub(crate) lost: u64,
    /// Connections that were opened and closed, or are held.
    pub(crate) connections: u64,
    /// Connections that failed.
    pub(crate) failed: u64,
}

// === impl Args ===

impl Args {
    #[tokio::main]
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        rlimit::increase_nofile_limit(u64::MAX)?;
        let warm_up = Duration::from_secs_f64(self.warm_up);
        let time = load::Time {
            warm_up,
            measured: Duration::from_secs_f64(self.seconds),
        };
        let target = self.target;
        let measured = match self.load {
            Load::Bulk {
                streams,
                down,
                rival,
            } => load::bulk(target, time, (streams, down), rival).await?,
            Load::Ask { beside } => load::ask(target, time, beside).await?,
            Load::UdpAsk => udp::ask(target, time).await?,
            Load::UdpRate { megabits } => {
                tokio::task::spawn_blocking(move || udp::rate(target, time, megabits)).await??
            }
            Load::Connect { parallel } => load::connect(target, time, parallel).await,
            Load::Probe { rate } => return probe::probe(target, rate).await,
            Load::Idle { connections } => {
                let (measured, held) = load::idle(target, connections).await;
                say(&serde_json::to_string(&measured)?)?;
                let mut line = String::new();
                tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut line))
                    .await??;
                drop(held);
                return Ok(());
            }
        };
        say(&serde_json::to_string(&measured)?)?;
        // What the loads left behind ends with the process.
        Ok(())
    }
}
