//! What the control stream carries once both sides have said who they are.

use bytes::Bytes;
use prost::Message;

use crate::error::DecodeError;
use crate::frame::frame;
use crate::proto::{self, ControlKind, Empty, Sequence};

/// A message of the control stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Asks for a [`Pong`](Self::Pong) with the same number.
    Ping(u64),
    /// Answers a [`Ping`](Self::Ping).
    Pong(u64),
    /// Asks that nothing new be opened through this connection; what is open goes on.
    GoAway,
}

impl Control {
    /// The message in its frame.
    #[must_use]
    pub fn encode(self) -> Bytes {
        frame(&proto::Control {
            kind: Some(match self {
                Self::Ping(seq) => ControlKind::Ping(Sequence { seq }),
                Self::Pong(seq) => ControlKind::Pong(Sequence { seq }),
                Self::GoAway => ControlKind::GoAway(Empty {}),
            }),
        })
    }

    /// Reads the content of a frame.
    ///
    /// # Errors
    /// When it is no control message.
    pub fn decode(content: Bytes) -> Result<Self, DecodeError> {
        let message = proto::Control::decode(content)?;
        let kind = message
            .kind
            .ok_or(DecodeError::UnknownKind("the control message"))?;
        Ok(match kind {
            ControlKind::Ping(Sequence { seq }) => Self::Ping(seq),
            ControlKind::Pong(Sequence { seq }) => Self::Pong(seq),
            ControlKind::GoAway(Empty {}) => Self::GoAway,
        })
    }
}
