//! The most that a message of each kind may take, in bytes, and how many items it may hold.

/// A `Hello`: seven short fields.
pub const HELLO: usize = 4 * 1024;
/// A `Control` message.
pub const CONTROL: usize = 1024;
/// A `Preface`: names, a source and a trace context.
pub const PREFACE: usize = 8 * 1024;
/// An `Answer`: a reason and a sentence.
pub const ANSWER: usize = 4 * 1024;
/// A `CatalogMessage`: the largest valid export stays below 310 KiB
/// ([`tombolo_catalog::MAX_PORTS`], [`tombolo_catalog::MAX_METADATA_BYTES`],
/// [`tombolo_catalog::MAX_ENDPOINTS`]).
pub const CATALOG: usize = 384 * 1024;
/// A QUIC packet in a frame, where TCP carries the link: with the frame's header as much as a TLS
/// record holds (RFC 8446, 5.1).
pub const TUNNELLED: usize = 16_380;
/// A payload of a UDP flow in a frame: what UDP over IPv6 can carry at most (RFC 768, RFC 8200).
pub const PAYLOAD: usize = 65_527;

/// A `ServiceHeadcounts`: two names, and [`PLACES`] with two label values each.
pub const HEADCOUNTS: usize = 64 * 1024;

/// Labels by which a connection may choose among pods.
pub const SELECTOR: usize = 8;
/// Places in which the endpoints of one service may be; a cluster has a few zones.
pub const PLACES: usize = 256;
/// Clusters that a connection may have passed through.
pub const PATH: usize = 8;
/// Characters of a message that another cluster wrote, for people; the rest is cut off.
pub const TEXT_CHARS: usize = 512;
