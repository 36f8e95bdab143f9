//! The gateway: the only part of Tombolo that faces other clusters.
//!
//! ```text
//! watches ─► indices ─► snapshots (Arc, swapped whole) ─► data plane ◄─► links to other clusters
//!    ▲                                                                          │
//!    └──── copies of peers' exports, Peer status, heartbeat ◄── control ◄───────┘
//! ```
//!
//! The pure core ([`routes`], [`choice`], [`endpoints`], [`affinity`], [`flows`], [`limiter`],
//! [`pods`], [`peers`]) decides; it knows neither a Kubernetes client nor tokio. The data plane
//! reads its snapshots without a lock, so that no burst of changes in the API holds up a
//! connection. Invariants:
//!
//! * a client's bytes leave this gateway only after the far one has answered `Opened`;
//! * only endpoints of exported services that take traffic are dialled, whatever an EndpointSlice says;
//! * nothing that a peer or a user sends stops anything but itself.

pub mod absence;
pub mod affinity;
mod args;
pub mod choice;
pub mod control;
pub mod copies;
pub mod data_plane;
pub mod endpoints;
pub mod flows;
pub mod health;
pub mod heartbeat;
pub mod import_socket;
pub mod limiter;
pub mod link_metrics;
pub mod listeners;
pub mod metrics;
pub mod peer_status;
pub mod peers;
pub mod places;
pub mod pods;
pub mod projection;
pub mod proxy_protocol;
pub mod routes;
pub mod rulebook;
mod run;
pub mod service;
pub mod splice;
#[cfg(test)]
mod testing;
pub mod world;

pub use args::Args;
