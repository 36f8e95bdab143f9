//! What a watch has heard, and what of it is news to its index: pure.

use std::{collections::BTreeMap, sync::Arc};

use kube::runtime::watcher;

use super::index::{Index, Key};

/// An object as far as it was understood.
pub(super) struct Heard<T> {
    pub(super) key: Key,
    pub(super) version: u64,
    pub(super) content: Content<T>,
}

pub(super) enum Content<T> {
    /// What the projection keeps of it.
    Kept(T),
    /// The projection wants none of it.
    Unwanted,
    /// It could not be decoded.
    Unknown,
}

/// The objects of a watch, as last heard.
pub(super) struct Mirror<T> {
    objects: BTreeMap<Key, Arc<T>>,
    newest: u64,
    /// The list under way.
    listing: Option<Listing<T>>,
    /// Whether the index was told a state.
    told: bool,
}

struct Listing<T> {
    /// Made a map at the end: one that grows in the order of its keys, as lists come, has its nodes
    /// half empty.
    objects: Vec<(Key, Arc<T>)>,
    newest: u64,
}

// === impl Mirror ===

impl<T> Default for Mirror<T> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            newest: 0,
            listing: None,
            told: false,
        }
    }
}

impl<T: PartialEq + 'static> Mirror<T> {
    pub(super) fn objects(&self) -> &BTreeMap<Key, Arc<T>> {
        &self.objects
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// Takes a watch's event and tells the index what is news in it. Whether there was any.
    pub(super) fn handle(
        &mut self,
        event: watcher::Event<Heard<T>>,
        index: &mut dyn Index<T>,
    ) -> bool {
        match event {
            watcher::Event::Init => {
                self.listing = Some(Listing {
                    objects: Vec::new(),
                    newest: 0,
                });
                false
            }
            watcher::Event::InitApply(heard) => {
                self.list(heard);
                false
            }
            watcher::Event::InitDone => {
                let Some(Listing { objects, newest }) = self.listing.take() else {
                    return false;
                };
                self.replace(objects.into_iter().collect(), newest, index)
            }
            watcher::Event::Apply(heard) => self.apply(heard, index),
            watcher::Event::Delete(heard) => self.delete(&heard, index),
        }
    }

    /// Takes a complete state and tells it if it is news. Whether it was.
    pub(super) fn replace(
        &mut self,
        objects: BTreeMap<Key, Arc<T>>,
        newest: u64,
        index: &mut dyn Index<T>,
    ) -> bool {
        self.newest = newest;
        if self.told && self.objects == objects {
            return false;
        }
        self.told = true;
        self.objects = objects;
        index.reset(&self.objects);
        true
    }

    fn list(&mut self, heard: Heard<T>) {
        let Heard {
            key,
            version,
            content,
        } = heard;
        let Some(listing) = &mut self.listing else {
            return;
        };
        listing.newest = version.max(listing.newest);
        let known = self.objects.get(&key);
        let value = match content {
            Content::Kept(value) => match known {
                // One copy, that of the index, of what is the same.
                Some(known) if **known == value => Arc::clone(known),
                Some(_) | None => Arc::new(value),
            },
            Content::Unknown => match known {
                Some(known) => Arc::clone(known),
                None => return,
            },
            Content::Unwanted => return,
        };
        listing.objects.push((key, value));
    }

    fn apply(&mut self, heard: Heard<T>, index: &mut dyn Index<T>) -> bool {
        let value = match heard.content {
            Content::Kept(value) => value,
            Content::Unwanted => return self.delete(&heard, index),
            Content::Unknown => {
                self.newest = heard.version.max(self.newest);
                return false;
            }
        };
        self.newest = heard.version.max(self.newest);
        if self
            .objects
            .get(&heard.key)
            .is_some_and(|known| **known == value)
        {
            return false;
        }
        let value = Arc::new(value);
        index.apply(&heard.key, &value);
        self.objects.insert(heard.key, value);
        true
    }

    fn delete(&mut self, heard: &Heard<T>, index: &mut dyn Index<T>) -> bool {
        self.newest = heard.version.max(self.newest);
        if self.objects.remove(&heard.key).is_none() {
            return false;
        }
        index.delete(&heard.key);
        true
    }
}

#[cfg(test)]
mod tests;
