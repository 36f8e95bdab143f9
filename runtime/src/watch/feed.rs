//! The task of a watch: streams, timers and the state file around the [`Mirror`].

use std::{
    collections::BTreeMap, error::Error, sync::Arc, sync::atomic::AtomicU64, time::Duration,
};

use futures::{Stream, StreamExt, stream::BoxStream};
use kube::{Resource, core::DeserializeGuard, runtime::watcher};
use tokio::{
    sync::watch,
    task::{self, JoinHandle},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    failure::Failure,
    file::{Saved, Store},
    health::{Health, Origin},
    index::{Index, Key},
    metrics::OneWatch,
    mirror::{Content, Heard, Mirror},
};
use crate::{backoff::Backoff, readiness::Gate};

/// A list of which nothing is heard for so long has stalled: pages take seconds at most.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// A watch that has failed counts as restored when it has held for so long after its list (or told
/// a change): where listing is allowed and watching is not, it would else be restored each time.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// How long after a change the state is saved: what is lost if the process dies before.
const SAVED_AFTER: Duration = Duration::from_secs(1);

/// Where a watch's news go.
pub(super) struct Sink<T> {
    pub(super) index: Box<dyn Index<T>>,
    pub(super) gate: Gate,
    pub(super) health: watch::Sender<Health>,
    pub(super) newest: Arc<AtomicU64>,
    pub(super) metrics: OneWatch,
}

#[derive(Clone, Copy)]
pub(super) struct Timing {
    pub(super) patience: Duration,
    pub(super) max_silence: Option<Duration>,
}

pub(super) struct Feed<T> {
    name: &'static str,
    sink: Sink<T>,
    store: Option<Arc<dyn Store<T>>>,
    timing: Timing,
    absent_is_empty: bool,
    mirror: Mirror<T>,
    timers: BTreeMap<Timer, Instant>,
    backoff: Backoff,
    /// Why the watch is broken, from its first failure until it is restored.
    failure: Option<Failure>,
    saving: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The API server has not answered a start: serve the last known state.
    Patience,
    /// List and watch again.
    Retry,
    /// The list under way has stalled.
    Stalled,
    /// What should be heard all the time was not.
    Silent,
    /// The watch has held since its failure.
    Settled,
    /// Save the state.
    Save,
}

type Objects<K> = BoxStream<'static, watcher::Result<watcher::Event<DeserializeGuard<K>>>>;

// === impl Feed ===

