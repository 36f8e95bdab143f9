//! The receive loop: a task and a socket for each processor, and none for a question.
//!
//! ```text
//! socket ──recvmmsg──► Worker ──► FastPath ──► socket
//!                                    │ what it does not answer
//!                                    ▼
//!                          bounded queue ──► RequestHandler (as for TCP) ──► socket
//! ```

mod handed_on;
mod socket;
mod worker;

use std::io;
use std::net::SocketAddr;

use hickory_server::server::RequestHandler;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::handed_on::HandedOn;
use self::worker::Worker;

/// What becomes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The response has been written.
    Answered,
    /// It is for the [`RequestHandler`].
    HandOn,
    /// It gets no response.
    Dropped,
}

/// Answers what can be answered at once.
pub trait FastPath: Send + Sync + 'static {
    /// Answers `query`, a whole message of `client`, into `response`, which has anything in it.
    fn answer(&self, query: &[u8], client: SocketAddr, response: &mut Vec<u8>) -> Verdict;
}

/// Answers on `sockets` until it is dropped.
///
/// # Errors
/// If a socket is lost.
pub(crate) async fn serve<H>(sockets: Vec<UdpSocket>, handler: H) -> io::Result<()>
where
    H: FastPath + RequestHandler + Clone,
{
    let (queue, waiting) = mpsc::channel(HandedOn::MAX_WAITING);
    let mut workers = JoinSet::new();
    for socket in sockets {
        let worker = Worker::new(socket, handler.clone(), queue.clone())?;
        workers.spawn(worker.run());
    }
    drop(queue);
    tokio::select! {
        Some(end) = workers.join_next() => end.unwrap_or_else(|died| Err(io::Error::other(died))),
        () = handed_on::answer(waiting, handler) => Ok(()),
    }
}
