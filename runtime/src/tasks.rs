//! Tasks that end when the program does.

use std::{fmt::Display, future::Future, sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::watch, task::JoinHandle, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

/// How long a killed task may take to be dropped.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);

/// The tasks of a program, and the two steps in which they end: *drain* asks them to finish what
/// they have begun, and *kill*, when they have or when the grace period is over, drops them where
/// they stand.
#[derive(Clone)]
pub struct Tasks {
    inner: Arc<Inner>,
    handle: Handle,
}

struct Inner {
    /// Waited for in a drain.
    work: TaskTracker,
    /// Serve the work, so they are killed after it.
    service: TaskTracker,
    drain: CancellationToken,
    kill: CancellationToken,
    /// The first critical task that ended too early.
    failure: watch::Sender<Option<TaskFailed>>,
}

/// A critical task ended while the program was meant to run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task {name} {how}")]
pub struct TaskFailed {
    /// The task's name.
    pub name: String,
    /// How it ended.
    pub how: String,
}

// === impl TaskFailed ===

impl TaskFailed {
    /// A stable word for this error.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        "TaskFailed"
    }
}

// === impl Tasks ===

impl Tasks {
    /// No tasks yet; they will run on `handle`.
    #[must_use]
    pub fn new(handle: Handle) -> Self {
        let inner = Inner {
            work: TaskTracker::new(),
            service: TaskTracker::new(),
            drain: CancellationToken::new(),
            kill: CancellationToken::new(),
            failure: watch::Sender::new(None),
        };
        Self {
            inner: Arc::new(inner),
            handle,
        }
    }

    /// The same tasks, of which those spawned here run on another runtime.
    #[must_use]
    pub fn on(&self, handle: Handle) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            handle,
        }
    }

    /// Cancelled when the program should finish: begin nothing new, end what is under way.
    #[must_use]
    pub fn drain(&self) -> &CancellationToken {
        &self.inner.drain
    }

    /// Cancelled when all work has ended or the grace period is over. Every task is dropped then,
    /// so only what is not a task here needs to watch it.
    #[must_use]
    pub fn kill(&self) -> &CancellationToken {
        &self.inner.kill
    }

    /// Runs work: a drain waits for it, so it should watch [`Tasks::drain`] unless it is short.
    pub fn spawn(
        &self,
        name: &str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        self.launch(&self.inner.work, name, work)
    }

    /// Runs what serves the work (watches, the admin server): a drain does not wait for it, and it
    /// is dropped when all work has ended.
    pub fn spawn_service(
        &self,
        name: &str,
        service: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        self.launch(&self.inner.service, name, service)
    }

    /// Runs work without which the program is of no use: if it ends before a drain, with an error
    /// or without, or panics, the program drains and exits with an error.
    pub fn spawn_critical<E: Display>(
        &self,
        name: &str,
        work: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        drop(self.spawn(name, self.guarded(name, work)));
    }

    /// As [`Tasks::spawn_critical`], of what serves the work: a drain does not wait for it.
    pub fn spawn_critical_service<E: Display>(
        &self,
        name: &str,
        service: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        drop(self.spawn_service(name, self.guarded(name, service)));
    }

    /// Waits until a critical task has ended too early.
    pub async fn failed(&self) -> TaskFailed {
        let mut failure = self.inner.failure.subscribe();
        let failed = failure.wait_for(Option::is_some).await;
        match failed.ok().and_then(|failed| failed.clone()) {
            Some(failed) => failed,
            // The sender lives in `self`.
            None => std::future::pending().await,
        }
    }

    /// Drains, kills at the latest after `grace`, and returns when nothing runs any more.
    pub async fn shutdown(&self, grace: Duration) {
        let Inner {
            work,
            service,
            drain,
            kill,
            ..
        } = &*self.inner;
        drain.cancel();
        work.close();
        service.close();
        if time::timeout(grace, work.wait()).await.is_err() {
            tracing::info!(tasks = work.len(), ?grace, "grace period is over");
        }
        kill.cancel();
        let ended = async { tokio::join!(work.wait(), service.wait()) };
        if time::timeout(KILL_TIMEOUT, ended).await.is_err() {
            tracing::warn!(tasks = work.len() + service.len(), "tasks hang");
        }
    }

    fn guarded<E: Display>(
        &self,
        name: &str,
        critical: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let guard = Critical {
            tasks: self.clone(),
            name: name.to_owned(),
            how: None,
        };
        async move {
            // Wholly: a field alone would leave the guard to be dropped here.
            let mut guard = guard;
            guard.how = Some(match critical.await {
                Ok(()) => "ended".to_owned(),
                Err(error) => format!("failed: {error:#}"),
            });
        }
    }

    fn launch(
        &self,
        tracker: &TaskTracker,
        name: &str,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let kill = self.inner.kill.clone();
        let span = tracing::info_span!("task", name);
        // Each future that wraps another by value keeps room for it twice, and here are several.
        let future = Box::pin(future);
        let killable = async move {
            if kill.run_until_cancelled_owned(future).await.is_none() {
                tracing::debug!("killed");
            }
        };
        tracker.spawn_on(killable.instrument(span), &self.handle)
    }

    fn fail(&self, failed: TaskFailed) {
        if self.inner.drain.is_cancelled() {
            return;
        }
        tracing::error!(task = %failed.name, how = %failed.how, "critical task ended");
        self.inner.failure.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = Some(failed);
            }
            is_first
        });
    }
}

/// Reports the end of a critical task from its drop, which a panic reaches too.
struct Critical {
    tasks: Tasks,
    name: String,
    how: Option<String>,
}

// === impl Critical ===

impl Drop for Critical {
    fn drop(&mut self) {
        let how = self.how.take().unwrap_or_else(|| "panicked".to_owned());
        self.tasks.fail(TaskFailed {
            name: std::mem::take(&mut self.name),
            how,
        });
    }
}

#[cfg(test)]
mod tests;
