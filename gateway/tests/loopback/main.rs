//! Gateways of several clusters in one process, with real QUIC between them and real TCP on both
//! sides.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod affinity;
mod backend;
mod bytes;
mod choice;
mod families;
mod headless;
mod site;
