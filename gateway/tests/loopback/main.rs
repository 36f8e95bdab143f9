//! Gateways of several clusters in one process, with real QUIC between them and real TCP on both
//! sides.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what a test does not expect is its failure"
)]

mod affinity;
mod backend;
mod backends_over_udp;
mod bytes;
mod choice;
mod families;
mod flows;
mod headless;
mod identity;
mod policy;
mod site;
mod udp_backend;
