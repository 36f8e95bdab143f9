//! Saying who one is, and checking it against the certificate.

use std::time::Duration;

use tombolo_link_wire::{
    CloseCode, DecodeError, Hello, MERGE_VERSION, OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, limits,
};

use crate::framing::{FrameError, FrameReader};
use crate::identity::ClusterId;
use crate::stream::{RecvHalf, SendHalf, StreamError};

/// How long the other side may take to say who it is.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// Why the other side is not who it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HelloError {
    #[error("no Hello came in time")]
    Timeout,
    #[error("no Hello came")]
    Missing,
    #[error("Hello: {0}")]
    Frame(#[from] FrameError),
    #[error("Hello: {0}")]
    Decode(#[from] DecodeError),
    #[error("protocol version {0} is too old: the oldest understood is {OLDEST_PROTOCOL_VERSION}")]
    VersionTooOld(u32),
    #[error("Hello says cluster {said}, the certificate {certified}")]
    IdentityMismatch {
        said: ClusterId,
        certified: ClusterId,
    },
}

/// What this side says.
pub(crate) fn hello(own: &ClusterId, replica: &str, siblings: u32, incarnation: &str) -> Hello {
    Hello {
        protocol_version: PROTOCOL_VERSION,
        merge_version: MERGE_VERSION,
        clusterset: own.clusterset.clone(),
        cluster: own.cluster.clone(),
        replica: replica.to_owned(),
        siblings,
        incarnation: incarnation.to_owned(),
    }
}

/// Sends `own` and reads the other side's, which must be of the cluster that its certificate
/// names.
pub(crate) async fn exchange(
    own: &Hello,
    certified: &ClusterId,
    send: &mut SendHalf,
    recv: &mut RecvHalf,
) -> Result<Hello, HelloError> {
    let exchange = async {
        send.write_chunk(own.encode()).await.map_err(lost)?;
        let content = FrameReader::new(limits::HELLO)
            .next(recv)
            .await?
            .ok_or(HelloError::Missing)?;
        check(Hello::decode(content)?, certified)
    };
    tokio::time::timeout(TIMEOUT, exchange)
        .await
        .unwrap_or(Err(HelloError::Timeout))
}

fn lost(error: StreamError) -> HelloError {
    FrameError::from(error).into()
}

fn check(hello: Hello, certified: &ClusterId) -> Result<Hello, HelloError> {
    if hello.protocol_version < OLDEST_PROTOCOL_VERSION {
        return Err(HelloError::VersionTooOld(hello.protocol_version));
    }
    if hello.cluster != certified.cluster || hello.clusterset != certified.clusterset {
        return Err(HelloError::IdentityMismatch {
            said: ClusterId {
                clusterset: hello.clusterset,
                cluster: hello.cluster,
            },
            certified: certified.clone(),
        });
    }
    Ok(hello)
}

// === impl HelloError ===

impl HelloError {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Timeout => "HelloTimeout",
            Self::Missing => "HelloMissing",
            Self::Frame(error) => error.reason(),
            Self::Decode(error) => error.reason(),
            Self::VersionTooOld(_) => "VersionMismatch",
            Self::IdentityMismatch { .. } => "IdentityMismatch",
        }
    }

    pub(crate) fn close_code(&self) -> CloseCode {
        match self {
            Self::Timeout => CloseCode::HelloTimeout,
            Self::Missing | Self::Frame(_) | Self::Decode(_) => CloseCode::Malformed,
            Self::VersionTooOld(_) => CloseCode::VersionMismatch,
            Self::IdentityMismatch { .. } => CloseCode::IdentityMismatch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_version_is_understood_and_an_older_one_not() {
        let east = ClusterId::new("prod", "east").unwrap();
        let mut said = hello(&east, "a", 2, "");

        said.protocol_version = PROTOCOL_VERSION + 1;
        assert!(check(said.clone(), &east).is_ok());
        said.protocol_version = OLDEST_PROTOCOL_VERSION - 1;
        let error = check(said, &east).unwrap_err();
        assert_eq!(error.close_code(), CloseCode::VersionMismatch);
    }

    #[test]
    fn the_certificate_decides_who_it_is() {
        let east = ClusterId::new("prod", "east").unwrap();
        for other in [
            ClusterId::new("prod", "west").unwrap(),
            ClusterId::new("test", "east").unwrap(),
        ] {
            let error = check(hello(&other, "a", 2, ""), &east).unwrap_err();
            assert_eq!(error.close_code(), CloseCode::IdentityMismatch);
        }
    }
}
