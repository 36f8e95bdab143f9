//! Gateways of several clusters in one process, with real QUIC over the loopback interface.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what a test does not expect is its failure"
)]

mod catalog;
mod cluster;
mod fallback;
mod flows;
mod front;
mod hostile;
mod pool;
mod relay;
mod stranger;
mod streams;
mod trust;
