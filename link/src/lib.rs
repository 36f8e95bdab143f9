//! Links between clusters: identity and trust, handshake, connection pool, catalog replication.
//!
//! ```text
//!              set_peers                 open ─► LinkStream          incoming ─► Incoming
//!                  │                       │                             ▲
//!  Trust ◄─────────┤                       │ fewest streams in flight    │ Connect
//!    ▲             ▼                       ▼                             │
//!    │     peer (one task each) ──► connections of the peer ◄── streams of each connection
//!    │       │ pool: whom to dial        ▲        │                      │ Catalog
//!  verify    ▼                           │        └─ control: Hello, Ping, GoAway
//!    └──── dial ── QUIC, TLS 1.3 ── Hello┤                               ▼
//!    └──── listen ─ QUIC, TLS 1.3 ─ Hello┘                        catalog: snapshot, changes
//!            └─ over UDP, or through a tunnel: TLS over TCP
//! ```
//!
//! This is the only crate that knows quinn and rustls; neither is visible from outside. Invariants:
//! - a connection is in a peer's pool only if its certificate names that peer's cluster and chains
//!   to that very peer's CA bundle;
//! - no byte of a client leaves before the far gateway answered `Opened`;
//! - what another cluster sends can close its own stream or connection, and nothing else;
//! - which peer to dial when, how a catalog is told and when a connection is dead are decided by
//!   pure state machines, to which time is an argument.

mod batches;
mod bbr;
pub mod ca;
mod catalog;
mod config;
mod connection;
mod counts;
mod datagrams;
mod dial;
mod fault;
mod flow;
mod flows;
mod framing;
mod headcounts;
mod heartbeat;
mod hello;
mod identity;
mod incoming;
mod links;
mod listen;
mod local;
mod open;
mod peer;
mod poller;
mod pool;
mod refusals;
mod socket;
mod status;
mod steady;
mod stream;
mod telling;
mod tls;
mod transport;
mod trust;
mod tunnel;
mod udp;
mod unreachable;

pub use catalog::{CatalogEvent, CatalogSnapshot, CatalogStream, CatalogUpdate};
pub use config::{Congestion, LinkConfig, PeerConfig};
pub use counts::{Count, Event};
pub use flow::{FlowError, FlowReader, FlowSender, FlowWriter, LinkFlow, NotSent};
pub use flows::Deliver;
pub use headcounts::AllHeadcounts;
pub use identity::{IdentityError, IdentityFiles, NameError};
pub use incoming::{Incoming, Responder};
pub use links::{Links, StartError};
pub use open::OpenError;
pub use status::{Carrier, ConnectionStats, LinkFault, PeerLink, ReplicaLink};
pub use stream::{LinkStream, RecvHalf, SendHalf, Stopped, StreamError};
pub use tombolo_link_wire::{
    CloseCode, Connect, Protocol, Refusal, RefusalReason, RejectedExport, Rejection, Source,
    StreamCode,
};
pub use trust::{BundleError, CaBundle};
