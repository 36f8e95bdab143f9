//! The task of a watch: its streams and timers around the [`Mirror`].

use std::{collections::BTreeMap, error::Error, time::Duration};

use futures::{Stream, StreamExt, stream::BoxStream};
use kube::{Resource, core::DeserializeGuard, runtime::watcher};
use tokio::time::{self, Instant};

use super::{
    archive::Archive,
    failure::Failure,
    health::Origin,
    index::Key,
    mirror::{Content, Heard, Mirror},
    sink::Sink,
};
use crate::backoff::Backoff;

/// A list of which nothing is heard for so long has stalled: pages take seconds at most.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// A watch that has failed counts as restored when it has held for so long after its list (or told
/// a change): where listing is allowed and watching is not, it would else be restored each time.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// How long after a change the state is saved: what is lost if the process dies before.
const SAVED_AFTER: Duration = Duration::from_secs(1);

/// How a watch differs from others.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    pub(super) patience: Duration,
    pub(super) max_silence: Option<Duration>,
    pub(super) absent_is_empty: bool,
}

pub(super) struct Feed<T> {
    sink: Sink<T>,
    archive: Option<Archive<T>>,
    manner: Manner,
    mirror: Mirror<T>,
    timers: BTreeMap<Timer, Instant>,
    backoff: Backoff,
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
    pub(super) fn new(sink: Sink<T>, archive: Option<Archive<T>>, manner: Manner) -> Self {
        sink.metrics.broken.set(1);
        Self {
            sink,
            archive,
            manner,
            mirror: Mirror::default(),
            timers: BTreeMap::new(),
            backoff: Backoff::new(),
        }
    }

    pub(super) async fn run<K, S>(
        mut self,
        list_and_watch: impl Fn() -> S,
        mut project: impl FnMut(K) -> Option<T>,
    ) where
        K: Resource<DynamicType = ()> + Send + 'static,
        S: Stream<Item = watcher::Result<watcher::Event<DeserializeGuard<K>>>> + Send + 'static,
    {
        let mut objects: Option<Objects<K>> = None;
        if self.archive.is_some() {
            self.arm(Timer::Patience, self.manner.patience);
        }
        self.arm(Timer::Retry, Duration::ZERO);
        loop {
            tokio::select! {
                // Timers before news, which may never pause.
                biased;
                timer = due(self.next_timer()) => {
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
                            self.sink.doubted();
                            self.arm(Timer::Retry, Duration::ZERO);
                        }
                        Timer::Settled => self.sink.restored(),
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
        if listed && self.sink.failure.is_some() {
            self.arm(Timer::Settled, SETTLED_AFTER);
        } else {
            self.timers.remove(&Timer::Settled);
            self.sink.restored();
        }
        match self.manner.max_silence {
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
                let watch = self.sink.name;
                tracing::info!(watch, object = %key, error = %invalid, "not understood");
                Content::Unknown
            }
        };
        Heard {
            key,
            version,
            content,
        }
    }

    fn told(&mut self, is_news: bool) {
        self.sink.told(&self.mirror, is_news);
        if is_news && self.archive.is_some() && !self.timers.contains_key(&Timer::Save) {
            self.arm(Timer::Save, SAVED_AFTER);
        }
    }

    fn synced(&mut self, origin: Origin) {
        self.timers.remove(&Timer::Patience);
        self.sink.synced(origin);
    }

    fn fail(&mut self, failure: Failure, error: Option<&dyn Error>) {
        for timer in [Timer::Stalled, Timer::Silent, Timer::Settled] {
            self.timers.remove(&timer);
        }
        let pause = self.backoff.next(Instant::now());
        self.arm(Timer::Retry, pause);
        if self.manner.absent_is_empty && failure == Failure::NotFound {
            self.absent();
        } else {
            self.sink.failed(failure, error);
        }
    }

    /// The API server does not know a kind that it need not know.
    fn absent(&mut self) {
        if self.sink.origin().is_none() {
            let watch = self.sink.name;
            tracing::info!(watch, "the API server does not know this kind of object");
            let is_news = self
                .mirror
                .replace(BTreeMap::new(), 0, &mut *self.sink.index);
            self.told(is_news);
            self.synced(Origin::Api);
        }
        self.sink.restored();
    }

    async fn load(&mut self) {
        let Some(archive) = &self.archive else { return };
        let Some(saved) = archive.load().await else {
            return;
        };
        let is_news = self
            .mirror
            .replace(saved.objects, saved.newest, &mut *self.sink.index);
        self.sink.told(&self.mirror, is_news);
        self.synced(Origin::File);
    }

    fn save(&mut self) {
        let Some(archive) = &mut self.archive else {
            return;
        };
        if !archive.save(&self.mirror) {
            self.arm(Timer::Save, SAVED_AFTER);
        }
    }

    fn arm(&mut self, timer: Timer, after: Duration) {
        self.timers.insert(timer, Instant::now() + after);
    }

    fn next_timer(&self) -> Option<(Timer, Instant)> {
        let timers = self.timers.iter().map(|(timer, at)| (*timer, *at));
        timers.min_by_key(|(_, at)| *at)
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
