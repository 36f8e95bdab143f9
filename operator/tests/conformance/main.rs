//! The rules of the MCS-API, one test each, in two and three clusters: in each an API server, an
//! operator and a gateway, all of them processes, linked by QUIC on loopback.
//!
//! Tests drive the clusters as a user would, and look at what a user sees. Those of rules share
//! three clusters and have a namespace each; those that stop or replace something have clusters of
//! their own. `docs/conformance.md` says which rule is held by which test.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the lints' exceptions for tests do not reach what tests have in common"
)]
#![allow(dead_code, reason = "of the harness each test program uses a part")]

#[path = "../harness/api_server.rs"]
mod api_server;
#[path = "../harness/go_modules.rs"]
mod go_modules;
#[path = "../harness/patience.rs"]
mod patience;
#[path = "../harness/process.rs"]
mod process;
#[path = "../harness/program.rs"]
mod program;
#[path = "../harness/scene.rs"]
mod scene;

mod conflicts;
mod existing;
mod exports;
mod gateway;
mod imports;
mod reach;
mod site;
mod slices;
mod table;
mod versions;
mod writes;
