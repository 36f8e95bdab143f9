//! Packets on their way to the TCP connection.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tombolo_link_wire::limits;

/// What may wait, in bytes: while the TCP connection takes one such load, the next one is made.
const CAPACITY: usize = 128 * 1024;
/// A packet with its frame, at most.
const FRAME: usize = limits::TUNNELLED + size_of::<u32>();

/// Frames that the TCP connection has not taken yet, one after the other. Many put them there, one
/// takes them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: Mutex<Vec<u8>>,
    filled: Notify,
    emptied: Notify,
    closed: CancellationToken,
}

// === impl Outbox ===

impl Outbox {
    /// Puts a packet there; false if there is no room. What nobody will take is taken for sent.
    pub(super) fn push(&self, packet: &[u8]) -> bool {
        if self.closed.is_cancelled() {
            return true;
        }
        // TCP can carry no longer one, and the path's MTU says so.
        let Ok(length) = u32::try_from(packet.len()) else {
            return true;
        };
        {
            let mut frames = self.frames.lock();
            if !has_room(&frames) {
                return false;
            }
            frames.extend_from_slice(&length.to_be_bytes());
            frames.extend_from_slice(packet);
        }
        self.filled.notify_one();
        true
    }

    fn has_room(&self) -> bool {
        has_room(&self.frames.lock()) || self.closed.is_cancelled()
    }

    /// Waits until there is room for a packet.
    pub(super) async fn room(self: Arc<Self>) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // From here on nothing is missed.
            emptied.as_mut().enable();
            if self.has_room() {
                return;
            }
            emptied.await;
        }
    }

    /// Exchanges what waits for `empty`, as soon as there is something. False once there is nothing
    /// and nothing can come.
    pub(super) async fn take(&self, empty: &mut Vec<u8>) -> bool {
        loop {
            // Looked at before the frames are: what was put there before the end is not lost.
            let closed = self.closed.is_cancelled();
            {
                let mut frames = self.frames.lock();
                if !frames.is_empty() {
                    std::mem::swap(&mut *frames, empty);
                    break;
                }
            }
            if closed {
                return false;
            }
            tokio::select! {
                () = self.filled.notified() => {}
                () = self.closed.cancelled() => {}
            }
        }
        self.emptied.notify_waiters();
        true
    }

    /// Nothing is put there any more.
    pub(super) fn close(&self) {
        self.closed.cancel();
        self.emptied.notify_waiters();
    }

    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

fn has_room(frames: &[u8]) -> bool {
    frames.len() + FRAME <= CAPACITY
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_was_put_there_is_taken_whole_and_in_order() {
        let outbox = Outbox::default();
        outbox.push(b"one");
        outbox.push(b"");
        outbox.close();

        let mut taken = Vec::new();
        assert!(outbox.take(&mut taken).await);
        assert_eq!(taken, b"\0\0\0\x03one\0\0\0\0");
        taken.clear();
        assert!(!outbox.take(&mut taken).await);
    }

    #[tokio::test]
    async fn a_full_one_takes_nothing_until_it_was_emptied() {
        let outbox = Arc::new(Outbox::default());
        let packet = vec![7; limits::TUNNELLED];
        let mut put = 0;
        while outbox.push(&packet) {
            put += 1;
        }
        assert_eq!(put, CAPACITY / FRAME);
        let mut waits = [(), ()].map(|()| Box::pin(Arc::clone(&outbox).room()));
        for room in &mut waits {
            assert!(room.as_mut().now_or_never().is_none());
        }

        assert!(outbox.take(&mut Vec::new()).await);

        for room in waits {
            room.now_or_never().expect("there is room for each");
        }
        assert!(outbox.push(&packet));
    }

    #[tokio::test]
    async fn nobody_waits_for_one_that_is_closed() {
        let outbox = Arc::new(Outbox::default());
        while outbox.push(&[0; 1000]) {}
        let mut room = Box::pin(Arc::clone(&outbox).room());
        assert!(room.as_mut().now_or_never().is_none());

        outbox.close();

        room.now_or_never().expect("waiting is over");
        assert!(outbox.push(&[0; 1000]));
    }
}
