//! Whether a task wants to run on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Wake, Waker};

use futures::task::AtomicWaker;

/// The task runs.
const RUNNING: u8 = 1;
/// It was woken up since it began to run.
const RAISED: u8 = 2;

/// Wakes a task up, except while it runs: whoever runs it asks then whether it was woken up.
#[derive(Debug, Default)]
pub(super) struct Signal {
    state: AtomicU8,
    outer: AtomicWaker,
}

// === impl Signal ===

impl Signal {
    /// Whom to wake up. To be called before each time that the task runs.
    pub(super) fn register(&self, outer: &Waker) {
        self.outer.register(outer);
    }

    /// The task runs from now on, and was not woken up yet.
    pub(super) fn begin(&self) {
        self.state.swap(RUNNING, Ordering::AcqRel);
    }

    /// Whether it was woken up since.
    pub(super) fn is_raised(&self) -> bool {
        self.state.load(Ordering::Acquire) & RAISED != 0
    }

    /// The task runs no more; whether it was woken up while it did.
    pub(super) fn end(&self) -> bool {
        self.state.swap(0, Ordering::AcqRel) & RAISED != 0
    }

    fn raise(&self) {
        let before = self.state.fetch_or(RAISED, Ordering::AcqRel);
        if before & RUNNING == 0 {
            self.outer.wake();
        }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raise();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_rests_is_woken_up() {
        let (outer, signal) = (Arc::new(Counted::default()), Arc::new(Signal::default()));
        signal.register(&Waker::from(Arc::clone(&outer)));

        Waker::from(Arc::clone(&signal)).wake();

        assert_eq!(outer.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn who_runs_is_told_when_asked() {
        let (outer, signal) = (Arc::new(Counted::default()), Arc::new(Signal::default()));
        signal.register(&Waker::from(Arc::clone(&outer)));

        signal.begin();
        assert!(!signal.is_raised());
        Waker::from(Arc::clone(&signal)).wake();
        assert!(signal.is_raised());
        signal.begin();
        assert!(!signal.is_raised());
        assert!(!signal.end());

        assert_eq!(outer.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_was_raised_at_the_end_is_not_lost() {
        let signal = Arc::new(Signal::default());
        signal.begin();
        Waker::from(Arc::clone(&signal)).wake();

        assert!(signal.end());
        assert!(!signal.end());
    }
}
