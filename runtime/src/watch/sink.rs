//! Where a watch's news go, and what of its own state it lets others know.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{sync::watch, time::Instant};

use super::{
    failure::{Failure, chain},
    health::{Health, Origin},
    index::Index,
    metrics::OneWatch,
    mirror::Mirror,
};
use crate::readiness::Gate;

pub(super) struct Sink<T> {
    pub(super) name: &'static str,
    pub(super) index: Box<dyn Index<T>>,
    pub(super) gate: Gate,
    pub(super) health: watch::Sender<Health>,
    pub(super) newest: Arc<AtomicU64>,
    pub(super) metrics: OneWatch,
    /// Why the watch is broken, from its first failure until it is restored.
    pub(super) failure: Option<Failure>,
}

// === impl Sink ===

impl<T: PartialEq + 'static> Sink<T> {
    pub(super) fn origin(&self) -> Option<Origin> {
        self.health.borrow().origin()
    }

    /// After the index was told what the mirror heard, if it was news.
    pub(super) fn told(&self, mirror: &Mirror<T>, is_news: bool) {
        self.newest.store(mirror.newest(), Ordering::Release);
        if is_news {
            let objects = i64::try_from(mirror.objects().len()).unwrap_or(i64::MAX);
            self.metrics.changes.inc();
            self.metrics.objects.set(objects);
        }
    }

    /// The index has a complete state.
    pub(super) fn synced(&self, origin: Origin) {
        if self.origin() == Some(Origin::File) && origin == Origin::Api {
            let watch = self.name;
            tracing::info!(watch, "the API server's state replaces the saved one");
        }
        self.metrics
            .from_file
            .set(i64::from(origin == Origin::File));
        self.gate.open();
        self.health
            .send_if_modified(|health| health.has_state_of(origin));
    }

    /// Nothing was heard for longer than is likely.
    pub(super) fn doubted(&self) {
        self.metrics.failed(Failure::Silent);
        self.health
            .send_if_modified(|health| health.broken(Instant::now()));
    }

    /// Logged when it begins and when it changes, counted each time.
    pub(super) fn failed(&mut self, failure: Failure, error: Option<&dyn Error>) {
        self.metrics.failed(failure);
        if self.failure.replace(failure) == Some(failure) {
            return;
        }
        let (watch, reason, error) = (self.name, failure.reason(), error.map(chain));
        if failure.needs_someone() {
            tracing::warn!(watch, reason, error, "watch broken");
        } else if failure.happens_in_health() {
            tracing::debug!(watch, reason, error, "watch broken");
        } else {
            tracing::info!(watch, reason, error, "watch broken");
        }
        self.metrics.broken.set(1);
        self.health
            .send_if_modified(|health| health.broken(Instant::now()));
    }

    pub(super) fn restored(&mut self) {
        self.metrics.broken.set(0);
        self.health.send_if_modified(Health::restored);
        if let Some(failure) = self.failure.take()
            && !failure.happens_in_health()
        {
            tracing::info!(
                watch = self.name,
                reason = failure.reason(),
                "watch restored"
            );
        }
    }
}
