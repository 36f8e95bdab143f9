//! Opening a client's connection through one of a peer's replicas.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tombolo_link_wire::{
    Answer, Connect, DecodeError, Preface, Refusal, RefusalReason, StreamCode, limits,
};

use crate::connection::Connection;
use crate::counts::Event;
use crate::framing::{FrameError, FrameReader};
use crate::local::Local;
use crate::peer::Peer;
use crate::pool::ConnectionId;
use crate::stream::LinkStream;

/// Why a connection was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no such peer.
    #[error("{0} is no peer")]
    UnknownCluster(String),
    /// No connection to the peer is usable.
    #[error("not connected to {0}")]
    NotConnected(String),
    /// The preface breaks a rule.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// The far gateway refused, and another replica would too; or all did.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Every connection was lost, or did not answer in time.
    #[error("no answer: {0}")]
    Lost(String),
}

/// Why one connection did not open it. Another one may.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("{0}")]
    Full(Refusal),
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("connection lost: {0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error("the answer: {0}")]
    Frame(#[from] FrameError),
    #[error("the answer: {0}")]
    Decode(#[from] DecodeError),
    #[error("the stream ended without an answer")]
    Missing,
    #[error("no answer in {} s", .0.as_secs_f32())]
    Timeout(Duration),
    #[error("not even an acknowledgement in {} ms", .0.as_millis())]
    Silent(Duration),
}

/// How long a connection is given.
#[derive(Clone, Copy)]
enum Manner {
    /// As long as its other end shows that it lives.
    Hasty,
    /// As long as the configuration says: there is no other one.
    Patient,
}

/// Tries the usable connections until one opens it, or a refusal holds for all of them.
pub(crate) async fn open(
    local: &Local,
    peer: &Peer,
    connect: &Connect,
) -> Result<LinkStream, OpenError> {
    connect.validate()?;
    let mut tried: Vec<ConnectionId> = Vec::new();
    let mut avoided: Vec<Arc<str>> = Vec::new();
    let mut last: Option<OpenError> = None;
    let mut silent: Option<Arc<Connection>> = None;
    loop {
        let next = peer.pick(|connection| {
            tried.contains(&connection.id) || avoided.contains(&connection.replica)
        });
        // If none does better, the first that was silent may only have been slow.
        let (connection, manner) = match next {
            Some(connection) => (connection, Manner::Hasty),
            None => match silent.take() {
                Some(connection) if last.is_none() => (connection, Manner::Patient),
                Some(_) | None => break,
            },
        };
        tried.push(connection.id);
        match attempt(local, &connection, connect, manner).await {
            Ok(stream) => {
                local.counts.add(Event::StreamOut, "Opened");
                return Ok(stream);
            }
            Err(error) => {
                local.counts.add(Event::StreamOut, error.reason());
                tracing::debug!(
                    cluster = %peer.cluster,
                    replica = %connection.replica,
                    service = %connect.service,
                    %error,
                    "not opened"
                );
                if error.is_of_replica() {
                    avoided.push(Arc::clone(&connection.replica));
                }
                match error {
                    AttemptError::Refused(refusal) if refusal.reason.is_definite() => {
                        return Err(refusal.into());
                    }
                    AttemptError::Refused(refusal) | AttemptError::Full(refusal) => {
                        last = Some(refusal.into());
                    }
                    AttemptError::Connection(_)
                    | AttemptError::Frame(_)
                    | AttemptError::Decode(_)
                    | AttemptError::Missing
                    | AttemptError::Timeout(_) => last = Some(OpenError::Lost(error.to_string())),
                    AttemptError::Silent(_) => silent = silent.or(Some(connection)),
                }
            }
        }
    }
    Err(last.unwrap_or_else(|| OpenError::NotConnected(peer.cluster.to_string())))
}

async fn attempt(
    local: &Local,
    connection: &Arc<Connection>,
    connect: &Connect,
    manner: Manner,
) -> Result<LinkStream, AttemptError> {
    // It waits only when the peer's limit of streams is reached: then another connection is better.
    let Some(opened) = connection.quic.open_bi().now_or_never() else {
        let message = "this replica has too many streams open";
        let refusal = Refusal::new(RefusalReason::Overloaded, message);
        return Err(AttemptError::Full(refusal));
    };
    let (send, recv) = opened?;
    let mut stream = connection.stream(send, recv);
    let timeout = local.config.answer_timeout;
    let asked = tokio::time::timeout(timeout, ask(&mut stream, connect));
    let answer = match manner {
        Manner::Patient => asked.await,
        Manner::Hasty => tokio::select! {
            answer = asked => answer,
            patience = silence(connection) => {
                connection.suspect();
                give_up(&mut stream);
                return Err(AttemptError::Silent(patience));
            }
        },
    };
    match answer {
        Ok(Ok(Answer::Opened)) => Ok(stream),
        Ok(Ok(Answer::Refused(refusal))) => {
            stream.send.finish();
            Err(refusal.into())
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            give_up(&mut stream);
            Err(AttemptError::Timeout(timeout))
        }
    }
}

fn give_up(stream: &mut LinkStream) {
    stream.send.reset(StreamCode::Timeout);
    stream.recv.stop(StreamCode::Timeout);
}

/// Returns, with how long that took, if nothing at all comes from the other end, to which something
/// was just sent. Never otherwise: who answers is at work.
async fn silence(connection: &Connection) -> Duration {
    let (before, patience) = (connection.received(), connection.patience());
    tokio::time::sleep(patience).await;
    if connection.received() != before {
        std::future::pending::<()>().await;
    }
    patience
}

async fn ask(stream: &mut LinkStream, connect: &Connect) -> Result<Answer, AttemptError> {
    let preface = Preface::Connect(Box::new(connect.clone())).encode();
    // A peer that refuses at once may stop the stream before it has read all: its answer counts.
    let written = stream.send.write_chunk(preface).await;
    let content = match FrameReader::new(limits::ANSWER)
        .next(&mut stream.recv)
        .await
    {
        Ok(content) => content.ok_or(AttemptError::Missing)?,
        Err(error) => {
            written.map_err(FrameError::from)?;
            return Err(error.into());
        }
    };
    Ok(Answer::decode(content)?)
}

// === impl OpenError ===

impl OpenError {
    /// A stable word for it, for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownCluster(_) => "UnknownCluster",
            Self::NotConnected(_) => "NotConnected",
            Self::Malformed(_) => "Malformed",
            Self::Refused(refusal) => refusal.reason.as_str(),
            Self::Lost(_) => "Lost",
        }
    }
}

// === impl AttemptError ===

impl AttemptError {
    /// Whether another connection to the same replica would do no better.
    fn is_of_replica(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Timeout(_) | Self::Silent(_) => true,
            Self::Full(_)
            | Self::Connection(_)
            | Self::Frame(_)
            | Self::Decode(_)
            | Self::Missing => false,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Full(refusal) | Self::Refused(refusal) => refusal.reason.as_str(),
            Self::Connection(_) => "Lost",
            Self::Frame(error) => error.reason(),
            Self::Decode(error) => error.reason(),
            Self::Missing => "AnswerMissing",
            Self::Timeout(_) => "AnswerTimeout",
            Self::Silent(_) => "Silent",
        }
    }
}
