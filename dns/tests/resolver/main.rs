//! The resolver as its clients meet it: the server on loopback, and the whole program.

#![allow(clippy::unwrap_used, reason = "a test's helpers are test code")]

mod answers;
mod client;
mod cookies;
mod corefile;
mod encrypted;
mod messages;
mod program;
mod server;
#[path = "../harness/state.rs"]
mod state;
mod upstream;
