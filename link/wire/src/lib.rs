//! The bytes between clusters: stream prefaces, answers, catalog messages and datagrams.
//!
//! ```text
//! control stream   Hello ⇄ Hello, then Control …            one a connection, opened by the dialler
//! other streams    Preface::Connect → Answer, then the client's and the server's bytes
//!                  Preface::Catalog → (back) CatalogMessage …
//!                  Preface::Headcounts → (back) ServiceHeadcounts …
//! datagrams        FlowDatagram: a payload of the UDP flow that a Connect stream opened
//! ```
//!
//! The stream of a UDP flow goes on with the payloads that fit into no datagram, each in a frame.
//!
//! Every message is protobuf in a frame: its length as four bytes, big-endian, then the message.
//! What decodes is a domain type whose fields have been checked; what does not is an error with a
//! [reason](DecodeError::reason). Nothing here does I/O, and no input makes it panic or hold more
//! than the limit of its kind of message (see [`limits`]).

mod answer;
mod catalog;
mod codes;
mod control;
mod datagram;
mod error;
mod frame;
mod headcounts;
mod hello;
pub mod limits;
mod preface;
mod proto;

pub use answer::{Answer, Refusal, RefusalReason};
pub use catalog::{CatalogDecodeError, CatalogMessage, RejectedExport, Rejection, encode_upsert};
pub use codes::{CloseCode, StreamCode};
pub use control::Control;
pub use datagram::{FlowDatagram, FlowId};
pub use error::DecodeError;
pub use frame::{FrameDecoder, FrameTooLarge, frame_payload};
pub use headcounts::ServiceHeadcounts;
pub use hello::{Hello, MERGE_VERSION, OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION};
pub use preface::{Connect, Preface, Protocol, Source};

/// The application protocol of a link's connections (RFC 7301).
pub const ALPN: &[u8] = b"tombolo/1";

/// The application protocol of a TCP connection that carries a link's QUIC packets: each in a frame,
/// of at most [`limits::TUNNELLED`] bytes.
pub const TUNNEL_ALPN: &[u8] = b"tombolo-tunnel/1";
