//! Why a watch is broken.

use std::error::Error;

use kube::{core::Status, runtime::watcher};
use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// Why a watch hears nothing, or what went wrong with one object of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The program's service account may not do it.
    Forbidden,
    /// The program's credentials are not accepted.
    Unauthorized,
    /// The API server does not know this kind of object.
    NotFound,
    /// The watch fell too far behind; happens in health too.
    Expired,
    /// The API server answered with another error.
    Refused,
    /// There is no connection to the API server.
    Unreachable,
    /// The API server stopped answering in the middle of a list.
    Stalled,
    /// Objects that change all the time were not heard to.
    Silent,
    /// The API server's answer, or one object in it, could not be decoded.
    Undecodable,
}

// === impl Failure ===

impl Failure {
    /// A stable word for it: metric label, and what is logged.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Forbidden => "Forbidden",
            Self::Unauthorized => "Unauthorized",
            Self::NotFound => "NotFound",
            Self::Expired => "Expired",
            Self::Refused => "Refused",
            Self::Unreachable => "Unreachable",
            Self::Stalled => "Stalled",
            Self::Silent => "Silent",
            Self::Undecodable => "Undecodable",
        }
    }

    /// Whether nobody but an administrator can mend it.
    pub(super) fn needs_someone(self) -> bool {
        matches!(self, Self::Forbidden | Self::Unauthorized)
    }

    /// Whether it is nothing to speak of.
    pub(super) fn happens_in_health(self) -> bool {
        self == Self::Expired
    }
}

impl From<&watcher::Error> for Failure {
    fn from(error: &watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => error.into(),
            watcher::Error::WatchError(status) => (&**status).into(),
            watcher::Error::NoResourceVersion => Self::Undecodable,
        }
    }
}

impl From<&kube::Error> for Failure {
    // kube's errors depend on its features; all that are not told apart here are one failure.
    #[allow(clippy::wildcard_enum_match_arm)]
    fn from(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => (&**status).into(),
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Self::Undecodable,
            _ => Self::Unreachable,
        }
    }
}

impl From<&Status> for Failure {
    fn from(status: &Status) -> Self {
        match status.code {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            410 => Self::Expired,
            _ => Self::Refused,
        }
    }
}

impl EncodeLabelValue for Failure {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.reason(), encoder)
    }
}

/// An error with its causes, on one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Many errors repeat their source.
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}
