//! Frames on streams.

use bytes::Bytes;
use tombolo_link_wire::{FrameDecoder, FrameTooLarge};

use crate::stream::{RecvHalf, StreamError};

/// Reads frames from a stream, and no byte beyond them.
#[derive(Debug)]
pub(crate) struct FrameReader {
    decoder: FrameDecoder,
}

/// Why there is no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error(transparent)]
    TooLarge(#[from] FrameTooLarge),
    #[error("the stream ended within a message")]
    Truncated,
    #[error(transparent)]
    Stream(#[from] StreamError),
}

// === impl FrameReader ===

impl FrameReader {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            decoder: FrameDecoder::new(limit),
        }
    }

    /// The next frame; `None` at the end of the stream. May be dropped and called again.
    pub(crate) async fn next(&mut self, recv: &mut RecvHalf) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.decoder.poll_frame()? {
                return Ok(Some(frame));
            }
            let Some(chunk) = recv.read_chunk(self.decoder.wanted()).await? else {
                return match self.decoder.is_midway() {
                    true => Err(FrameError::Truncated),
                    false => Ok(None),
                };
            };
            self.decoder.push(&chunk);
        }
    }
}

// === impl FrameError ===

impl FrameError {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "FrameTooLarge",
            Self::Truncated => "Truncated",
            Self::Stream(error) => error.reason(),
        }
    }
}
