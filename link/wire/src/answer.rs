//! What the far gateway says to a client's connection.

use std::fmt;

use bytes::Bytes;
use prost::Message;

use crate::error::{DecodeError, excerpt};
use crate::frame::frame;
use crate::limits;
use crate::proto::{self, AnswerKind, Empty};

/// The answer to a [`Connect`](crate::Connect). No byte of the client is sent before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server accepted: its and the client's bytes follow.
    Opened,
    /// The stream ends here.
    Refused(Refusal),
}

/// Why a connection was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Refusal {
    /// The kind.
    pub reason: RefusalReason,
    /// A sentence for people, of at most [`limits::TEXT_CHARS`] characters.
    pub message: String,
}

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusalReason {
    /// The service is not exported by that cluster.
    NotExported,
    /// The service is exported, but has no such port.
    PortNotExported,
    /// No endpoint of the service is ready.
    NoReadyEndpoint,
    /// The endpoint refused the connection.
    EndpointRefused,
    /// The endpoint could not be reached.
    DialFailed,
    /// The connection passed that cluster before, or too many clusters.
    Loop,
    /// The gateway replica is about to stop: another one may serve.
    Draining,
    /// The gateway replica has reached a limit: another one may serve.
    Overloaded,
    /// The preface was none.
    Malformed,
    /// A kind that this version does not know.
    Other,
}

// === impl Answer ===

impl Answer {
    /// The message in its frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        frame(&proto::Answer {
            kind: Some(match self {
                Self::Opened => AnswerKind::Opened(Empty {}),
                Self::Refused(refusal) => AnswerKind::Refused(proto::Refused {
                    reason: refusal.reason.to_proto().into(),
                    message: excerpt(&refusal.message, limits::TEXT_CHARS),
                }),
            }),
        })
    }

    /// Reads the content of a frame.
    ///
    /// # Errors
    /// When it is no answer.
    pub fn decode(content: Bytes) -> Result<Self, DecodeError> {
        let message = proto::Answer::decode(content)?;
        match message.kind.ok_or(DecodeError::UnknownKind("the answer"))? {
            AnswerKind::Opened(Empty {}) => Ok(Self::Opened),
            AnswerKind::Refused(refused) => Ok(Self::Refused(Refusal::new(
                RefusalReason::from_proto(refused.reason),
                refused.message,
            ))),
        }
    }
}

// === impl Refusal ===

impl Refusal {
    /// A refusal for `reason`; a long message is cut.
    pub fn new(reason: RefusalReason, message: impl AsRef<str>) -> Self {
        Self {
            reason,
            message: excerpt(message.as_ref(), limits::TEXT_CHARS),
        }
    }
}

// === impl RefusalReason ===

impl RefusalReason {
    /// Whether another replica of the same cluster would answer the same.
    #[must_use]
    pub fn is_definite(self) -> bool {
        !matches!(self, Self::Draining | Self::Overloaded)
    }

    /// A stable word for it, for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotExported => "NotExported",
            Self::PortNotExported => "PortNotExported",
            Self::NoReadyEndpoint => "NoReadyEndpoint",
            Self::EndpointRefused => "EndpointRefused",
            Self::DialFailed => "DialFailed",
            Self::Loop => "Loop",
            Self::Draining => "Draining",
            Self::Overloaded => "Overloaded",
            Self::Malformed => "Malformed",
            Self::Other => "Other",
        }
    }

    fn to_proto(self) -> proto::RefusalReason {
        match self {
            Self::NotExported => proto::RefusalReason::NotExported,
            Self::PortNotExported => proto::RefusalReason::PortNotExported,
            Self::NoReadyEndpoint => proto::RefusalReason::NoReadyEndpoint,
            Self::EndpointRefused => proto::RefusalReason::EndpointRefused,
            Self::DialFailed => proto::RefusalReason::DialFailed,
            Self::Loop => proto::RefusalReason::Loop,
            Self::Draining => proto::RefusalReason::Draining,
            Self::Overloaded => proto::RefusalReason::Overloaded,
            Self::Malformed => proto::RefusalReason::Malformed,
            Self::Other => proto::RefusalReason::Other,
        }
    }

    fn from_proto(reason: i32) -> Self {
        match proto::RefusalReason::try_from(reason) {
            Ok(proto::RefusalReason::NotExported) => Self::NotExported,
            Ok(proto::RefusalReason::PortNotExported) => Self::PortNotExported,
            Ok(proto::RefusalReason::NoReadyEndpoint) => Self::NoReadyEndpoint,
            Ok(proto::RefusalReason::EndpointRefused) => Self::EndpointRefused,
            Ok(proto::RefusalReason::DialFailed) => Self::DialFailed,
            Ok(proto::RefusalReason::Loop) => Self::Loop,
            Ok(proto::RefusalReason::Draining) => Self::Draining,
            Ok(proto::RefusalReason::Overloaded) => Self::Overloaded,
            Ok(proto::RefusalReason::Malformed) => Self::Malformed,
            Ok(proto::RefusalReason::Other) | Err(_) => Self::Other,
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
