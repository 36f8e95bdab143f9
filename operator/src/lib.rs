//! The operator: exports in, imports out.
//!
//! ```text
//! watches ─► Index ─► Queue ─► view ─► plan ─► Writer ─► API server
//! (every       ▲                      (pure)  (leader only)  │
//!  replica)    └────────────── answers ◄─────────────────────┘
//! Leases of gateways, hang-ups ─► Gateways ─► Index
//! ```
//!
//! What is to be there follows from what is there: [`plan::plan`] compares the two for one service
//! and says what to write. Nothing is remembered that a restart would lose, but which gateway ports
//! rest. An export is withdrawn only on evidence, see [`plan::action::Evidence`].

pub mod args;
pub mod cleanup;
pub mod controller;
pub mod gateways;
pub mod hangups;
pub mod heartbeats;
pub mod identity;
pub mod index;
pub mod installation;
pub mod leadership;
pub mod mcs;
pub mod metrics;
pub mod plan;
pub mod policies;
pub mod queue;
pub mod reconcile;
pub mod settled;
pub mod trust;
pub mod watches;
pub mod writer;
