//! Waiting until a socket takes more.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use quinn::UdpPoller;

/// Waits for one of the tasks that send on a socket: of several that wait, each is woken.
pub(crate) struct Poller<M> {
    wait: M,
    waiting: Option<Waiting>,
}

/// Until the socket takes more.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

// === impl Poller ===

impl<M: Fn() -> Waiting> Poller<M> {
    pub(crate) fn new(wait: M) -> Self {
        Self {
            wait,
            waiting: None,
        }
    }
}

impl<M: Fn() -> Waiting + Unpin + Send + Sync + 'static> UdpPoller for Poller<M> {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { wait, waiting } = &mut *self;
        let waited = ready!(waiting.get_or_insert_with(wait).as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(waited)
    }
}

impl<M> fmt::Debug for Poller<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}
