//! A response, written into octets that are used again.

use hickory_proto::op::ResponseCode;

use super::query::{Edns, Query};
use super::{HEADER_OCTETS, ServerCookie};

/// Where the question's name begins.
pub(super) const QUESTION: usize = HEADER_OCTETS;

const CLASS_IN: u16 = 1;
const TYPE_OPT: u16 = 41;
const OPTION_COOKIE: u16 = 10;
const COOKIE_OCTETS: u16 = 24;
const POINTER: u16 = 0xc000;

/// Sections of a message, as their counts stand in its header.
#[derive(Clone, Copy)]
pub(super) enum Section {
    Answer = 6,
    Authority = 8,
    Additional = 10,
}

/// A response to one question.
pub(super) struct Writer<'a> {
    octets: &'a mut Vec<u8>,
    limit: usize,
    edns: Option<Edns>,
}

// === impl Writer ===

impl<'a> Writer<'a> {
    /// The header, to be completed by [`Writer::finish`], and the question.
    pub(super) fn new(query: &Query<'_>, octets: &'a mut Vec<u8>) -> Self {
        let header = query.header();
        // QR and AA; RD and CD as they were asked.
        let flags = [0x84 | header[2] & 0x01, header[3] & 0x10];
        octets.clear();
        octets.extend_from_slice(&header[..2]);
        octets.extend_from_slice(&flags);
        octets.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        octets.extend_from_slice(query.question());
        Self {
            octets,
            limit: query.limit(),
            edns: query.edns(),
        }
    }

    /// Whether no more fits.
    pub(super) fn is_full(&self) -> bool {
        self.octets.len() > self.limit
    }

    /// A record: `owner` and `data` write its name and its data.
    pub(super) fn record(
        &mut self,
        section: Section,
        owner: impl FnOnce(&mut Self),
        record_type: u16,
        ttl_seconds: u32,
        data: impl FnOnce(&mut Self),
    ) {
        owner(self);
        self.u16(record_type);
        self.u16(CLASS_IN);
        self.u32(ttl_seconds);
        let at = self.octets.len();
        self.u16(0);
        data(self);
        let length = u16::try_from(self.octets.len() - at - 2).unwrap_or(u16::MAX);
        self.octets[at..at + 2].copy_from_slice(&length.to_be_bytes());
        self.count(section);
    }

    /// The rest of a name that stands at `position`.
    pub(super) fn pointer(&mut self, position: usize) {
        self.u16(POINTER | u16::try_from(position).unwrap_or_default());
    }

    pub(super) fn label(&mut self, label: &str) {
        self.octets
            .push(u8::try_from(label.len()).unwrap_or_default());
        self.octets.extend_from_slice(label.as_bytes());
    }

    pub(super) fn u16(&mut self, number: u16) {
        self.octets.extend_from_slice(&number.to_be_bytes());
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.octets.extend_from_slice(&number.to_be_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.octets.extend_from_slice(bytes);
    }

    /// Ends the message; none if it is too long.
    pub(super) fn finish(
        mut self,
        code: ResponseCode,
        cookie: Option<ServerCookie>,
    ) -> Option<ResponseCode> {
        if let Some(edns) = self.edns {
            self.opt(edns, cookie);
        }
        self.octets[3] |= code.low();
        (!self.is_full()).then_some(code)
    }

    fn opt(&mut self, edns: Edns, server: Option<ServerCookie>) {
        self.octets.push(0);
        self.u16(TYPE_OPT);
        self.u16(edns.payload);
        // RFC 3225: copied, though there is nothing signed here.
        self.u32(if edns.dnssec_ok { 0x8000 } else { 0 });
        match edns.client_cookie.zip(server) {
            None => self.u16(0),
            Some((client, server)) => {
                self.u16(4 + COOKIE_OCTETS);
                self.u16(OPTION_COOKIE);
                self.u16(COOKIE_OCTETS);
                self.bytes(&client);
                self.bytes(&server);
            }
        }
        self.count(Section::Additional);
    }

    fn count(&mut self, section: Section) {
        let at = section as usize;
        let count = u16::from_be_bytes([self.octets[at], self.octets[at + 1]]) + 1;
        self.octets[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }
}
