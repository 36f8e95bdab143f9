//! A table that is cheap to copy with a few changes.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

/// A change copies one shard and the list of them: with 100,000 entries a hundred entries and 8 KiB.
const SHARDS: usize = 1_024;

/// Entries that are found by what they hash and compare as. Copies share what neither has changed
/// since.
#[derive(Clone)]
pub(crate) struct Shards<T> {
    shards: Box<[Arc<HashSet<T>>]>,
    hasher: RandomState,
    len: usize,
}

// === impl Shards ===

impl<T> Default for Shards<T> {
    fn default() -> Self {
        let empty = Arc::new(HashSet::new());
        Self {
            shards: (0..SHARDS).map(|_| Arc::clone(&empty)).collect(),
            hasher: RandomState::new(),
            len: 0,
        }
    }
}

impl<T: Clone + Eq + Hash> Shards<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get<K>(&self, key: &K) -> Option<&T>
    where
        T: Borrow<K>,
        K: Eq + Hash + ?Sized,
    {
        self.shards[self.shard(key)].get(key)
    }

    /// Puts an entry in the place of the one with its key, which is returned.
    pub(crate) fn replace(&mut self, entry: T) -> Option<T> {
        let shard = self.shard(&entry);
        let old = Arc::make_mut(&mut self.shards[shard]).replace(entry);
        self.len += usize::from(old.is_none());
        old
    }

    pub(crate) fn take<K>(&mut self, key: &K) -> Option<T>
    where
        T: Borrow<K>,
        K: Eq + Hash + ?Sized,
    {
        let shard = self.shard(key);
        let shard = &mut self.shards[shard];
        // Asked first: a shard is not copied for what is not there.
        if !shard.contains(key) {
            return None;
        }
        let old = Arc::make_mut(shard).take(key)?;
        self.len -= 1;
        Some(old)
    }

    fn shard(&self, key: &(impl Hash + ?Sized)) -> usize {
        self.hasher.hash_one(key) as usize % SHARDS
    }
}

impl<T> fmt::Debug for Shards<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { len, .. } = self;
        f.debug_struct("Shards")
            .field("len", len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many() -> Shards<u32> {
        let mut shards = Shards::default();
        for entry in 0..10_000 {
            shards.replace(entry);
        }
        shards
    }

    #[test]
    fn a_copy_does_not_see_later_changes() {
        let first = many();
        let mut second = first.clone();

        assert_eq!(second.take(&7), Some(7));
        assert_eq!(second.replace(8), Some(8));
        assert_eq!(second.replace(10_000), None);

        assert_eq!((first.get(&7), first.get(&10_000)), (Some(&7), None));
        assert_eq!((second.get(&7), second.get(&10_000)), (None, Some(&10_000)));
        assert_eq!((first.len(), second.len()), (10_000, 10_000));
    }

    #[test]
    fn a_change_copies_one_shard() {
        let first = many();
        let mut second = first.clone();
        second.replace(10_000);
        second.take(&10_001);

        let pairs = first.shards.iter().zip(&second.shards);
        let copied = pairs.filter(|(old, new)| !Arc::ptr_eq(old, new));
        assert_eq!(copied.count(), 1);
    }
}
