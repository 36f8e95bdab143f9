//! Indexes that follow the Kubernetes API, and outlive its absence.
//!
//! ```text
//! list, watch ─► decode ─► trim ─► project ─► mirror ─► index.apply / delete / reset
//!                                               │ ▲
//!                         written soon after ▼ │ read when the API server does not answer a start
//!                                            state file
//! ```
//!
//! A watch holds the projections of its objects, shared (`Arc`) with its index, and tells the index
//! only what changed. The index is called from one task and must not block. After any failure the
//! watch lists anew, with a backoff; what it knew stays until that list is complete, so an index
//! never sees a half-told state. An object that cannot be decoded stays as it was last understood.

mod archive;
mod failure;
mod feed;
mod file;
mod health;
mod index;
mod metrics;
mod mirror;
mod sink;

use std::{
    fmt::Debug,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kube::{
    Api, Client, Resource,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::watcher::{self, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{
    archive::Archive,
    feed::{Feed, Manner},
    sink::Sink,
};
pub use self::{
    failure::Failure,
    file::{LoadError, SaveError},
    health::{Health, Origin},
    index::{Event, FnIndex, Index, Key, from_fn},
    metrics::WatchMetrics,
};
use crate::{readiness::Readiness, tasks::Tasks};

/// What all watches of a program share.
#[derive(Clone)]
pub struct Watches {
    /// The API that is watched.
    pub client: Client,
    /// Where the watches run, until they are killed.
    pub tasks: Tasks,
    /// Held back until each watch has its first complete list.
    pub readiness: Readiness,
    /// What is counted.
    pub metrics: WatchMetrics,
    /// Where last known states are kept, if anywhere.
    pub state_dir: Option<PathBuf>,
    /// How long a start waits for the API server before it serves the last known state.
    pub patience: Duration,
}

/// A watch about to begin.
#[must_use = "a watch begins with `feed`"]
pub struct Watch<K> {
    watches: Watches,
    name: &'static str,
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    manner: Manner,
    stop: CancellationToken,
}

/// A watch that runs.
#[derive(Clone, Debug)]
pub struct Handle {
    health: watch::Receiver<Health>,
    newest: Arc<AtomicU64>,
}

// === impl Watches ===

impl Watches {
    /// A watch of all objects of a kind in the cluster. The name is that of its readiness gate, its
    /// metrics' label and its state file: one word in lowercase.
    pub fn all<K>(&self, name: &'static str) -> Watch<K>
    where
        K: Resource<DynamicType = ()>,
    {
        self.watch(name, Api::all(self.client.clone()))
    }

    /// A watch of all objects of a kind in a namespace.
    pub fn namespaced<K>(&self, name: &'static str, namespace: &str) -> Watch<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.watch(name, Api::namespaced(self.client.clone(), namespace))
    }

    fn watch<K>(&self, name: &'static str, api: Api<DeserializeGuard<K>>) -> Watch<K> {
        Watch {
            watches: self.clone(),
            name,
            api,
            config: watcher::Config::default(),
            manner: Manner {
                patience: self.patience,
                max_silence: None,
                absent_is_empty: false,
            },
            stop: self.tasks.kill().clone(),
        }
    }
}

// === impl Watch ===

impl<K> Watch<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    /// Watches only objects whose labels match this selector.
    pub fn labels(mut self, selector: &str) -> Self {
        self.config = self.config.labels(selector);
        self
    }

    /// For objects of which some are known to change all the time (heartbeats): after a longer
    /// silence while there are any, the watch counts as broken until a new list tells which of the
    /// two has died.
    pub fn max_silence(mut self, limit: Duration) -> Self {
        self.manner.max_silence = Some(limit);
        self
    }

    /// For kinds that a cluster need not have: an API server that does not know the kind counts as
    /// a complete list of none, unless there was another list before (an API server that starts may
    /// not know its kinds yet).
    pub fn absent_is_empty(mut self) -> Self {
        self.manner.absent_is_empty = true;
        self
    }

    /// Ends the watch, too, when `stop` is cancelled. Its gate stays as it is then.
    pub fn until(mut self, stop: CancellationToken) -> Self {
        self.stop = stop;
        self
    }

    /// Begins to feed `index` with what `project` keeps of each object (none: as if there were no
    /// such object). `project` sees the whole object, without `metadata.managedFields`.
    pub fn feed<T, I>(
        self,
        project: impl FnMut(K) -> Option<T> + Send + 'static,
        index: I,
    ) -> Handle
    where
        T: PartialEq + Send + Sync + 'static,
        I: Index<T>,
    {
        self.begin(project, index, None)
    }

    /// As [`Watch::feed`], and keeps the last known state in a file of the state directory (if
    /// there is one), from which the index is reset when the API server does not answer a start.
    pub fn feed_persisted<T, I>(
        self,
        project: impl FnMut(K) -> Option<T> + Send + 'static,
        index: I,
    ) -> Handle
    where
        T: PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static,
        I: Index<T>,
    {
        let file = self
            .watches
            .state_dir
            .as_deref()
            .map(|dir| file::store(dir, self.name));
        self.begin(project, index, file)
    }

    fn begin<T, I>(
        self,
        project: impl FnMut(K) -> Option<T> + Send + 'static,
        index: I,
        store: Option<Arc<dyn file::Store<T>>>,
    ) -> Handle
    where
        T: PartialEq + Send + Sync + 'static,
        I: Index<T>,
    {
        let Self {
            watches,
            name,
            api,
            config,
            manner,
            stop,
        } = self;
        let (health, receiver) = watch::channel(Health::starting(Instant::now()));
        let newest = Arc::new(AtomicU64::new(0));
        let metrics = watches.metrics.of(name);
        let archive = store.map(|store| Archive::new(name, store, &metrics));
        let sink = Sink {
            name,
            index: Box::new(index),
            gate: watches.readiness.gate(name),
            health,
            newest: Arc::clone(&newest),
            metrics,
            failure: None,
        };
        let list_and_watch = move || watcher(api.clone(), config.clone());
        let feed = Feed::new(sink, archive, manner).run(list_and_watch, project);
        let feed = async move {
            stop.run_until_cancelled(feed).await;
        };
        drop(watches.tasks.spawn_service(&format!("watch {name}"), feed));
        Handle {
            health: receiver,
            newest,
        }
    }
}

// === impl Handle ===

impl Handle {
    /// How well the index follows the API now.
    #[must_use]
    pub fn health(&self) -> Health {
        *self.health.borrow()
    }

    /// The same as it changes: at the first state, when the watch breaks, when it is restored.
    #[must_use]
    pub fn health_changes(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Waits until the index has had its first complete state, from wherever.
    pub async fn synced(&self) {
        let mut health = self.health.clone();
        if health
            .wait_for(|health| health.origin().is_some())
            .await
            .is_err()
        {
            // The watch was stopped before: nothing will ever be synced.
            std::future::pending::<()>().await;
        }
    }

    /// The newest resourceVersion among what the index was told; none before the first state, 0 if
    /// that was empty. Versions of one kind can be compared as numbers (KEP-5504).
    #[must_use]
    pub fn resource_version(&self) -> Option<u64> {
        self.health.borrow().origin()?;
        Some(self.newest.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests;
