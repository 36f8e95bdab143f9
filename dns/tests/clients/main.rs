//! Clients that nobody wrote for this: the resolvers of libcs and languages, the tools that people
//! look with, and a validating resolver in between.
//!
//! All of them are in a network namespace like a pod's, with the `/etc/resolv.conf` that a kubelet
//! writes. What they ask is CoreDNS with the forward that `tombolo-dns corefile install` writes, or
//! the resolver of a node with the Corefile of the chart:
//!
//! ```text
//! client ─┬─► CoreDNS 10.96.0.10 ──► tombolo-dns 10.96.0.53
//!         └─► tombolo-dns 169.254.25.10, the node's ──► CoreDNS for cluster.local
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the lints' exceptions for tests do not reach what tests have in common"
)]
#![allow(dead_code, reason = "of the harness each test program uses a part")]

#[path = "../../../operator/tests/harness/go_modules.rs"]
mod go_modules;
mod languages;
mod pod;
#[path = "../../../operator/tests/harness/process.rs"]
mod process;
mod questions;
mod servers;
#[path = "../harness/state.rs"]
mod state;
mod tools;
mod validating;
