//! The receive loop: a thread and a socket for each processor, and no task for a question.
//!
//! ```text
//! socket ──recvmmsg──► Worker ──► FastPath ──► Outbox ──sendmmsg──► socket
//!                                    │ what it does not answer
//!                                    ▼
//!                          bounded queue ──► SlowPath, a task each ──► socket
//! ```
//!
//! The threads are for this alone. What else the program does (lists of the API server, a new snapshot,
//! the slow path) may be long, and the kernel lets questions go before it where both want one processor;
//! tokio would not.

mod handed_on;
mod outbox;
mod socket;
mod worker;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;

use futures::future::select_all;
use hickory_server::server::Request;
use mio::Waker;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::handed_on::HandedOn;
use self::worker::Worker;

/// What becomes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The response has been written.
    Answered,
    /// It is for the [`SlowPath`].
    HandOn,
    /// It gets no response.
    Dropped,
}

/// Answers what can be answered at once.
pub trait FastPath: Send + Sync + 'static {
    /// Answers `query`, a whole message of `client`, into `response`, which has anything in it.
    fn answer(&self, query: &[u8], client: SocketAddr, response: &mut Vec<u8>) -> Verdict;
}

/// Answers everything else that is a request.
pub trait SlowPath: Send + Sync + 'static {
    /// The response to `request`, however long that takes; none if the client is to hear nothing.
    fn respond(&self, request: &Request) -> impl Future<Output = Option<Vec<u8>>> + Send;
}

/// Of workers that end with it.
#[derive(Default)]
struct Threads {
    stop: CancellationToken,
    wakers: Vec<Arc<Waker>>,
}

/// Answers on `sockets`, of which there is one at least, until it is dropped.
///
/// # Errors
/// If a socket is lost.
pub(crate) async fn serve<H>(sockets: Vec<UdpSocket>, handler: H) -> io::Result<()>
where
    H: FastPath + SlowPath + Clone,
{
    let (queue, waiting) = mpsc::channel(HandedOn::MAX_WAITING);
    let mut threads = Threads::default();
    let mut ends = Vec::new();
    for socket in sockets {
        let stop = threads.stop.clone();
        let worker = Worker::new(socket, handler.clone(), queue.clone(), stop)?;
        threads.wakers.push(worker.waker());
        let (end, ended) = oneshot::channel();
        thread::Builder::new()
            .name("questions".to_owned())
            .spawn(move || drop(end.send(worker.run())))?;
        ends.push(ended);
    }
    drop(queue);
    tokio::select! {
        (end, ..) = select_all(ends) => end.unwrap_or_else(|died| Err(io::Error::other(died))),
        () = handed_on::answer(waiting, handler) => Ok(()),
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.cancel();
        for waker in &self.wakers {
            if let Err(error) = waker.wake() {
                tracing::warn!(%error, "a thread that answers does not end");
            }
        }
    }
}

#[cfg(test)]
mod tests;
