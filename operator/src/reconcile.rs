//! Brings what is there to what should be there, for one service.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::StreamExt;
use futures::stream;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use tombolo_catalog::{PortAllotter, ServiceName};
use tombolo_crds::ClusterExport;
use tombolo_crds::mcs::ServiceImport;
use tombolo_runtime::events::Events;

use crate::index::{Index, Indexed};
use crate::plan::action::{Action, DeletedKind};
use crate::plan::view::View;
use crate::plan::{Allotted, Now, Plan, plan};
use crate::settled::{Settled, Target};
use crate::writer::{WriteError, Writer, Written};

/// Plans that one look at a service may take: the import, its Service, its addresses and slices,
/// the statuses; and what the answers change. With more, something writes against us.
const PASSES: usize = 8;

/// Writes of one plan that are under way at the same time. More would wait in the API server, and
/// for no longer than it gives anybody.
const CONCURRENT_WRITES: usize = 16;

/// The leader's means to change something.
pub struct Reconciler {
    index: Arc<RwLock<Index>>,
    allotted: Mutex<Allotted>,
    settled: Mutex<Settled>,
    writer: Writer,
    events: Events,
}

/// Why a service is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A write failed.
    #[error("{kind}: {error}")]
    Write {
        /// What was written.
        kind: &'static str,
        /// Why it failed.
        error: WriteError,
    },
    /// An export seems to be gone, but the API server does not say so.
    #[error("the API server does not confirm that the export is gone")]
    Unconfirmed,
    /// Endpoints of other clusters are without an address.
    #[error("the cluster's service range has no address left for endpoints of other clusters")]
    AddressesExhausted,
    /// There is more to do after many writes: something writes against us.
    #[error("does not come to rest: {0} is written again and again")]
    Restless(&'static str),
}

// === impl ReconcileError ===

impl ReconcileError {
    /// A stable word for it: a metric label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Write { error, .. } => error.reason(),
            Self::Unconfirmed => "Unconfirmed",
            Self::AddressesExhausted => "NoServiceAddress",
            Self::Restless(_) => "Restless",
        }
    }
}

// === impl Reconciler ===

impl Reconciler {
    /// Reads from `index`, and applies the answers to it.
    #[must_use]
    pub fn new(
        index: Arc<RwLock<Index>>,
        allotted: Allotted,
        writer: Writer,
        events: Events,
    ) -> Self {
        Self {
            index,
            allotted: Mutex::new(allotted),
            settled: Mutex::default(),
            writer,
            events,
        }
    }

    /// Starts from `ports` and the service addresses that each import has, and from nothing else
    /// that it remembers.
    pub fn restart(
        &self,
        ports: PortAllotter,
        addresses: impl IntoIterator<Item = (ServiceName, usize)>,
    ) {
        let mut allotted = self.allotted.lock();
        allotted.ports = ports;
        allotted.addresses.restart(addresses);
        drop(allotted);
        self.settled.lock().clear();
    }

    /// Writes until there is nothing to write. When to look again although nothing may have changed.
    ///
    /// # Errors
    /// What is in the way. It should be tried again.
    pub async fn reconcile(&self, name: &ServiceName) -> Result<Option<Instant>, ReconcileError> {
        let mut failed = None;
        let mut unconfirmed = false;
        let mut addresses_exhausted = None;
        let mut last = "";
        for _ in 0..PASSES {
            let mut view = self.index.read().view(name);
            view.failure = failed.as_ref().map(ToString::to_string);
            view.withdrawal_unconfirmed = unconfirmed;
            view.addresses_exhausted.clone_from(&addresses_exhausted);
            let (actions, look_again) = self.next(&view);
            let Some(action) = actions.first() else {
                return match failed {
                    Some(error) => Err(error),
                    None if unconfirmed => Err(ReconcileError::Unconfirmed),
                    None if addresses_exhausted.is_some() => {
                        Err(ReconcileError::AddressesExhausted)
                    }
                    None => Ok(look_again),
                };
            };
            last = action.kind();
            match self.carry_out(name, actions).await {
                Ok(Outcome::Done) => {}
                Ok(Outcome::Unconfirmed) => unconfirmed = true,
                Ok(Outcome::AddressesExhausted(message)) => addresses_exhausted = Some(message),
                // Only what the user can do something about is told in statuses.
                Err(error) if failed.is_none() && is_refused(&error) => failed = Some(error),
                Err(error) => return Err(failed.unwrap_or(error)),
            }
        }
        Err(ReconcileError::Restless(last))
    }

