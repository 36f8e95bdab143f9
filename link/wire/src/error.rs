//! Why bytes are no message.

use crate::limits;

/// Why bytes are no valid message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no protobuf of the expected message.
    #[error("not a protobuf message of this kind: {0}")]
    Protobuf(String),
    /// No member of the message's `oneof` is set, or one of a later version.
    #[error("{0} is empty or of an unknown kind")]
    UnknownKind(&'static str),
    /// A field breaks its rule.
    #[error("{field} {value:?} is not allowed")]
    Field {
        /// The field's name.
        field: &'static str,
        /// What was found, cut to a printable length.
        value: String,
    },
    /// The connection passed through more than [`limits::PATH`] clusters.
    #[error("the path has {0} clusters, more than {max}", max = limits::PATH)]
    PathTooLong(usize),
    /// A datagram ends within the ID of its flow.
    #[error("the datagram ends within its flow's ID")]
    FlowIdCutShort,
}

impl DecodeError {
    /// A stable word for it, for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Protobuf(_) => "NotProtobuf",
            Self::UnknownKind(_) => "UnknownKind",
            Self::Field { .. } => "InvalidField",
            Self::PathTooLong(_) => "PathTooLong",
            Self::FlowIdCutShort => "FlowIdCutShort",
        }
    }

    pub(crate) fn field(field: &'static str, value: impl AsRef<str>) -> Self {
        Self::Field {
            field,
            value: excerpt(value.as_ref(), 80),
        }
    }
}

impl From<prost::DecodeError> for DecodeError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Protobuf(excerpt(&error.to_string(), 200))
    }
}

/// The beginning of a text that a stranger wrote and that may be long.
pub(crate) fn excerpt(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
