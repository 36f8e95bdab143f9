//! Receives one peer's catalog and stores it, for as long as the Peer's Lease is held.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use tokio::time::Instant;
use tombolo_catalog::{Held, ServiceName};
use tombolo_crds::ClusterExportSpec;
use tombolo_link::{CatalogEvent, CatalogStream, RejectedExport};

use super::Control;
use super::store::Store;
use crate::copies::{Copies, Exports, ForeignExport, GRACE, Written};
use crate::metrics::ClusterLabels;
use crate::peer_status::HeldView;

/// When a failed write is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Writes under way at a time.
const CONCURRENCY: usize = 16;
/// Events that are taken before what follows from them is written.
const BURST: usize = 1024;

pub(super) struct Session {
    cluster: String,
    copies: Copies,
    /// None once the links said that they know no such peer.
    catalog: Option<CatalogStream>,
    written: Written,
    /// Of the table of stored ClusterExports, when it was last compared.
    compared: Option<u64>,
    retry_at: Option<Instant>,
    /// What is held until when, by a wall clock that is read only once so that it does not waver.
    held: Option<(Held, Timestamp)>,
    /// Of which incarnation of the cluster the copies are, if anybody has told.
    incarnation: Option<String>,
    rebuilt: bool,
}

/// A part of a catalog that is not used.
pub(super) struct Refused {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

// === impl Session ===

impl Session {
    /// `incarnation` is of whom the stored copies are.
    pub(super) fn new(control: &Control, cluster: &str, incarnation: Option<String>) -> Self {
        let (_, stored) = stored(control, cluster);
        Self {
            cluster: cluster.to_owned(),
            copies: Copies::new(cluster, GRACE, stored),
            catalog: Some(control.links.catalog(cluster)),
            written: Written::default(),
            compared: None,
            retry_at: None,
            held: None,
            incarnation,
            rebuilt: false,
        }
    }

    pub(super) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Whether there is nothing more to hear, as the links know no such peer.
    pub(super) fn is_deaf(&self) -> bool {
        self.catalog.is_none()
    }

    /// How many exports the catalog holds, if it was received whole.
    pub(super) fn synced(&self) -> Option<usize> {
        self.copies.synced()
    }

    pub(super) fn incarnation(&self) -> Option<&str> {
        self.incarnation.as_deref()
    }

    /// Whether the cluster was found to be another than before, since this was asked last.
    pub(super) fn take_rebuilt(&mut self) -> bool {
        std::mem::take(&mut self.rebuilt)
    }

    /// The peer was away for too long.
    pub(super) fn expire(&mut self) {
        self.copies.expire();
        self.compared = None;
    }

    pub(super) fn held(&self) -> Option<HeldView> {
        self.held.map(|(held, until)| HeldView {
            count: held.count,
            until,
        })
    }

    /// When [`Session::tend`] has something to do, if nothing else happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let judged = self.copies.poll_timeout().map(Instant::from_std);
        judged.into_iter().chain(self.retry_at).min()
    }

    pub(super) async fn next(&mut self) -> Option<CatalogEvent> {
        match &mut self.catalog {
            Some(catalog) => catalog.next().await,
            None => std::future::pending().await,
        }
    }

    /// Takes an event, and those that wait behind it; what of them is not used. `incarnation` is
    /// what the peer's gateways told last.
    pub(super) fn hear(
        &mut self,
        event: Option<CatalogEvent>,
        incarnation: Option<&str>,
    ) -> Vec<Refused> {
        self.compared = None;
        let mut refused = Vec::new();
        let mut next = Some(event);
        for _ in 0..BURST {
            let Some(event) = next else { break };
            let Some(event) = event else {
                self.catalog = None;
                self.copies.handle_interruption();
                break;
            };
            self.take(event, incarnation, &mut refused);
            next = self.next().now_or_never();
        }
        refused
    }

    /// Does what is due, and writes what differs, while `is_holder`.
    pub(super) async fn tend(
        &mut self,
        control: &Control,
        store: &Store,
        is_holder: impl Fn() -> bool,
    ) {
        let now = Instant::now();
        if self
            .copies
            .poll_timeout()
            .is_some_and(|due| due <= now.into_std())
        {
            self.copies.handle_timeout(now.into_std());
            self.compared = None;
        }
        self.count(control);
        if self.retry_at.is_none_or(|at| now >= at) {
            self.write(control, store, is_holder).await;
        }
    }

    pub(super) fn forget_metrics(&self, control: &Control) {
        let labels = ClusterLabels {
            cluster: self.cluster.clone(),
        };
        control.metrics.exports.remove(&labels);
        control.metrics.withheld.remove(&labels);
    }

