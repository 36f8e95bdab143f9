//! What a watch feeds.

use std::{collections::BTreeMap, fmt, sync::Arc};

use kube::api::ObjectMeta;
use parking_lot::{Mutex, RwLock};

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Unique among objects of a kind in a namespace.
    pub name: String,
}

/// Told of every change, in order, from one task, which it must not block.
pub trait Index<T>: Send + 'static {
    /// There is an object, or it has changed.
    fn apply(&mut self, key: &Key, value: &Arc<T>);
    /// There is no such object any more.
    fn delete(&mut self, key: &Key);
    /// There are these objects and no others.
    fn reset(&mut self, all: &BTreeMap<Key, Arc<T>>);
}

/// The calls of an [`Index`] as a value.
#[derive(Debug)]
pub enum Event<'a, T> {
    /// There is an object, or it has changed.
    Apply(&'a Key, &'a Arc<T>),
    /// There is no such object any more.
    Delete(&'a Key),
    /// There are these objects and no others.
    Reset(&'a BTreeMap<Key, Arc<T>>),
}

/// An index that is a closure.
#[derive(Clone, Debug)]
pub struct FnIndex<F>(F);

/// Makes a closure an index.
pub fn from_fn<T, F>(f: F) -> FnIndex<F>
where
    F: FnMut(Event<'_, T>) + Send + 'static,
{
    FnIndex(f)
}

// === impl Key ===

impl Key {
    /// The key of an object in a namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    pub(super) fn of(metadata: &ObjectMeta) -> Self {
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            return f.write_str(&self.name);
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

// === impl Index ===

impl<T, F> Index<T> for FnIndex<F>
where
    F: FnMut(Event<'_, T>) + Send + 'static,
{
    fn apply(&mut self, key: &Key, value: &Arc<T>) {
        self.0(Event::Apply(key, value));
    }

    fn delete(&mut self, key: &Key) {
        self.0(Event::Delete(key));
    }

    fn reset(&mut self, all: &BTreeMap<Key, Arc<T>>) {
        self.0(Event::Reset(all));
    }
}

impl<T, I: Index<T> + Sync> Index<T> for Arc<RwLock<I>> {
    fn apply(&mut self, key: &Key, value: &Arc<T>) {
        self.write().apply(key, value);
    }

    fn delete(&mut self, key: &Key) {
        self.write().delete(key);
    }

    fn reset(&mut self, all: &BTreeMap<Key, Arc<T>>) {
        self.write().reset(all);
    }
}

impl<T, I: Index<T>> Index<T> for Arc<Mutex<I>> {
    fn apply(&mut self, key: &Key, value: &Arc<T>) {
        self.lock().apply(key, value);
    }

    fn delete(&mut self, key: &Key) {
        self.lock().delete(key);
    }

    fn reset(&mut self, all: &BTreeMap<Key, Arc<T>>) {
        self.lock().reset(all);
    }
}
