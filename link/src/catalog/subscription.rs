//! Following a peer's catalog over whatever connections there are.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::sync::{mpsc, watch};
use tombolo_link_wire::{Preface, StreamCode, limits};

use super::CatalogEvent;
use super::receiver::{CatalogError, CatalogReceiver};
use crate::connection::Connection;
use crate::counts::Event;
use crate::framing::{FrameError, FrameReader};
use crate::local::Local;
use crate::peer::{Active, Peer};
use crate::pool::ConnectionId;
use crate::stream::{LinkStream, StreamError};
use crate::telling;

/// Events that wait for the gateway; the peer waits while they are more.
const EVENTS: usize = 64;
/// How long a replica may take to begin its snapshot before another one is asked: its own caches
/// may never become complete.
const BEGIN: Duration = Duration::from_secs(10);
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// A subscription to a peer's catalog. It finds connections by itself and lasts until it is
/// dropped or the peer is removed.
#[derive(Debug)]
pub struct CatalogStream {
    events: mpsc::Receiver<CatalogEvent>,
}

/// Why a catalog stream ended.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error(transparent)]
    Broken(#[from] CatalogError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("connection lost: {0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error("the peer ended the stream")]
    Finished,
    #[error("the peer's replica has no complete catalog")]
    NotComplete,
    #[error("the peer's replica is about to stop")]
    Moved,
}

// === impl CatalogStream ===

impl CatalogStream {
    /// The next event; `None` when the peer was removed or the links were closed. May be dropped
    /// and called again.
    pub async fn next(&mut self) -> Option<CatalogEvent> {
        self.events.recv().await
    }
}

/// Starts to follow the catalog of `peer`.
pub(crate) fn subscribe(local: &Arc<Local>, peer: Option<Arc<Peer>>) -> CatalogStream {
    let (sender, events) = mpsc::channel(EVENTS);
    if let Some(peer) = peer {
        let shared = Arc::clone(local);
        local.spawn(async move {
            tokio::select! {
                biased;
                () = shared.closed.cancelled() => {}
                () = peer.removed.cancelled() => {}
                () = sender.closed() => {}
                () = follow(&shared, &peer, &sender) => {}
            }
        });
    }
    CatalogStream { events }
}

/// Returns when nobody listens any more.
async fn follow(local: &Local, peer: &Peer, events: &mpsc::Sender<CatalogEvent>) {
    let mut active = peer.active.clone();
    let mut backoff = FIRST_BACKOFF;
    let mut failed: Option<ConnectionId> = None;
    loop {
        if active.wait_for(|active| !active.is_empty()).await.is_err() {
            return;
        }
        let other = peer.pick(|connection| Some(connection.id) == failed);
        let Some(connection) = other.or_else(|| peer.pick(|_| false)) else {
            continue;
        };
        let mut receiver = CatalogReceiver::new(&*peer.cluster);
        let Err(error) = receive(local, &connection, &mut receiver, &mut active, events).await
        else {
            return;
        };
        local.counts.add(Event::CatalogIn, error.reason());
        if let Interruption::Broken(error) = &error {
            tracing::info!(
                cluster = %peer.cluster,
                replica = %connection.replica,
                reason = error.reason(),
                %error,
                "the peer's catalog stream is broken"
            );
        }
        failed = Some(connection.id);
        if matches!(error, Interruption::Moved) {
            continue;
        }
        let interrupted = CatalogEvent::Interrupted {
            reason: error.reason(),
            message: error.to_string(),
        };
        if events.send(interrupted).await.is_err() {
            return;
        }
        if receiver.is_following() {
            backoff = FIRST_BACKOFF;
        }
        let jitter = rand::rng().random_range(0.5..1.0);
        tokio::time::sleep(backoff.mul_f64(jitter)).await;
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

/// Follows the catalog through one connection. Returns `Ok` when nobody listens any more.
async fn receive(
    local: &Local,
    connection: &Arc<Connection>,
    receiver: &mut CatalogReceiver,
    active: &mut watch::Receiver<Active>,
    events: &mpsc::Sender<CatalogEvent>,
) -> Result<(), Interruption> {
    let mut stream = telling::ask::<Interruption>(connection, &Preface::Catalog).await?;
    let mut frames = FrameReader::new(limits::CATALOG);
    let begin = tokio::time::sleep(BEGIN);
    tokio::pin!(begin);
    let mut begun = false;
    loop {
        let frame = tokio::select! {
            frame = frames.next(&mut stream.recv) => frame?,
            changed = active.changed() => match changed {
                Ok(()) if is_replaced(connection.id, active) => return Err(Interruption::Moved),
                Ok(()) => continue,
                Err(_) => return Ok(()),
            },
            () = &mut begin, if !begun => return Err(Interruption::NotComplete),
        };
        begun = true;
        let content = frame.ok_or(Interruption::Finished)?;
        let event = receiver
            .handle(content)
            .inspect_err(|_| give_up(&mut stream))?;
        let Some(event) = event else {
            continue;
        };
        count_rejected(local, &event);
        if events.send(event).await.is_err() {
            return Ok(());
        }
    }
}

/// Whether other connections are usable instead of this one.
fn is_replaced(id: ConnectionId, active: &mut watch::Receiver<Active>) -> bool {
    let active = active.borrow_and_update();
    !active.is_empty() && active.iter().all(|connection| connection.id != id)
}

fn give_up(stream: &mut LinkStream) {
    stream.recv.stop(StreamCode::CatalogBroken);
}

fn count_rejected(local: &Local, event: &CatalogEvent) {
    let rejected = match event {
        CatalogEvent::Snapshot(update) => update.rejected.as_slice(),
        CatalogEvent::Rejected(rejected) => std::slice::from_ref(rejected),
        CatalogEvent::Upsert(_) | CatalogEvent::Withdraw(_) | CatalogEvent::Interrupted { .. } => {
            &[]
        }
    };
    for rejected in rejected {
        local
            .counts
            .add(Event::ExportRejected, rejected.rejection.reason());
    }
}

// === impl Interruption ===

impl Interruption {
    fn reason(&self) -> &'static str {
        match self {
            Self::Broken(error) => error.reason(),
            Self::Frame(error) => error.reason(),
            Self::Stream(error) => error.reason(),
            Self::Connection(_) => "Lost",
            Self::Finished => "Finished",
            Self::NotComplete => "NotComplete",
            Self::Moved => "Moved",
        }
    }
}
