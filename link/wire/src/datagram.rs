//! A payload of a UDP flow as it crosses in a datagram: the flow's ID, then the payload.
//!
//! The ID is a variable-length integer (RFC 9000, 16), so that it costs one to four bytes of a path
//! on which every byte may decide whether a payload fits.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::DecodeError;

/// Bits of a number; the two that are left tell how long its encoding is.
const BITS: u32 = 62;
const LONGEST: usize = 8;

/// What tells the flows of one connection apart: the ID of the stream that opened the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(u64);

/// A payload of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowDatagram {
    /// The flow.
    pub flow: FlowId,
    /// What its client or its server sent, which may be nothing at all.
    pub payload: Bytes,
}

// === impl FlowId ===

impl FlowId {
    /// The flow that a stream opened; a stream's ID has no more than 62 bits.
    #[must_use]
    pub fn of_stream(stream: u64) -> Self {
        Self(stream & ((1 << BITS) - 1))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// As it is written, and how many of the bytes that are.
    fn encoded(self) -> ([u8; LONGEST], usize) {
        let power = match self.0 {
            0..0x40 => 0,
            0x40..0x4000 => 1,
            0x4000..0x4000_0000 => 2,
            0x4000_0000.. => 3,
        };
        let length = 1_usize << power;
        let shifted = self.0 << (u64::BITS - 8 * (1_u32 << power));
        ((shifted | power << BITS).to_be_bytes(), length)
    }
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl FlowDatagram ===

impl FlowDatagram {
    /// A datagram with a payload of `flow`.
    #[must_use]
    pub fn encode(flow: FlowId, payload: &[u8]) -> Bytes {
        let (header, length) = flow.encoded();
        let mut datagram = BytesMut::with_capacity(length + payload.len());
        datagram.put_slice(&header[..length]);
        datagram.put_slice(payload);
        datagram.freeze()
    }

    /// Reads a datagram.
    ///
    /// # Errors
    /// When it ends within its flow's ID.
    pub fn decode(datagram: Bytes) -> Result<Self, DecodeError> {
        let first = *datagram.first().ok_or(DecodeError::FlowIdCutShort)?;
        let length = 1_usize << (first >> 6);
        let mut number = [0; LONGEST];
        let header = datagram.get(..length).ok_or(DecodeError::FlowIdCutShort)?;
        number[LONGEST - length..].copy_from_slice(header);
        number[LONGEST - length] &= 0x3f;
        Ok(Self {
            flow: FlowId(u64::from_be_bytes(number)),
            payload: datagram.slice(length..),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_rfc_shows() {
        // RFC 9000, A.1.
        for (number, written) in [
            (37, &[0x25][..]),
            (15_293, &[0x7b, 0xbd]),
            (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
            (
                151_288_809_941_952_652,
                &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c],
            ),
        ] {
            let datagram = FlowDatagram::encode(FlowId::of_stream(number), b"");

            assert_eq!(datagram, written);
            let read = FlowDatagram::decode(datagram).unwrap();
            assert_eq!(read.flow.get(), number);
        }
    }

    #[test]
    fn a_longer_encoding_than_needed_is_read() {
        let datagram = Bytes::from_static(&[0x40, 0x25, b'x']);

        let read = FlowDatagram::decode(datagram).unwrap();

        assert_eq!(read.flow.get(), 37);
        assert_eq!(&read.payload[..], b"x");
    }

    #[test]
    fn a_datagram_that_ends_within_the_id_is_none() {
        for cut in [&[][..], &[0x40], &[0x80, 0, 0], &[0xc0, 0, 0, 0, 0, 0, 0]] {
            let read = FlowDatagram::decode(Bytes::copy_from_slice(cut));

            assert_eq!(read, Err(DecodeError::FlowIdCutShort));
        }
    }
}
