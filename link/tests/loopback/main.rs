//! Gateways of several clusters in one process, with real QUIC over the loopback interface.

mod cluster;
mod streams;
