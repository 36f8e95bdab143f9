//! A question of the usual form, as it lies in its message.

use crate::owner::RelativeName;

use super::cookie::client_cookie;
use super::{HEADER_OCTETS, MAX_UDP_PAYLOAD, MIN_UDP_PAYLOAD};

/// Octets of a name, with the root's (RFC 1035).
const MAX_NAME: usize = 255;
const MAX_LABEL: u8 = 63;
const CLASS_IN: u16 = 1;
const TYPE_OPT: u16 = 41;
const OPTION_COOKIE: u16 = 10;

/// QR, the operation, and TC, of which a usual question has none.
const UNUSUAL: u8 = 0b1111_1010;

/// A question of the usual form: one of class IN, and nothing else in the message but perhaps an
/// OPT record of version 0.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    message: &'a [u8],
    /// Where the question's name ends, with the root's octet.
    name_end: usize,
    record_type: u16,
    edns: Option<Edns>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edns {
    pub(super) payload: u16,
    pub(super) dnssec_ok: bool,
    pub(super) client_cookie: Option<[u8; 8]>,
}

/// Reads from the front; none where the message ends too early.
struct Reader<'a>(&'a [u8]);

// === impl Query ===

impl<'a> Query<'a> {
    /// The question in `message`; none if it is not of the usual form, or malformed.
    #[must_use]
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let (header, body) = message.split_at_checked(HEADER_OCTETS)?;
        let &[_, _, flags, _, 0, 1, 0, 0, 0, 0, 0, additionals @ (0 | 1)] = header else {
            return None;
        };
        if flags & UNUSUAL != 0 {
            return None;
        }
        let name_length = name_length(body)?;
        let mut rest = Reader(&body[name_length..]);
        let record_type = rest.u16()?;
        if rest.u16()? != CLASS_IN {
            return None;
        }
        let edns = match additionals {
            0 => None,
            _ => Some(rest.edns()?),
        };
        rest.0.is_empty().then_some(Self {
            message,
            name_end: HEADER_OCTETS + name_length,
            record_type,
            edns,
        })
    }

    /// The number of the type that is asked for.
    #[must_use]
    pub fn record_type(&self) -> u16 {
        self.record_type
    }

    /// The client's half of a cookie, if it sent one.
    #[must_use]
    pub fn client_cookie(&self) -> Option<[u8; 8]> {
        self.edns?.client_cookie
    }

    /// Whether DNSSEC's records are asked for, too.
    #[must_use]
    pub fn wants_dnssec(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Whether the name is `zone` or below it. `zone` is in wire form, with the root's octet.
    #[must_use]
    pub fn is_of(&self, zone: &[u8]) -> bool {
        self.below(zone).is_some()
    }

    pub(super) fn edns(&self) -> Option<Edns> {
        self.edns
    }

    /// Most octets of an answer over UDP.
    pub(super) fn limit(&self) -> usize {
        let limit = self.edns.map_or(MIN_UDP_PAYLOAD, |edns| edns.payload);
        limit.into()
    }

    pub(super) fn header(&self) -> &[u8] {
        &self.message[..HEADER_OCTETS]
    }

    /// Name, type and class as they came.
    pub(super) fn question(&self) -> &'a [u8] {
        &self.message[HEADER_OCTETS..self.name_end + 4]
    }

    /// The name relative to `origin`, and where in the message the origin's own begins; none if it
    /// is not below it.
    pub(super) fn relative_to(&self, origin: &[u8]) -> Option<(RelativeName, usize)> {
        let below = self.below(origin)?;
        let relative = RelativeName::from_labels(labels(below))?;
        Some((relative, HEADER_OCTETS + below.len()))
    }

    /// The name's labels before those of `origin`; none if it is not below it.
    fn below(&self, origin: &[u8]) -> Option<&'a [u8]> {
        let name = &self.message[HEADER_OCTETS..self.name_end];
        let length = name.len().checked_sub(origin.len())?;
        let (below, end) = name.split_at(length);
        // Length octets are no letters, so they are compared as they are.
        if !end.eq_ignore_ascii_case(origin) {
            return None;
        }
        let mut left = below;
        while let [length, after @ ..] = left {
            // Else the origin's octets are the end of a label.
            left = after.get(usize::from(*length)..)?;
        }
        Some(below)
    }
}

// === impl Reader ===

impl Reader<'_> {
    fn u16(&mut self) -> Option<u16> {
        let (octets, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*octets))
    }

    /// An OPT record of version 0.
    fn edns(&mut self) -> Option<Edns> {
        let (&[0], rest) = self.0.split_first_chunk()? else {
            return None;
        };
        self.0 = rest;
        if self.u16()? != TYPE_OPT {
            return None;
        }
        let payload = self.u16()?.clamp(MIN_UDP_PAYLOAD, MAX_UDP_PAYLOAD);
        // The high bits of a response code, which a question has not, and the version.
        if self.u16()? != 0 {
            return None;
        }
        let dnssec_ok = self.u16()? & 0x8000 != 0;
        let length = self.u16()?;
        let (options, rest) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        let mut options = Self(options);
        let mut cookie = None;
        while !options.0.is_empty() {
            let code = options.u16()?;
            let length = options.u16()?;
            let (data, rest) = options.0.split_at_checked(length.into())?;
            options.0 = rest;
            if code == OPTION_COOKIE && cookie.replace(client_cookie(data).ok()?).is_some() {
                return None;
            }
        }
        Some(Edns {
            payload,
            dnssec_ok,
            client_cookie: cookie,
        })
    }
}

/// Octets of the name that `octets` begins with, the root's included; none if it is compressed, too
/// long or cut.
fn name_length(octets: &[u8]) -> Option<usize> {
    let mut length = 0;
    loop {
        let label = *octets.get(length)?;
        length += 1 + usize::from(label);
        if label > MAX_LABEL || length > MAX_NAME {
            return None;
        }
        if label == 0 {
            return Some(length);
        }
    }
}

/// The labels of a name without the root's.
fn labels(mut name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = name.split_first()?;
        let (label, rest) = rest.split_at_checked((*length).into())?;
        name = rest;
        Some(label)
    })
}

#[cfg(test)]
mod tests;
