//! How many endpoints services have: telling the peers, and remembering what they told.
//!
//! Every replica of a gateway asks every peer, since every one chooses among clusters. What was
//! told lives in memory only, and is forgotten when the stream that told it ends: an old number is
//! worse than none.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rand::RngExt;
use tombolo_catalog::{Headcounts, ServiceName};
use tombolo_link_wire::{DecodeError, Preface, ServiceHeadcounts, limits};

use crate::connection::Connection;
use crate::counts::Event;
use crate::framing::{FrameError, FrameReader};
use crate::local::Local;
use crate::peer::Peer;
use crate::pool::ConnectionId;
use crate::stream::{LinkStream, SendHalf, StreamError};
use crate::telling;

#[cfg(test)]
mod tests;

/// Changes within this time are told together: endpoints come and go in crowds.
const COALESCE: Duration = Duration::from_millis(20);
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
/// Longer than for a catalog: a peer of an older version will not have learned it meanwhile.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// Services of one peer that are remembered; of more, those told last are taken for unknown.
const SERVICES: usize = 1 << 16;

/// The endpoints of all of this cluster's exported services.
pub type AllHeadcounts = BTreeMap<ServiceName, Arc<Headcounts>>;

/// What a peer told; nothing while it is not heard.
#[derive(Debug, Default)]
pub(crate) struct Told(RwLock<HashMap<ServiceName, Arc<Headcounts>>>);

#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("connection lost: {0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error("the peer ended the stream")]
    Finished,
}

/// Sends this cluster's headcounts, and every change of them, until the peer stops the stream.
pub(crate) async fn serve(local: Arc<Local>, connection: Arc<Connection>, stream: LinkStream) {
    telling::serve(local, connection, stream, Event::HeadcountsOut, tell).await;
}

/// Returns when nobody counts any more.
async fn tell(local: &Local, send: &mut SendHalf) -> Result<(), StreamError> {
    let mut headcounts = local.headcounts.subscribe();
    let mut told: Arc<AllHeadcounts> = Arc::default();
    let stopped = send.stopped();
    tokio::pin!(stopped);
    loop {
        let now = Arc::clone(&headcounts.borrow_and_update());
        for message in changes(&told, &now) {
            send.write_chunk(message.encode()).await?;
        }
        told = now;
        tokio::select! {
            changed = headcounts.changed() => match changed {
                Ok(()) => tokio::time::sleep(COALESCE).await,
                Err(_) => return Ok(()),
            },
            stopped = &mut stopped => return Err(stopped.into()),
        }
    }
}

/// What brings a peer that was told `before` to `now`.
fn changes(before: &AllHeadcounts, now: &AllHeadcounts) -> Vec<ServiceHeadcounts> {
    let changed = now.iter().filter(|(service, headcounts)| {
        let before = before.get(*service);
        // By pointer first: most did not change.
        before.is_none_or(|before| !Arc::ptr_eq(before, headcounts) && before != *headcounts)
    });
    let changed = changed.map(|(service, headcounts)| ServiceHeadcounts {
        service: service.clone(),
        headcounts: Some((**headcounts).clone()),
    });
    let gone = before.keys().filter(|service| !now.contains_key(*service));
    let gone = gone.map(|service| ServiceHeadcounts {
        service: service.clone(),
        headcounts: None,
    });
    changed.chain(gone).collect()
}

/// Keeps what `peer` tells, through whatever connections there are, until it is removed.
pub(crate) async fn follow(local: Arc<Local>, peer: Arc<Peer>) {
    tokio::select! {
        biased;
        () = local.closed.cancelled() => {}
        () = peer.removed.cancelled() => {}
        () = follow_forever(&local, &peer) => {}
    }
}

async fn follow_forever(local: &Local, peer: &Peer) {
    let mut active = peer.active.clone();
    let mut backoff = FIRST_BACKOFF;
    let mut failed: Option<ConnectionId> = None;
    while active.wait_for(|active| !active.is_empty()).await.is_ok() {
        let other = peer.pick(|connection| Some(connection.id) == failed);
        let Some(connection) = other.or_else(|| peer.pick(|_| false)) else {
            continue;
        };
        let error = match receive(&connection, &peer.headcounts).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        if peer.headcounts.clear() {
            backoff = FIRST_BACKOFF;
        }
        local.counts.add(Event::HeadcountsIn, error.reason());
        tracing::debug!(cluster = %peer.cluster, replica = %connection.replica, %error, "headcounts");
        failed = Some(connection.id);
        let jitter = rand::rng().random_range(0.5..1.0);
        tokio::time::sleep(backoff.mul_f64(jitter)).await;
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

async fn receive(connection: &Arc<Connection>, told: &Told) -> Result<Infallible, Interruption> {
    let mut stream = telling::ask::<Interruption>(connection, &Preface::Headcounts).await?;
    let mut frames = FrameReader::new(limits::HEADCOUNTS);
    loop {
        let content = frames.next(&mut stream.recv).await?;
        let message = ServiceHeadcounts::decode(content.ok_or(Interruption::Finished)?)?;
        told.remember(message);
    }
}

// === impl Told ===

impl Told {
    pub(crate) fn get(&self, service: &ServiceName) -> Option<Arc<Headcounts>> {
        self.0.read().get(service).cloned()
    }

    fn remember(&self, message: ServiceHeadcounts) {
        let mut told = self.0.write();
        match message.headcounts {
            None => drop(told.remove(&message.service)),
            Some(headcounts) => {
                if told.len() < SERVICES || told.contains_key(&message.service) {
                    told.insert(message.service, Arc::new(headcounts));
                }
            }
        }
    }

    /// Forgets all; whether there was anything.
    fn clear(&self) -> bool {
        !std::mem::take(&mut *self.0.write()).is_empty()
    }
}

// === impl Interruption ===

impl Interruption {
    fn reason(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.reason(),
            Self::Frame(error) => error.reason(),
            Self::Stream(error) => error.reason(),
            Self::Connection(_) => "Lost",
            Self::Finished => "Finished",
        }
    }
}
