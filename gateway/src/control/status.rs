//! Writes a Peer's status when there is something new to say.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tombolo_crds::{Peer, PeerStatus};

use super::Control;
use super::store::Store;
use crate::peer_status::{PeerView, evaluate};

/// When a failed write is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// A status of which only a message is new (the last error of each dial) is not written more often.
const MESSAGE_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct StatusWriter {
    /// The Peer as it was after the last write, until the watch shows a newer one.
    written: Option<Peer>,
    written_at: Option<Instant>,
    retry_at: Option<Instant>,
}

// === impl StatusWriter ===

impl StatusWriter {
    /// Writes what `view` says of the Peer that the watch shows as `watched`, if it is new.
    pub(super) async fn write(
        &mut self,
        control: &Control,
        store: &Store,
        watched: &Peer,
        view: &PeerView,
    ) {
        let now = Instant::now();
        if self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        let peer = newest(self.written.as_ref(), watched);
        let status = evaluate(peer, view, Timestamp::now());
        let before = peer.status.as_ref();
        if before == Some(&status) {
            return;
        }
        let is_minor = before.is_some_and(|before| same_but_for_messages(before, &status));
        let is_early = self
            .written_at
            .is_some_and(|at| now < at + MESSAGE_INTERVAL);
        if is_minor && is_early {
            return;
        }
        let name = watched.metadata.name.as_deref().unwrap_or_default();
        match store.set_status(name, &status).await {
            Ok(peer) => {
                *self = Self {
                    written: Some(peer),
                    written_at: Some(now),
                    retry_at: None,
                };
            }
            Err(error) => {
                control.metrics.fail_write("PeerStatus");
                if self.retry_at.replace(now + RETRY).is_none() {
                    tracing::info!(peer = name, %error, "status not written");
                }
            }
        }
    }
}

fn newest<'a>(written: Option<&'a Peer>, watched: &'a Peer) -> &'a Peer {
    let version =
        |peer: &Peer| -> Option<u64> { peer.metadata.resource_version.as_ref()?.parse().ok() };
    match written {
        Some(written) if version(written) > version(watched) => written,
        Some(_) | None => watched,
    }
}

fn same_but_for_messages(before: &PeerStatus, after: &PeerStatus) -> bool {
    let states = |status: &PeerStatus| -> Vec<_> {
        let conditions = status.conditions.iter();
        conditions
            .map(|c| (c.type_.clone(), c.reason.clone(), c.observed_generation))
            .collect()
    };
    before.gateways == after.gateways
        && before.exports == after.exports
        && before.incarnation == after.incarnation
        && states(before) == states(after)
}
