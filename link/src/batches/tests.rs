use std::future::poll_fn;

use futures::FutureExt;
use futures::task::AtomicWaker;
use parking_lot::Mutex;

use super::*;

/// Bytes and size of packets of one call.
type Sent = (usize, Option<usize>);

/// A socket that takes all, or nothing while it is full.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    full: Mutex<bool>,
    sent: Mutex<Vec<Sent>>,
    waiting: AtomicWaker,
}

#[derive(Debug)]
struct Poller(Arc<State>);

// === impl Recorder ===

impl Recorder {
    pub(super) fn fill(&self) {
        *self.state.full.lock() = true;
    }

    pub(super) fn empty(&self) {
        *self.state.full.lock() = false;
        self.state.waiting.wake();
    }

    pub(super) fn sent(&self) -> Vec<Sent> {
        self.state.sent.lock().clone()
    }
}

impl AsyncUdpSocket for Recorder {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller(Arc::clone(&self.state)))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if *self.state.full.lock() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let sent = (transmit.contents.len(), transmit.segment_size);
        self.state.sent.lock().push(sent);
        Ok(())
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        _: &mut [IoSliceMut<'_>],
        _: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(to(0))
    }
}

// === impl Poller ===

impl UdpPoller for Poller {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.waiting.register(cx.waker());
        match *self.0.full.lock() {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }
}

pub(super) fn to(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

pub(super) fn packets(contents: &[u8], segment: Option<usize>) -> Transmit<'_> {
    Transmit {
        destination: to(1),
        ecn: None,
        contents,
        segment_size: segment,
        src_ip: None,
    }
}

/// A task that sends twice ten packets a turn, as quinn's, for so many turns, and then ends.
async fn sender(socket: Arc<BatchingSocket>, mut turns: usize) {
    let ten = [0; 14_520];
    poll_fn(|cx| {
        if turns == 0 {
            return Poll::Ready(());
        }
        turns -= 1;
        for _ in 0..2 {
            socket.try_send(&packets(&ten, Some(1452))).unwrap();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[tokio::test]
async fn what_a_task_sends_in_its_turns_leaves_in_full_calls() {
    let recorder = Arc::new(Recorder::default());
    let (socket, _) = batching(Arc::clone(&recorder) as _);

    Driver::new(Box::pin(sender(socket, 4)), recorder.clone()).await;

    let sent = recorder.sent();
    assert_eq!(
        sent.iter().map(|(bytes, _)| bytes).sum::<usize>(),
        80 * 1452
    );
    assert_eq!(sent, [(40 * 1452, Some(1452)), (40 * 1452, Some(1452))]);
}

#[tokio::test]
async fn nothing_waits_for_company() {
    let recorder = Arc::new(Recorder::default());
    let (socket, _) = batching(Arc::clone(&recorder) as _);
    let task = async move {
        socket.try_send(&packets(&[0; 2904], Some(1452))).unwrap();
        std::future::pending().await
    };

    assert!(
        Driver::new(Box::pin(task), recorder.clone())
            .now_or_never()
            .is_none()
    );

    assert_eq!(recorder.sent(), [(2904, Some(1452))]);
}

#[tokio::test]
async fn a_task_rests_while_the_socket_is_full() {
    let recorder = Arc::new(Recorder::default());
    let (socket, _) = batching(Arc::clone(&recorder) as _);
    recorder.fill();
    let driver = tokio::spawn(Driver::new(Box::pin(sender(socket, 4)), recorder.clone()));
    tokio::task::yield_now().await;
    assert_eq!(recorder.sent(), []);

    recorder.empty();
    driver.await.unwrap();

    let sent = recorder.sent().into_iter().map(|(bytes, _)| bytes);
    assert_eq!(sent.sum::<usize>(), 80 * 1452);
}

#[tokio::test]
async fn outside_of_its_tasks_quinn_sends_at_once() {
    let recorder = Arc::new(Recorder::default());
    let (socket, _) = batching(Arc::clone(&recorder) as _);

    socket.try_send(&packets(&[0; 2904], Some(1452))).unwrap();

    assert_eq!(recorder.sent(), [(2904, Some(1452))]);
}