    fn next(&self, view: &View) -> (Vec<Action>, Option<Instant>) {
        let now = Now {
            wall: Timestamp::now(),
            monotonic: Instant::now(),
        };
        let mut settled = self.settled.lock();
        let mut needed = BTreeSet::new();
        let is_settled = |action: &Action| {
            let is_settled = settled.has(action, view);
            if is_settled {
                needed.insert(Target::of(action));
            }
            is_settled
        };
        let Plan {
            actions,
            notices,
            look_again,
        } = plan(view, &mut self.allotted.lock(), now, is_settled);
        if actions.is_empty() {
            settled.rest(&view.name, &needed);
        }
        for (about, notice) in notices {
            self.events.publish(&about, notice);
        }
        (actions, look_again)
    }

    /// What is applied first, at once; then, if all went well, what is removed.
    async fn carry_out(
        &self,
        name: &ServiceName,
        actions: Vec<Action>,
    ) -> Result<Outcome, ReconcileError> {
        let (removed, applied): (Vec<_>, Vec<_>) =
            actions.into_iter().partition(Action::is_removal);
        let mut outcome = Outcome::Done;
        for actions in [applied, removed] {
            let exhausted = AtomicBool::new(false);
            let writes = actions.iter().map(|action| self.write(action, &exhausted));
            let writes: Vec<_> = writes.collect();
            let answers: Vec<_> = stream::iter(writes)
                .buffer_unordered(CONCURRENT_WRITES)
                .filter_map(std::future::ready)
                .collect()
                .await;
            let mut first_error = None;
            let mut done = Vec::new();
            for (action, answer) in answers {
                match answer {
                    Ok(Written::Unconfirmed) => outcome = Outcome::Unconfirmed,
                    Ok(written) => {
                        tracing::debug!(service = %name, kind = action.kind(),
                            removed = action.is_removal(), "written");
                        self.observe(written);
                        done.push(action);
                    }
                    Err(WriteError::NoAddress(status))
                        if matches!(action, Action::ApplyEndpoint(_)) =>
                    {
                        outcome = Outcome::AddressesExhausted(status.message);
                    }
                    Err(error) => {
                        first_error.get_or_insert(ReconcileError::Write {
                            kind: action.kind(),
                            error,
                        });
                    }
                }
            }
            let view = self.index.read().view(name);
            let mut settled = self.settled.lock();
            for action in done {
                settled.record(action, &view);
            }
            drop(settled);
            if let Some(error) = first_error {
                return Err(error);
            }
        }
        Ok(outcome)
    }

    /// Without addresses, other endpoints' Services need not be tried.
    async fn write<'a>(
        &self,
        action: &'a Action,
        exhausted: &AtomicBool,
    ) -> Option<(&'a Action, Result<Written, WriteError>)> {
        if matches!(action, Action::ApplyEndpoint(_)) && exhausted.load(Ordering::Relaxed) {
            return None;
        }
        let answer = self.writer.write(action).await;
        if matches!(answer, Err(WriteError::NoAddress(_))) {
            exhausted.store(true, Ordering::Relaxed);
        }
        Some((action, answer))
    }

    fn observe(&self, written: Written) {
        let mut index = self.index.write();
        match written {
            Written::ClusterExport(export) => apply(&mut index, *export),
            Written::ServiceExport(export) => apply(&mut index, *export),
            Written::ServiceImport(import) => apply(&mut index, *import),
            Written::Service(service) => apply(&mut index, *service),
            Written::EndpointSlice(slice) => apply(&mut index, *slice),
            Written::Withdrawn(name) => index.delete::<ClusterExport>(&name),
            Written::Unconfirmed => {}
            Written::Deleted(DeletedKind::EndpointSlice, name) => {
                index.delete::<EndpointSlice>(&name);
            }
            Written::Deleted(DeletedKind::Service, name) => {
                index.delete::<Service>(&name);
            }
            Written::Deleted(DeletedKind::ServiceImport, name) => {
                index.delete::<ServiceImport>(&name);
            }
        }
    }
}

enum Outcome {
    Done,
    Unconfirmed,
    /// The service range has no address for an endpoint.
    AddressesExhausted(String),
}

fn apply<T: Indexed>(index: &mut Index, mut object: T) {
    crate::watches::trim(object.meta_mut());
    index.observe(&object);
}

fn is_refused(error: &ReconcileError) -> bool {
    matches!(
        error,
        ReconcileError::Write {
            error: WriteError::Refused(_) | WriteError::NoAddress(_),
            ..
        }
    )
}
