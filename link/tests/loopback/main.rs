//! Gateways of several clusters in one process, with real QUIC over the loopback interface.

mod catalog;
mod cluster;
mod hostile;
mod pool;
mod relay;
mod stranger;
mod streams;
mod trust;
