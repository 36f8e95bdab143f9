//! Streams that a peer opens: clients' connections, and questions for the catalog.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tombolo_link_wire::{
    Answer, Connect, DecodeError, Preface, Refusal, RefusalReason, StreamCode, limits,
};

use crate::catalog;
use crate::connection::Connection;
use crate::counts::Event;
use crate::flow::LinkFlow;
use crate::flows::Deliver;
use crate::framing::{FrameError, FrameReader};
use crate::headcounts;
use crate::local::Local;
use crate::stream::{LinkStream, StreamError};

/// How long a peer may take to say what a stream is for.
const PREFACE: Duration = Duration::from_secs(5);

/// A peer's wish to connect a client to a service of this cluster.
#[derive(Debug)]
pub struct Incoming {
    /// The peer's cluster, by its certificate.
    pub peer: Arc<str>,
    /// The peer's replica.
    pub replica: Arc<str>,
    /// What it wants. Its source is of the peer's cluster, or unknown; its path does not hold this
    /// cluster.
    pub connect: Box<Connect>,
    /// Takes the answer.
    pub responder: Responder,
}

/// Takes the answer to an [`Incoming`]. Dropped without one, the stream is reset.
#[derive(Debug)]
pub struct Responder {
    stream: LinkStream,
    local: Arc<Local>,
}

#[derive(Debug, thiserror::Error)]
enum PrefaceError {
    #[error("no preface came in time")]
    Timeout,
    #[error("the stream ended before its preface")]
    Missing,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Serves the streams that the peer opens, until the connection ends.
pub(crate) async fn accept_streams(local: Arc<Local>, connection: Arc<Connection>) {
    while let Ok((send, recv)) = connection.quic.accept_bi().await {
        let stream = connection.stream(send, recv);
        let served = serve(Arc::clone(&local), Arc::clone(&connection), stream);
        local.spawn(served);
    }
}

async fn serve(local: Arc<Local>, connection: Arc<Connection>, mut stream: LinkStream) {
    let preface = tokio::time::timeout(PREFACE, read_preface(&mut stream))
        .await
        .unwrap_or(Err(PrefaceError::Timeout));
    match preface {
        Ok(Preface::Catalog) => catalog::serve(local, connection, stream).await,
        Ok(Preface::Headcounts) => headcounts::serve(local, connection, stream).await,
        Ok(Preface::Connect(connect)) => {
            let responder = Responder { stream, local };
            forward(&connection, connect, responder).await;
        }
        Err(error) => {
            tracing::debug!(cluster = %connection.cluster, replica = %connection.replica, %error, "preface");
            local.counts.add(Event::StreamIn, error.reason());
            refuse_malformed(stream, &error).await;
        }
    }
}

async fn read_preface(stream: &mut LinkStream) -> Result<Preface, PrefaceError> {
    let content = FrameReader::new(limits::PREFACE)
        .next(&mut stream.recv)
        .await?
        .ok_or(PrefaceError::Missing)?;
    Ok(Preface::decode(content)?)
}

async fn forward(connection: &Connection, connect: Box<Connect>, responder: Responder) {
    if let Err(refusal) = check(connection, &responder.local, &connect) {
        responder.refused(refusal.reason, &refusal.message).await;
        return;
    }
    let gateway = responder.local.incoming.clone();
    let incoming = Incoming {
        peer: Arc::clone(&connection.cluster),
        replica: Arc::clone(&connection.replica),
        connect,
        responder,
    };
    // To wait here would hold the streams of all peers.
    let (incoming, reason, message) = match gateway.try_send(incoming) {
        Ok(()) => return,
        Err(TrySendError::Full(incoming)) => (
            incoming,
            RefusalReason::Overloaded,
            "too many connections are being opened",
        ),
        Err(TrySendError::Closed(incoming)) => {
            (incoming, RefusalReason::Draining, "the gateway stops")
        }
    };
    incoming.responder.refused(reason, message).await;
}

fn check(connection: &Connection, local: &Local, connect: &Connect) -> Result<(), Refusal> {
    let claimed = &connect.source.cluster;
    if !claimed.is_empty() && **claimed != *connection.cluster {
        return Err(Refusal::new(
            RefusalReason::Malformed,
            format!("{} cannot speak for {claimed}", connection.cluster),
        ));
    }
    if connect.path.contains(&local.own.cluster) {
        return Err(Refusal::new(
            RefusalReason::Loop,
            format!("the connection passed {} before", local.own.cluster),
        ));
    }
    Ok(())
}

/// Says what was wrong with a preface, where there is somebody to hear it.
async fn refuse_malformed(mut stream: LinkStream, error: &PrefaceError) {
    let reason = match error {
        PrefaceError::Timeout => {
            stream.send.reset(StreamCode::Timeout);
            stream.recv.stop(StreamCode::Timeout);
            return;
        }
        PrefaceError::Frame(FrameError::Stream(_)) => return,
        PrefaceError::Decode(DecodeError::PathTooLong(_)) => RefusalReason::Loop,
        PrefaceError::Missing | PrefaceError::Frame(_) | PrefaceError::Decode(_) => {
            RefusalReason::Malformed
        }
    };
    answer_refused(stream, Refusal::new(reason, error.to_string())).await;
}

async fn answer_refused(mut stream: LinkStream, refusal: Refusal) {
    stream.recv.stop(StreamCode::Malformed);
    let answer = Answer::Refused(refusal).encode();
    // If the peer is gone, nobody waits for the answer.
    if stream.send.write_chunk(answer).await.is_ok() {
        stream.send.finish();
    }
}

// === impl Responder ===

impl Responder {
    /// The server accepted: its and the client's bytes may flow.
    ///
    /// # Errors
    /// When the peer went away meanwhile.
    pub async fn opened(mut self) -> Result<LinkStream, StreamError> {
        let answer = Answer::Opened.encode();
        let opened = self.stream.send.write_chunk(answer).await;
        self.local.counts.add(Event::StreamIn, outcome(&opened));
        opened.map(|()| self.stream)
    }

    /// As [`opened`](Self::opened), for a UDP client's flow: `deliver` gets the payloads that come
    /// as datagrams, from the first that the peer sends.
    ///
    /// # Errors
    /// When the peer went away meanwhile.
    pub async fn opened_flow(self, deliver: Deliver) -> Result<LinkFlow, StreamError> {
        let Self { stream, local } = self;
        let mut flow = stream.into_flow(deliver);
        let opened = flow.writer.open().await;
        local.counts.add(Event::StreamIn, outcome(&opened));
        opened.map(|()| flow)
    }

    /// The connection is refused; `message` is for people.
    pub async fn refused(self, reason: RefusalReason, message: &str) {
        self.local.counts.add(Event::StreamIn, reason.as_str());
        answer_refused(self.stream, Refusal::new(reason, message)).await;
    }

    /// Waits until the peer has given up: it reads no answer any more, or is gone.
    pub async fn abandoned(&self) {
        self.stream.send.stopped().await;
    }
}

fn outcome(opened: &Result<(), StreamError>) -> &'static str {
    match opened {
        Ok(()) => "Opened",
        Err(error) => error.reason(),
    }
}

// === impl PrefaceError ===

impl PrefaceError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Timeout => "PrefaceTimeout",
            Self::Missing => "PrefaceMissing",
            Self::Frame(error) => error.reason(),
            Self::Decode(error) => error.reason(),
        }
    }
}