impl<T: PartialEq + Send + Sync + 'static> Feed<T> {
    pub(super) fn new(
        name: &'static str,
        sink: Sink<T>,
        store: Option<Arc<dyn Store<T>>>,
        timing: Timing,
        absent_is_empty: bool,
    ) -> Self {
        sink.metrics.broken.set(1);
        Self {
            name,
            sink,
            store,
            timing,
            absent_is_empty,
            mirror: Mirror::default(),
            timers: BTreeMap::new(),
            backoff: Backoff::new(),
            failure: None,
            saving: None,
        }
    }

    pub(super) async fn run<K, S>(
        mut self,
        list_and_watch: impl Fn() -> S,
        mut project: impl FnMut(K) -> Option<T>,
        stop: CancellationToken,
    ) where
        K: Resource<DynamicType = ()> + Send + 'static,
        S: Stream<Item = watcher::Result<watcher::Event<DeserializeGuard<K>>>> + Send + 'static,
    {
        let mut objects: Option<Objects<K>> = None;
        if self.store.is_some() {
            self.arm(Timer::Patience, self.timing.patience);
        }
        self.arm(Timer::Retry, Duration::ZERO);
        loop {
            let timer = self
                .timers
                .iter()
                .min_by_key(|(_, at)| **at)
                .map(|(t, at)| (*t, *at));
            tokio::select! {
                // A stop comes first; timers before news, which may never pause.
                biased;
                () = stop.cancelled() => return,
                timer = due(timer) => {
                    self.timers.remove(&timer);
                    match timer {
                        Timer::Retry => {
                            objects = Some(list_and_watch().boxed());
                            self.arm(Timer::Stalled, STALLED_AFTER);
                        }
                        Timer::Stalled => {
                            objects = None;
                            self.fail(Failure::Stalled, None);
                        }
                        Timer::Silent => {
                            objects = None;
                            self.doubt();
                        }
                        Timer::Settled => self.restore(),
                        Timer::Patience => self.load().await,
                        Timer::Save => self.save(),
                    }
                }
                event = next(&mut objects) => match event {
                    Ok(event) => self.handle(event, &mut project),
                    Err(error) => {
                        objects = None;
                        self.fail(Failure::from(&error), Some(&error));
                    }
                }
            }
        }
    }

    fn handle<K: Resource<DynamicType = ()>>(
        &mut self,
        event: watcher::Event<DeserializeGuard<K>>,
        project: &mut impl FnMut(K) -> Option<T>,
    ) {
        let listing = matches!(event, watcher::Event::Init | watcher::Event::InitApply(_));
        let listed = matches!(event, watcher::Event::InitDone);
        let event = match event {
            watcher::Event::Init => watcher::Event::Init,
            watcher::Event::InitApply(object) => {
                watcher::Event::InitApply(self.hear(object, project))
            }
            watcher::Event::InitDone => watcher::Event::InitDone,
            watcher::Event::Apply(object) => watcher::Event::Apply(self.hear(object, project)),
            watcher::Event::Delete(object) => watcher::Event::Delete(self.hear(object, project)),
        };
        let is_news = self.mirror.handle(event, &mut *self.sink.index);
        if listing {
            self.arm(Timer::Stalled, STALLED_AFTER);
            return;
        }
        self.told(is_news);
        if listed {
            self.timers.remove(&Timer::Stalled);
            self.synced(Origin::Api);
        }
        match self.failure {
            Some(_) if listed => self.arm(Timer::Settled, SETTLED_AFTER),
            Some(_) | None => self.restore(),
        }
        match self.timing.max_silence {
            Some(limit) if !self.mirror.objects().is_empty() => self.arm(Timer::Silent, limit),
            Some(_) | None => drop(self.timers.remove(&Timer::Silent)),
        }
    }

    fn hear<K: Resource<DynamicType = ()>>(
        &self,
        object: DeserializeGuard<K>,
        project: &mut impl FnMut(K) -> Option<T>,
    ) -> Heard<T> {
        let key = Key::of(object.meta());
        let version = object.meta().resource_version.as_deref();
        let version = version
            .and_then(|version| version.parse().ok())
            .unwrap_or(0);
        let content = match object.0 {
            Ok(mut object) => {
                object.meta_mut().managed_fields = None;
                project(object).map_or(Content::Unwanted, Content::Kept)
            }
            Err(invalid) => {
                self.sink.metrics.failed(Failure::Undecodable);
                tracing::info!(watch = self.name, object = %key, error = %invalid, "not understood");
                Content::Unknown
            }
        };
        Heard {
            key,
            version,
            content,
        }
    }

    /// After the mirror has told the index what it heard.
    fn told(&mut self, is_news: bool) {
        let newest = self.mirror.newest();
        self.sink
            .newest
            .store(newest, std::sync::atomic::Ordering::Release);
        if !is_news {
            return;
        }
        self.sink.metrics.changes.inc();
        self.sink
            .metrics
            .objects
            .set(i64::try_from(self.mirror.objects().len()).unwrap_or(i64::MAX));
        if self.store.is_some() && !self.timers.contains_key(&Timer::Save) {
            self.arm(Timer::Save, SAVED_AFTER);
        }
    }

    fn synced(&mut self, origin: Origin) {
        self.timers.remove(&Timer::Patience);
        self.sink
            .metrics
            .from_file
            .set(i64::from(origin == Origin::File));
        self.sink.gate.open();
        let previous = self.sink.health.borrow().origin();
        if previous == Some(Origin::File) && origin == Origin::Api {
            tracing::info!(
                watch = self.name,
                "the API server's state replaces the saved one"
            );
        }
        self.sink
            .health
            .send_if_modified(|health| health.has_state_of(origin));
    }

    /// Nothing was heard for longer than is likely: ask.
    fn doubt(&mut self) {
        self.sink.metrics.failed(Failure::Silent);
        self.sink
            .health
            .send_if_modified(|health| health.broken(Instant::now()));
        self.arm(Timer::Retry, Duration::ZERO);
    }

    /// The API server does not know a kind that it need not know.
    fn absent(&mut self) {
        self.arm_retry();
        if self.sink.health.borrow().origin().is_none() {
            tracing::info!(
                watch = self.name,
                "the API server does not know this kind of object"
            );
            let is_news = self
                .mirror
                .replace(BTreeMap::new(), 0, &mut *self.sink.index);
            self.told(is_news);
            self.synced(Origin::Api);
        }
        self.restore();
    }

    fn fail(&mut self, failure: Failure, error: Option<&dyn Error>) {
        for timer in [Timer::Stalled, Timer::Silent, Timer::Settled] {
            self.timers.remove(&timer);
        }
        if self.absent_is_empty && failure == Failure::NotFound {
            return self.absent();
        }
        self.arm_retry();
        self.sink.metrics.failed(failure);
        if self.failure.replace(failure) == Some(failure) {
            return;
        }
        let error = error.map(display_chain);
        let reason = failure.reason();
        if failure.needs_someone() {
            tracing::warn!(watch = self.name, reason, error, "watch broken");
        } else if failure == Failure::Expired {
            tracing::debug!(watch = self.name, reason, error, "watch broken");
        } else {
            tracing::info!(watch = self.name, reason, error, "watch broken");
        }
        self.sink.metrics.broken.set(1);
        self.sink
            .health
            .send_if_modified(|health| health.broken(Instant::now()));
    }

    fn restore(&mut self) {
        self.timers.remove(&Timer::Settled);
        self.sink
            .health
            .send_if_modified(|health| health.restored(Instant::now()));
        self.sink.metrics.broken.set(0);
        if let Some(failure) = self.failure.take()
            && failure != Failure::Expired
        {
            tracing::info!(
                watch = self.name,
                reason = failure.reason(),
                "watch restored"
            );
        }
    }

    async fn load(&mut self) {
        let Some(store) = self.store.clone() else {
            return;
        };
        let loaded = task::spawn_blocking(move || store.load()).await;
        let saved = match loaded {
            Ok(Ok(Some(saved))) => saved,
            Ok(Ok(None)) => {
                tracing::info!(
                    watch = self.name,
                    "no answer from the API server, nothing saved"
                );
                return;
            }
            Ok(Err(error)) => {
                let (reason, error) = (error.reason(), display_chain(&error));
                tracing::warn!(watch = self.name, reason, error, "saved state refused");
                return;
            }
            // The runtime is shutting down.
            Err(_) => return,
        };
        let objects = saved.objects.len();
        tracing::warn!(
            watch = self.name,
            objects,
            "no answer from the API server, serving the saved state"
        );
        let is_news = self
            .mirror
            .replace(saved.objects, saved.newest, &mut *self.sink.index);
        self.told(is_news);
        self.timers.remove(&Timer::Save);
        self.synced(Origin::File);
    }

    fn save(&mut self) {
        let Some(store) = self.store.clone() else {
            return;
        };
        if self
            .saving
            .as_ref()
            .is_some_and(|saving| !saving.is_finished())
        {
            self.arm(Timer::Save, SAVED_AFTER);
            return;
        }
        let state = Saved {
            newest: self.mirror.newest(),
            objects: self.mirror.objects().clone(),
        };
        let (saved, failed) = (
            self.sink.metrics.saves("ok"),
            self.sink.metrics.saves("error"),
        );
        let name = self.name;
        self.saving = Some(task::spawn_blocking(move || match store.save(&state) {
            Ok(()) => drop(saved.inc()),
            Err(error) => {
                failed.inc();
                let (reason, error) = (error.reason(), display_chain(&error));
                tracing::warn!(watch = name, reason, error, "state not saved");
            }
        }));
    }

    fn arm_retry(&mut self) {
        let pause = self.backoff.next(Instant::now());
        self.arm(Timer::Retry, pause);
    }

    fn arm(&mut self, timer: Timer, after: Duration) {
        self.timers.insert(timer, Instant::now() + after);
    }
}

async fn due(timer: Option<(Timer, Instant)>) -> Timer {
    let Some((timer, at)) = timer else {
        return std::future::pending().await;
    };
    time::sleep_until(at).await;
    timer
}

async fn next<K>(
    objects: &mut Option<Objects<K>>,
) -> watcher::Result<watcher::Event<DeserializeGuard<K>>> {
    let event = match objects {
        Some(objects) => objects.next().await,
        None => None,
    };
    match event {
        Some(event) => event,
        // kube's watcher has no end.
        None => std::future::pending().await,
    }
}

fn display_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Many errors repeat their source.
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}
