//! Packets that leave together.
//!
//! quinn hands at most ten packets to the kernel at a time, and sends at most twenty whenever the
//! task of a connection runs. The way through the kernel, and that through the receiver's, costs
//! little more for as many as one call takes than for ten. So what a connection sends while its task
//! runs is gathered, the task runs on while it has more to send, and all leaves before it rests:
//! nothing waits for company.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};

use self::batch::Batch;
use self::signal::Signal;

mod batch;
mod signal;
#[cfg(test)]
mod tests;

/// How often a task runs at most before others have their turn. Three times twenty packets of
/// Ethernet's size are more than a call takes.
const TURNS: usize = 3;

tokio::task_local! {
    /// What the task that runs has to send.
    static GATHERED: RefCell<Batch>;
}

/// Spawns quinn's tasks such that what they send leaves together.
#[derive(Debug)]
pub(crate) struct Batching {
    socket: Arc<dyn AsyncUdpSocket>,
}

/// The socket that quinn's tasks believe to send on.
#[derive(Debug)]
pub(crate) struct BatchingSocket {
    inner: Arc<dyn AsyncUdpSocket>,
}

/// One of quinn's tasks.
struct Driver {
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
    socket: Arc<dyn AsyncUdpSocket>,
    writable: Pin<Box<dyn UdpPoller>>,
    batch: Batch,
    signal: Arc<Signal>,
    waker: Waker,
}

/// What an endpoint needs to send through `socket`.
pub(crate) fn batching(socket: Arc<dyn AsyncUdpSocket>) -> (Arc<BatchingSocket>, Arc<Batching>) {
    let inner = Arc::clone(&socket);
    (
        Arc::new(BatchingSocket { inner }),
        Arc::new(Batching { socket }),
    )
}

// === impl Batching ===

impl Runtime for Batching {
    fn new_timer(&self, i: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(i)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime.spawn(Box::pin(Driver::new(future, Arc::clone(&self.socket))));
    }

    fn wrap_udp_socket(&self, t: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(t)
    }
}

// === impl BatchingSocket ===

impl AsyncUdpSocket for BatchingSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let gathered = GATHERED.try_with(|batch| {
            let mut batch = batch.borrow_mut();
            if batch.add(transmit) {
                return Ok(());
            }
            batch.send(&*self.inner)?;
            match batch.add(transmit) {
                true => Ok(()),
                false => self.inner.try_send(transmit),
            }
        });
        // quinn sends outside of its tasks as well, when it refuses a connection.
        gathered.unwrap_or_else(|_| self.inner.try_send(transmit))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

// === impl Driver ===

impl Driver {
    fn new(
        task: Pin<Box<dyn Future<Output = ()> + Send>>,
        socket: Arc<dyn AsyncUdpSocket>,
    ) -> Self {
        let signal = Arc::new(Signal::default());
        Self {
            task,
            writable: Arc::clone(&socket).create_io_poller(),
            socket,
            batch: Batch::default(),
            waker: Waker::from(Arc::clone(&signal)),
            signal,
        }
    }

    fn run_once(&mut self) -> Poll<()> {
        let batch = RefCell::new(std::mem::take(&mut self.batch));
        let (done, batch) = GATHERED.sync_scope(batch, || {
            let done = self
                .task
                .as_mut()
                .poll(&mut Context::from_waker(&self.waker));
            (done, GATHERED.with(RefCell::take))
        });
        self.batch = batch;
        done
    }

    /// Sends what was gathered, as soon as the socket takes it.
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.batch.send(&*self.socket) {
                Ok(()) => return Poll::Ready(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(error) = ready!(self.writable.as_mut().poll_writable(cx)) {
                        tracing::debug!(%error, "cannot wait for the socket");
                        self.batch = Batch::default();
                    }
                }
                // To the connection, these packets are lost.
                Err(error) => {
                    tracing::debug!(%error, "cannot send");
                    self.batch = Batch::default();
                }
            }
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.signal.register(cx.waker());
        ready!(this.flush(cx));
        let mut done = Poll::Pending;
        for _ in 0..TURNS {
            this.signal.begin();
            done = this.run_once();
            let goes_on = this.signal.is_raised() && this.batch.has_room();
            if done.is_ready() || !goes_on {
                break;
            }
        }
        // What the socket does not take now, it takes before the task runs again; if it never does,
        // the connection has ended and nobody waits for it.
        let _ = this.flush(cx);
        if this.signal.end() {
            cx.waker().wake_by_ref();
        }
        done
    }
}
