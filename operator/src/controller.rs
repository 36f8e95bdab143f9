//! The leader's loop: what changed is looked at, several services at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use tombolo_catalog::{PortAllotter, Rebuilt, ServiceName};

use crate::leadership::Leadership;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::reconcile::{ReconcileError, Reconciler};
use crate::watches::SharedIndex;

/// Services that are looked at at the same time. Each waits for a few answers of the API server,
/// one after the other; more would only wait in its queue.
const CONCURRENCY: usize = 16;
/// A freed gateway port is kept from other imports for longer than a gateway drains (35 s), and
/// than a client holds on to a connection that it has just made.
pub const PORT_REST: Duration = Duration::from_secs(120);

/// When to look again although nothing may have changed.
type Looked = Result<Option<Instant>, ReconcileError>;

/// The loop around the queue.
pub struct Controller {
    index: SharedIndex,
    reconciler: Arc<Reconciler>,
    leadership: Leadership,
    metrics: Metrics,
    queue: Queue<ServiceName>,
    running: FuturesUnordered<BoxFuture<'static, (ServiceName, Looked)>>,
    in_office: bool,
}

// === impl Controller ===

impl Controller {
    /// Acts on `index` while `leadership` is held.
    #[must_use]
    pub fn new(
        index: SharedIndex,
        reconciler: Reconciler,
        leadership: Leadership,
        metrics: Metrics,
    ) -> Self {
        Self {
            index,
            reconciler: Arc::new(reconciler),
            leadership,
            metrics,
            queue: Queue::default(),
            running: FuturesUnordered::new(),
            in_office: false,
        }
    }

    /// Runs until `drain`, then finishes what is under way.
    pub async fn run(mut self, drain: CancellationToken) {
        loop {
            self.take_or_leave_office();
            self.start_due();
            self.metrics.queue_depth(self.queue.len());
            let mut leadership = self.leadership.clone();
            let held = leadership.is_held();
            let next_due = self.next_due();
            tokio::select! {
                // What has ended makes room, so it goes first; a drain before anything new.
                biased;
                () = drain.cancelled() => break,
                Some((name, result)) = self.running.next() => self.finish(name, &result),
                () = leadership.becomes(!held) => {}
                () = self.index.changed.notified() => {}
                () = sleep_until(next_due) => {}
            }
        }
        while let Some((name, result)) = self.running.next().await {
            self.finish(name, &result);
        }
        self.metrics.leads(false);
    }

    /// A leader begins once it knows all: with every service, as others may have written since it
    /// last did, or never have.
    fn take_or_leave_office(&mut self) {
        let mut index = self.index.index.write();
        let dirty = index.take_dirty();
        let may = self.leadership.is_held() && index.is_complete();
        if !may {
            if std::mem::take(&mut self.in_office) {
                self.queue.clear();
                self.metrics.leads(false);
            }
            return;
        }
        let now = Instant::now();
        if self.in_office {
            for name in dirty {
                self.queue.add(now, name);
            }
            return;
        }
        let rebuilt = PortAllotter::rebuild(PORT_REST, index.port_claims());
        let Rebuilt {
            allotter,
            double_claims,
            out_of_range,
        } = rebuilt;
        for claim in double_claims {
            tracing::info!(%claim, "gateway port claimed twice");
        }
        if !out_of_range.is_empty() {
            tracing::info!(
                claims = out_of_range.len(),
                "gateway ports outside the range"
            );
        }
        self.reconciler
            .restart(allotter, index.endpoint_addresses());
        for name in index.all_names() {
            self.queue.add(now, name);
        }
        self.in_office = true;
        self.metrics.leads(true);
        tracing::info!(services = self.queue.len(), "leading");
    }

    fn start_due(&mut self) {
        while self.in_office && self.running.len() < CONCURRENCY {
            let Some(name) = self.queue.poll(Instant::now()) else {
                return;
            };
            let reconciler = Arc::clone(&self.reconciler);
            self.running.push(Box::pin(async move {
                let result = reconciler.reconcile(&name).await;
                (name, result)
            }));
        }
    }

    fn finish(&mut self, name: ServiceName, result: &Looked) {
        self.metrics
            .reconciled(result.as_ref().err().map(ReconcileError::reason));
        if let Err(error) = result {
            tracing::info!(service = %name, %error, "not settled");
        }
        let again = result.as_ref().ok().copied().flatten();
        self.queue
            .done(Instant::now(), name.clone(), result.is_ok());
        if let Some(at) = again {
            self.queue.add_at(at, name);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let has_room = self.in_office && self.running.len() < CONCURRENCY;
        self.queue.poll_timeout().filter(|_| has_room)
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
