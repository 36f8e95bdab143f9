//! Cutting a byte stream into messages.

use bytes::Bytes;

const HEADER: usize = 4;

/// A frame announces more bytes than a message of its kind may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {length} bytes, where at most {limit} are allowed")]
pub struct FrameTooLarge {
    /// What the frame announces.
    pub length: usize,
    /// What is allowed.
    pub limit: usize,
}

/// Cuts a byte stream into frames, one at a time.
///
/// It never asks for bytes that are beyond the current frame, so that what follows the last frame
/// of a stream can be read from it as it is.
#[derive(Debug)]
pub struct FrameDecoder {
    limit: usize,
    length: Option<usize>,
    buffer: Vec<u8>,
}

impl FrameDecoder {
    /// For messages of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            length: None,
            buffer: Vec::new(),
        }
    }

    /// How many bytes are missing until [`poll_frame`](Self::poll_frame) can tell more.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.length.unwrap_or(HEADER) - self.buffer.len()
    }

    /// Whether a frame has begun and not ended.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        self.length.is_some() || !self.buffer.is_empty()
    }

    /// Takes bytes of the stream: as many of `bytes` as [wanted](Self::wanted). Returns how many
    /// those were.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.wanted());
        self.grow(taken);
        self.buffer.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// The frame's content, once it is complete.
    ///
    /// # Errors
    /// When the frame is larger than the limit; nothing has been reserved for it then.
    pub fn poll_frame(&mut self) -> Result<Option<Bytes>, FrameTooLarge> {
        if self.length.is_none() {
            let Ok(header) = <[u8; HEADER]>::try_from(self.buffer.as_slice()) else {
                return Ok(None);
            };
            let length = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
            if length > self.limit {
                return Err(FrameTooLarge {
                    length,
                    limit: self.limit,
                });
            }
            self.buffer.clear();
            self.length = Some(length);
        }
        if self.wanted() > 0 {
            return Ok(None);
        }
        self.length = None;
        Ok(Some(Bytes::from(std::mem::take(&mut self.buffer))))
    }

    /// Doubles like a `Vec`, but not beyond the frame: memory follows the bytes that came, not the
    /// length that was announced.
    fn grow(&mut self, more: usize) {
        let needed = self.buffer.len() + more;
        if needed <= self.buffer.capacity() {
            return;
        }
        let doubled = self.buffer.capacity() * 2;
        let target = doubled.max(needed).min(self.length.unwrap_or(HEADER));
        self.buffer.reserve_exact(target - self.buffer.len());
    }
}

/// The frame of an encoded message.
pub(crate) fn frame(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = Vec::with_capacity(HEADER + length);
    frame.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    message
        .encode(&mut frame)
        .expect("a Vec grows: it always has room");
    Bytes::from(frame)
}

/// The frame of a payload that is not a message, but a UDP client's or server's own.
#[must_use]
pub fn frame_payload(payload: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(
        &u32::try_from(payload.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    frame.extend_from_slice(payload);
    Bytes::from(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_the_bytes_that_came() {
        let mut decoder = FrameDecoder::new(1 << 20);
        decoder.push(&(1_u32 << 20).to_be_bytes());
        assert_eq!(decoder.poll_frame(), Ok(None));
        assert_eq!(decoder.wanted(), 1 << 20);

        let mut came = 0;
        while decoder.wanted() > 0 {
            came += decoder.push(&[0; 1000]);
            assert!(decoder.buffer.capacity() <= (2 * came).min(1 << 20));
        }
        assert_eq!(
            decoder.poll_frame().map(|frame| frame.map(|f| f.len())),
            Ok(Some(1 << 20))
        );
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_by_its_header() {
        let mut decoder = FrameDecoder::new(16);

        assert_eq!(decoder.push(&[0, 0, 0, 17, 1, 2, 3]), 4);

        let error = FrameTooLarge {
            length: 17,
            limit: 16,
        };
        assert_eq!(decoder.poll_frame(), Err(error));
        assert!(decoder.buffer.capacity() <= 16);
    }

    #[test]
    fn what_follows_a_frame_is_left_alone() {
        let mut decoder = FrameDecoder::new(16);
        let stream = [0, 0, 0, 2, 7, 7, 9, 9];

        let header = decoder.push(&stream);
        assert_eq!(decoder.poll_frame(), Ok(None));
        let content = decoder.push(&stream[header..]);

        assert_eq!(decoder.poll_frame(), Ok(Some(Bytes::from_static(&[7, 7]))));
        assert_eq!(&stream[header + content..], [9, 9]);
        assert!(!decoder.is_midway());
    }

    #[test]
    fn an_empty_message_is_a_frame() {
        let mut decoder = FrameDecoder::new(16);

        decoder.push(&[0; 4]);

        assert_eq!(decoder.poll_frame(), Ok(Some(Bytes::new())));
        assert!(!decoder.is_midway());
    }
}
