//! The copies of one peer's catalog: what should be stored, and what differs from what is.
//!
//! ```text
//! catalog events ─► Copies (guards withdrawals) ─┐
//!                                                ├─► Differences ─► writes
//! stored ClusterExports + own recent writes ─────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tombolo_catalog::{Held, ServiceName, Verdict, Withdrawals};
use tombolo_crds::ClusterExportSpec;

/// How long a mass withdrawal is held: time for a person to see it, and for a broken exporter to be
/// restarted.
pub const GRACE: Duration = Duration::from_secs(300);

/// Withdrawals that come one by one within this time are judged together: an exporter that loses
/// everything takes it back piece by piece.
pub const BATCH: Duration = Duration::from_millis(100);

/// A write that the watch does not show after this time is no longer believed.
const BELIEVED: Duration = Duration::from_secs(10);

/// ClusterExports of one cluster by service.
pub type Exports = BTreeMap<ServiceName, Arc<ClusterExportSpec>>;

/// What should be stored of a peer's catalog.
#[derive(Debug)]
pub struct Copies {
    cluster: String,
    grace: Duration,
    guard: Withdrawals,
    wanted: Exports,
    withdrawn: BTreeSet<ServiceName>,
    judge_at: Option<Instant>,
    synced: bool,
}

/// What has to be written so that what is stored is what should be.
#[derive(Debug, Default, PartialEq)]
pub struct Differences {
    /// To be created or changed.
    pub apply: Vec<Arc<ClusterExportSpec>>,
    /// To be deleted.
    pub delete: Vec<ServiceName>,
}

/// Own writes that the watch has not shown yet; without them each would be made twice.
#[derive(Debug, Default)]
pub struct Written(BTreeMap<ServiceName, (Option<Arc<ClusterExportSpec>>, Instant)>);

/// An export in a peer's catalog that names another cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the catalog of {peer} has an export of {claimed}")]
pub struct ForeignExport {
    /// Whose catalog it is.
    pub peer: String,
    /// Whose export it says it is.
    pub claimed: String,
}

// === impl Copies ===

impl Copies {
    /// Starts from what is stored of `cluster`, with withdrawals held for `grace`.
    #[must_use]
    pub fn new(cluster: &str, grace: Duration, stored: Exports) -> Self {
        Self {
            cluster: cluster.to_owned(),
            grace,
            guard: Withdrawals::new(grace, stored.keys().cloned()),
            wanted: stored,
            withdrawn: BTreeSet::new(),
            judge_at: None,
            synced: false,
        }
    }

    /// The peer's catalog is complete: `exports`, and `unusable` ones, of which the last usable
    /// version stays.
    ///
    /// # Errors
    /// If one of them is another cluster's: nothing of the snapshot is believed then.
    pub fn handle_snapshot(
        &mut self,
        now: Instant,
        exports: Vec<ClusterExportSpec>,
        unusable: impl IntoIterator<Item = ServiceName>,
    ) -> Result<(), ForeignExport> {
        exports.iter().try_for_each(|export| self.check(export))?;
        let mut named: BTreeSet<_> = unusable
            .into_iter()
            .filter(|service| self.wanted.contains_key(service))
            .collect();
        named.extend(exports.iter().map(ServiceName::from));
        for export in exports {
            self.want(export);
        }
        self.withdrawn.clear();
        self.judge_at = None;
        let verdict = self.guard.handle_snapshot(now, &named);
        self.drop_all(verdict);
        self.synced = true;
        Ok(())
    }

    /// The catalog of a cluster that was rebuilt is complete: nobody will ever withdraw what its
    /// predecessor exported, and that it is not in there is nobody's mistake.
    ///
    /// # Errors
    /// As [`Copies::handle_snapshot`].
    pub fn handle_rebuilt(
        &mut self,
        now: Instant,
        exports: Vec<ClusterExportSpec>,
    ) -> Result<(), ForeignExport> {
        exports.iter().try_for_each(|export| self.check(export))?;
        self.expire();
        self.handle_snapshot(now, exports, [])
    }

    /// The peer was away for too long: it is as if it had withdrawn everything, and meant it.
    pub fn expire(&mut self) {
        self.guard = Withdrawals::new(self.grace, []);
        self.wanted.clear();
        self.withdrawn.clear();
        self.judge_at = None;
        self.synced = false;
    }

