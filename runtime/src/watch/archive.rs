//! Keeps the last known state of a watch on disk, off the watch's own task.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use tokio::task::{self, JoinHandle};

use super::{
    failure::chain,
    file::{Saved, Store},
    metrics::OneWatch,
    mirror::Mirror,
};

pub(super) struct Archive<T> {
    name: &'static str,
    store: Arc<dyn Store<T>>,
    saving: Option<JoinHandle<()>>,
    saved: Counter,
    not_saved: Counter,
}

// === impl Archive ===

impl<T: PartialEq + Send + Sync + 'static> Archive<T> {
    pub(super) fn new(name: &'static str, store: Arc<dyn Store<T>>, metrics: &OneWatch) -> Self {
        Self {
            name,
            store,
            saving: None,
            saved: metrics.saves("ok"),
            not_saved: metrics.saves("error"),
        }
    }

    /// The state of an earlier process, if there is one that can be used.
    pub(super) async fn load(&self) -> Option<Saved<T>> {
        let watch = self.name;
        let store = Arc::clone(&self.store);
        // Fails only when the tokio runtime is shutting down.
        let loaded = task::spawn_blocking(move || store.load()).await.ok()?;
        match loaded {
            Ok(Some(saved)) => {
                let objects = saved.objects.len();
                tracing::warn!(
                    watch,
                    objects,
                    "no answer from the API server, serving the saved state"
                );
                Some(saved)
            }
            Ok(None) => {
                tracing::info!(watch, "no answer from the API server, nothing saved");
                None
            }
            Err(error) => {
                let (reason, error) = (error.reason(), chain(&error));
                tracing::warn!(watch, reason, error, "saved state refused");
                None
            }
        }
    }

    /// Begins to save the state as it is now, unless the last save is still under way.
    pub(super) fn save(&mut self, mirror: &Mirror<T>) -> bool {
        if self
            .saving
            .as_ref()
            .is_some_and(|saving| !saving.is_finished())
        {
            return false;
        }
        let state = Saved {
            newest: mirror.newest(),
            objects: mirror.objects().clone(),
        };
        let (watch, store) = (self.name, Arc::clone(&self.store));
        let (saved, not_saved) = (self.saved.clone(), self.not_saved.clone());
        self.saving = Some(task::spawn_blocking(move || match store.save(&state) {
            Ok(()) => drop(saved.inc()),
            Err(error) => {
                not_saved.inc();
                let (reason, error) = (error.reason(), chain(&error));
                tracing::warn!(watch, reason, error, "state not saved");
            }
        }));
        true
    }
}
