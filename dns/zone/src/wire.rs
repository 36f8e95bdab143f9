//! Octets in, octets out: the usual questions answered without a record being made of anything.
//!
//! What is not usual (other operations and types, names outside of the zone, answers that must be
//! cut) is left to [`Snapshot::answer`](crate::Snapshot::answer) and whoever encodes what it says.
//! For all that is answered here both say the same.

mod cookie;
mod query;
mod respond;
mod writer;

use hickory_proto::rr::Name;

pub use cookie::{Cookies, InvalidCookie, ServerCookie, client_cookie};
pub use query::Query;

/// Largest UDP message, to whatever size the client may say: larger ones are fragmented on some
/// paths, and lost (DNS flag day 2020).
pub const MAX_UDP_PAYLOAD: u16 = 1_232;
/// Smallest maximum that a client can have, and the only one without EDNS (RFC 1035, RFC 6891).
pub const MIN_UDP_PAYLOAD: u16 = 512;

const HEADER_OCTETS: usize = 12;

/// A name in wire form, with the root's octet.
#[must_use]
pub fn octets(name: &Name) -> Vec<u8> {
    let mut octets = Vec::with_capacity(name.len() + 1);
    for label in name.iter() {
        octets.extend(u8::try_from(label.len()));
        octets.extend_from_slice(label);
    }
    octets.push(0);
    octets
}
