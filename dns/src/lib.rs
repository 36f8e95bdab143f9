//! The resolver of `clusterset.local`: watches ServiceImports and multi-cluster EndpointSlices, and
//! answers from an immutable snapshot of them over UDP and TCP.
//!
//! ```text
//! API server ──watch──► state ──► ZoneIndex ──Publisher──► Snapshot (ArcSwap)
//!      (or the state files)                                    │ load
//!             client ──UDP──► workers ──► Handler as FastPath ─┤──► client
//!                                │ hands on                    │
//!             client ──TCP──► hickory ──► Handler as            ┴─► Reply ──► client
//!                                         RequestHandler
//! ```
//!
//! With a Corefile ([`tombolo_dns_corefile`]) there is a listener for each place that it names, and a
//! chain of plugins for each server block; the zone is one of them:
//!
//! ```text
//! client ──► Listeners ──► ChainHandler ──► Routes ──► Chain ─► cache, …, zone, forward
//!                                                        └─► zone, from octets to octets
//! ```
//!
//! Invariants:
//! - The program is ready when the snapshot is complete, from the API server or from the state
//!   files; until then it listens, and answers SERVFAIL. With a Corefile it waits for that before it
//!   listens, for some seconds at most.
//! - A question takes no lock and waits for nothing: what it needs is in the snapshot.
//! - While it drains it is not ready, but it answers until the grace period is over: clients and
//!   CoreDNS learn only after a while that it goes.
//!
//! `tombolo-dns corefile` edits the Corefile of the cluster's CoreDNS, which forwards the zone here;
//! `tombolo-dns address` puts the address of a node's resolver on the node.

mod address;
mod args;
mod chain;
mod follow;
mod forward;
mod handler;
mod index;
mod listeners;
mod metrics;
mod publisher;
mod reply;
mod servers;
mod state;
mod udp;

pub use args::Args;
pub use handler::Handler;
pub use index::{Update, ZoneIndex};
pub use listeners::{BindError, Listeners};
pub use metrics::DnsMetrics;
pub use publisher::{Published, Publisher};
pub use servers::ChainHandler;
pub use state::{EndpointState, ImportState, PortState, SliceState};
pub use udp::{FastPath, SlowPath, Verdict};
