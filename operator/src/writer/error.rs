//! Why a write did not come about, and whether another try may help.

use kube::core::Status;

use super::TIMEOUT;

/// Why a write did not come about.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// This replica is not the leader.
    #[error("not the leader")]
    NotLeader,
    /// The API server did not answer in time.
    #[error("no answer within {TIMEOUT:?}")]
    Timeout,
    /// The API server will have none of it until something changes.
    #[error("{}", .0.message)]
    Refused(Box<Status>),
    /// The cluster's service range has no address left.
    #[error("{}", .0.message)]
    NoAddress(Box<Status>),
    /// The namespace is being deleted.
    #[error("the namespace is being deleted")]
    NamespaceTerminating,
    /// Another time it may work.
    #[error("{0}")]
    Unavailable(#[source] Box<kube::Error>),
}

// === impl WriteError ===

impl WriteError {
    /// A stable word for it: a metric label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotLeader => "NotLeader",
            Self::Timeout => "Timeout",
            Self::Refused(_) => "Refused",
            Self::NoAddress(_) => "NoServiceAddress",
            Self::NamespaceTerminating => "NamespaceTerminating",
            Self::Unavailable(_) => "Unavailable",
        }
    }
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::Unavailable(Box::new(error));
        };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        if causes
            .into_iter()
            .any(|cause| cause.reason == "NamespaceTerminating")
        {
            return Self::NamespaceTerminating;
        }
        // Not a refusal by the code, and no reason tells it from other internal errors.
        if status.code == 500 && status.message.contains("failed to allocate a serviceIP") {
            return Self::NoAddress(status);
        }
        match status.code {
            400 | 403 | 422 => Self::Refused(status),
            _ => Self::Unavailable(Box::new(kube::Error::Api(status))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_retry_mends_is_told_from_what_one_may() {
        let error = |code| {
            let status = Status {
                code,
                ..Status::default()
            };
            WriteError::from(kube::Error::Api(status.boxed())).reason()
        };

        assert_eq!(error(403), "Refused");
        assert_eq!(error(422), "Refused");
        assert_eq!(error(429), "Unavailable");
        assert_eq!(error(500), "Unavailable");
    }

    #[test]
    fn a_full_service_range_is_told_from_other_internal_errors() {
        let status = Status {
            code: 500,
            message:
                "Internal error occurred: failed to allocate a serviceIP for Service \"web\": \
                      range is full"
                    .to_owned(),
            ..Status::default()
        };

        let error = WriteError::from(kube::Error::Api(status.boxed()));

        assert_eq!(error.reason(), "NoServiceAddress");
        assert!(error.to_string().contains("range is full"));
    }
}