    fn take(&mut self, event: CatalogEvent, incarnation: Option<&str>, refused: &mut Vec<Refused>) {
        let now = std::time::Instant::now();
        let foreign = match event {
            CatalogEvent::Snapshot(update) => {
                let unusable = update
                    .rejected
                    .iter()
                    .map(|rejected| rejected.service.clone());
                refused.extend(update.rejected.iter().map(Refused::from));
                let unusable: Vec<_> = unusable.collect();
                let incarnation = incarnation.filter(|told| !told.is_empty());
                let is_rebuilt = incarnation
                    .zip(self.incarnation.as_deref())
                    .is_some_and(|(told, known)| told != known);
                let taken = match is_rebuilt {
                    true => self.copies.handle_rebuilt(now, update.exports),
                    false => self.copies.handle_snapshot(now, update.exports, unusable),
                };
                if let (Ok(()), Some(told)) = (&taken, incarnation) {
                    self.incarnation = Some(told.to_owned());
                    self.rebuilt |= is_rebuilt;
                }
                taken
            }
            CatalogEvent::Upsert(export) => self.copies.handle_upsert(*export),
            CatalogEvent::Withdraw(service) => {
                self.copies.handle_withdraw(now, service);
                Ok(())
            }
            CatalogEvent::Rejected(rejected) => {
                refused.push(Refused::from(&rejected));
                Ok(())
            }
            CatalogEvent::Interrupted { reason, message } => {
                let cluster = self.cluster.as_str();
                tracing::debug!(cluster, reason, message, "catalog interrupted");
                self.copies.handle_interruption();
                Ok(())
            }
        };
        refused.extend(foreign.err().map(Refused::from));
    }

    async fn write(&mut self, control: &Control, store: &Store, is_holder: impl Fn() -> bool) {
        let (version, stored) = stored(control, &self.cluster);
        let is_settled = self.retry_at.is_none() && self.written.is_empty();
        if self.compared == Some(version) && is_settled {
            return;
        }
        let now = Instant::now();
        let differences = self
            .copies
            .differences(now.into_std(), &stored, &mut self.written);
        self.compared = Some(version);
        let was_failing = self.retry_at.take().is_some();

        let cluster = self.cluster.as_str();
        let is_holder = &is_holder;
        let applied = differences.apply.into_iter();
        let applied = applied.map(|export| (ServiceName::from(&*export), Some(export)));
        let deleted = differences
            .delete
            .into_iter()
            .map(|service| (service, None));
        let mut writes = stream::iter(applied.chain(deleted))
            .take_while(|_| std::future::ready(is_holder()))
            .map(
                |(service, export): (ServiceName, Option<Arc<ClusterExportSpec>>)| async move {
                    let written = match &export {
                        Some(export) => store.apply(export).await,
                        None => store.delete(cluster, &service).await,
                    };
                    (service, export, written)
                },
            )
            .buffer_unordered(CONCURRENCY);
        while let Some((service, export, written)) = writes.next().await {
            let Err(error) = written else {
                self.written.record(now.into_std(), service, export);
                continue;
            };
            control.metrics.fail_write("ClusterExport");
            if self.retry_at.replace(now + RETRY).is_none() && !was_failing {
                tracing::info!(cluster, %service, %error, "copy not written");
            }
            // Where the API server does not answer, the others need not be tried.
            if !error.is_refusal() {
                break;
            }
        }
    }

    fn count(&mut self, control: &Control) {
        self.held = self.copies.held().map(|held| match self.held {
            Some((before, wall)) if before.until == held.until => (held, wall),
            Some(_) | None => (held, wall_clock(held.until)),
        });
        let labels = ClusterLabels {
            cluster: self.cluster.clone(),
        };
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        if let Some(exports) = self.copies.synced() {
            control
                .metrics
                .exports
                .get_or_create(&labels)
                .set(gauge(exports));
        }
        let withheld = self.held.map_or(0, |(held, _)| held.count);
        control
            .metrics
            .withheld
            .get_or_create(&labels)
            .set(gauge(withheld));
    }
}

// === impl Refused ===

impl From<&RejectedExport> for Refused {
    fn from(rejected: &RejectedExport) -> Self {
        Self {
            reason: rejected.rejection.reason(),
            message: rejected.to_string(),
        }
    }
}

impl From<ForeignExport> for Refused {
    fn from(foreign: ForeignExport) -> Self {
        Self {
            reason: "ForeignExport",
            message: foreign.to_string(),
        }
    }
}

fn stored(control: &Control, cluster: &str) -> (u64, Exports) {
    let table = control.world.exports.lock();
    let copies = table
        .objects()
        .values()
        .filter(|export| export.cluster == cluster)
        .map(|export| (ServiceName::from(&**export), Arc::clone(export)))
        .collect();
    (table.version(), copies)
}

fn wall_clock(instant: std::time::Instant) -> Timestamp {
    let left = instant.saturating_duration_since(std::time::Instant::now());
    let second = Timestamp::now()
        .as_second()
        .saturating_add_unsigned(left.as_secs());
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}
