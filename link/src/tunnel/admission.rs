//! How many TCP connections may be there that nobody has vouched for yet.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// A bounded room for connections that have not shown a certificate. Who comes into a full one
/// displaces the one that is there longest: whoever holds connections open and says nothing holds no
/// place, and a peer needs two round trips.
#[derive(Debug)]
pub(crate) struct Admission {
    places: usize,
    present: Mutex<Present>,
}

#[derive(Debug, Default)]
struct Present {
    next: u64,
    oldest_first: VecDeque<(u64, CancellationToken)>,
}

/// A place in the room, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    admission: Arc<Admission>,
    displaced: CancellationToken,
}

// === impl Admission ===

impl Admission {
    /// With room for so many, at least one.
    pub(crate) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            places: places.max(1),
            present: Mutex::default(),
        })
    }

    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let displaced = CancellationToken::new();
        let mut present = self.present.lock();
        if present.oldest_first.len() >= self.places
            && let Some((_, oldest)) = present.oldest_first.pop_front()
        {
            oldest.cancel();
        }
        let id = present.next;
        present.next += 1;
        present.oldest_first.push_back((id, displaced.clone()));
        Place {
            id,
            admission: Arc::clone(self),
            displaced,
        }
    }
}

// === impl Place ===

impl Place {
    /// Waits until somebody else needs the place.
    pub(super) async fn displaced(&self) {
        self.displaced.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut present = self.admission.present.lock();
        present.oldest_first.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_is_there_longest_makes_room() {
        let admission = Admission::new(2);
        let first = admission.enter();
        let second = admission.enter();
        drop(first);
        let third = admission.enter();
        assert!(!second.displaced.is_cancelled());

        let _fourth = admission.enter();

        assert!(second.displaced.is_cancelled());
        assert!(!third.displaced.is_cancelled());
        drop(second);
        assert_eq!(admission.present.lock().oldest_first.len(), 2);
    }
}
