//! Questions that the fast path does not answer.

use std::sync::Arc;

use hickory_server::net::xfer::Protocol;
use hickory_server::server::Request;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::SlowPath;
use super::socket::{Path, Socket};

/// A query, and how its response goes back.
pub(super) struct HandedOn {
    query: Vec<u8>,
    path: Path,
    socket: Arc<Socket>,
}

// === impl HandedOn ===

impl HandedOn {
    /// Questions that wait to be looked at.
    pub(super) const MAX_WAITING: usize = 4_096;
    /// Questions that are being answered, each in a task: what they wait for may be slow.
    const MAX_UNDER_WAY: usize = 4_096;

    pub(super) fn new(query: &[u8], path: Path, socket: Arc<Socket>) -> Self {
        Self {
            query: query.to_vec(),
            path,
            socket,
        }
    }

    async fn answer(self, handler: &impl SlowPath) {
        let Self {
            query,
            path,
            socket,
        } = self;
        let client = path.client;
        let Some(header) = query.first_chunk::<4>().copied() else {
            return;
        };
        let request = match Request::from_bytes(query, client, Protocol::Udp) {
            Ok(request) => request,
            Err(error) => {
                tracing::debug!(%client, %error, "not a DNS message");
                if let Some(response) = malformed(header) {
                    socket.send(path, &response);
                }
                return;
            }
        };
        if header[2] & RESPONSE != 0 {
            return;
        }
        if let Some(response) = handler.respond(&request).await {
            socket.send(path, &response);
        }
    }
}

/// Answers what is in the queue, until nobody fills it any more.
pub(super) async fn answer<H: SlowPath + Clone>(mut waiting: mpsc::Receiver<HandedOn>, handler: H) {
    let under_way = Arc::new(Semaphore::new(HandedOn::MAX_UNDER_WAY));
    let mut tasks = JoinSet::new();
    while let Some(question) = waiting.recv().await {
        // Never closed.
        let Ok(permit) = Arc::clone(&under_way).acquire_owned().await else {
            return;
        };
        let handler = handler.clone();
        tasks.spawn(async move {
            question.answer(&handler).await;
            drop(permit);
        });
        while tasks.try_join_next().is_some() {}
    }
}

/// QR, in the third octet of a header.
const RESPONSE: u8 = 0x80;
const FORMERR: u8 = 1;

/// FORMERR to what has a header; none to a response, lest two servers answer each other.
fn malformed([id, di, flags, _]: [u8; 4]) -> Option<[u8; 12]> {
    // The operation and RD as they came.
    let flags = (flags & RESPONSE == 0).then_some(RESPONSE | flags & 0x79)?;
    Some([id, di, flags, FORMERR, 0, 0, 0, 0, 0, 0, 0, 0])
}