    /// The peer exports this, anew or changed.
    ///
    /// # Errors
    /// If it is another cluster's.
    pub fn handle_upsert(&mut self, export: ClusterExportSpec) -> Result<(), ForeignExport> {
        self.check(&export)?;
        let service = ServiceName::from(&export);
        self.withdrawn.remove(&service);
        self.guard.upsert(service);
        self.want(export);
        Ok(())
    }

    /// The peer withdrew this. It is judged with others, by [`Copies::handle_timeout`].
    pub fn handle_withdraw(&mut self, now: Instant, service: ServiceName) {
        self.withdrawn.insert(service);
        self.judge_at.get_or_insert(now + BATCH);
    }

    /// The link to the peer was interrupted: all that is known stands, but may be old.
    pub fn handle_interruption(&mut self) {
        self.synced = false;
    }

    /// When [`Copies::handle_timeout`] has something to do, if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.judge_at
            .into_iter()
            .chain(self.guard.poll_timeout())
            .min()
    }

    /// Judges withdrawals, and lets those go whose grace is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.judge_at.is_some_and(|due| due <= now) {
            self.judge_at = None;
            let withdrawn = std::mem::take(&mut self.withdrawn);
            let verdict = self.guard.withdraw(now, withdrawn);
            self.drop_all(verdict);
        }
        for service in self.guard.handle_timeout(now) {
            self.wanted.remove(&service);
        }
    }

    /// How many exports the catalog holds, those held back among them; `None` unless it was
    /// received whole since the last interruption.
    #[must_use]
    pub fn synced(&self) -> Option<usize> {
        self.synced.then_some(self.wanted.len())
    }

    /// Withdrawals that are held back.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        self.guard.held()
    }

    /// What has to be written, `stored` being what the watch shows.
    pub fn differences(
        &self,
        now: Instant,
        stored: &Exports,
        written: &mut Written,
    ) -> Differences {
        written.forget(now, stored);
        let is_stored = |service: &ServiceName| match written.0.get(service) {
            Some((last, _)) => last.as_ref(),
            None => stored.get(service),
        };
        let apply = self
            .wanted
            .iter()
            .filter(|(service, export)| is_stored(service) != Some(*export))
            .map(|(_, export)| Arc::clone(export))
            .collect();
        let known = stored
            .keys()
            .chain(written.0.keys())
            .collect::<BTreeSet<_>>();
        let delete = known
            .into_iter()
            .filter(|service| !self.wanted.contains_key(service) && is_stored(service).is_some())
            .cloned()
            .collect();
        Differences { apply, delete }
    }

    fn check(&self, export: &ClusterExportSpec) -> Result<(), ForeignExport> {
        if export.cluster == self.cluster {
            return Ok(());
        }
        Err(ForeignExport {
            peer: self.cluster.clone(),
            claimed: export.cluster.clone(),
        })
    }

    fn want(&mut self, export: ClusterExportSpec) {
        let service = ServiceName::from(&export);
        if self
            .wanted
            .get(&service)
            .is_none_or(|known| **known != export)
        {
            self.wanted.insert(service, Arc::new(export));
        }
    }

    fn drop_all(&mut self, verdict: Verdict) {
        for service in verdict.apply {
            self.wanted.remove(&service);
        }
        if !verdict.held.is_empty() {
            tracing::info!(
                cluster = self.cluster,
                count = verdict.held.len(),
                "withdrawals are held back"
            );
        }
    }
}

// === impl Differences ===

impl Differences {
    /// Whether nothing has to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.apply.is_empty() && self.delete.is_empty()
    }
}

// === impl Written ===

impl Written {
    /// `service` was stored as `export` now, or deleted.
    pub fn record(
        &mut self,
        now: Instant,
        service: ServiceName,
        export: Option<Arc<ClusterExportSpec>>,
    ) {
        self.0.insert(service, (export, now + BELIEVED));
    }

    /// Whether the watch has shown all of them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn forget(&mut self, now: Instant, stored: &Exports) {
        self.0.retain(|service, (export, until)| {
            *until > now && stored.get(service) != export.as_ref()
        });
    }
}

#[cfg(test)]
mod tests;
