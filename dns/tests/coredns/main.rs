//! The same imports, served by CoreDNS and by `tombolo-dns`.
//!
//! One real API server has ServiceImports and EndpointSlices of each kind. CoreDNS, by its
//! `kubernetes` plugin with `multicluster`, and the program answer from it, and are asked the same
//! questions. Whatever they answer differently must be a difference that `docs/dns.md` names.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the lints' exceptions for tests do not reach what tests have in common"
)]
#![allow(dead_code, reason = "of the harness each test program uses a part")]

mod answer;
#[path = "../../../operator/tests/harness/api_server.rs"]
mod api_server;
mod ask;
mod compare;
mod differences;
#[path = "../../../operator/tests/harness/go_modules.rs"]
mod go_modules;
mod objects;
#[path = "../../../operator/tests/harness/patience.rs"]
mod patience;
#[path = "../../../operator/tests/harness/process.rs"]
mod process;
mod questions;
mod servers;
