//! The operator as a process, against a real kube-apiserver and etcd.
//!
//! Tests that look at one service share a cluster and its operator, each in a namespace of its own;
//! those that stop operators or take things from them have a cluster each. All clusters share one
//! etcd. Nothing here waits for a fixed time: what should come to pass is polled, and what should
//! not is asked for after something that would have come later.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the lints' exceptions for tests do not reach what tests have in common"
)]
#![allow(dead_code, reason = "of the harness each test program uses a part")]

#[path = "../harness/api_server.rs"]
mod api_server;
mod crds;
mod exports;
mod families;
mod gateways;
#[path = "../harness/go_modules.rs"]
mod go_modules;
mod headless;
mod imports;
mod leadership;
#[path = "../harness/patience.rs"]
mod patience;
#[path = "../harness/process.rs"]
mod process;
#[path = "../harness/program.rs"]
mod program;
mod rights;
mod scale;
#[path = "../harness/scene.rs"]
mod scene;
mod trust;
mod uninstall;
