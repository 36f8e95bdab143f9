//! Brings what is there to what should be there, for one service.

use std::sync::Arc;

use futures::future::join_all;
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
use crate::plan::{Now, Plan, plan};
use crate::settled::Settled;
use crate::writer::{WriteError, Writer, Written};

/// Plans that one look at a service may take: the import, its Service, its addresses and slices,
/// the statuses; and what the answers change. With more, something writes against us.
const PASSES: usize = 8;

/// The leader's means to change something.
pub struct Reconciler {
    index: Arc<RwLock<Index>>,
    ports: Mutex<PortAllotter>,
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
        ports: PortAllotter,
        writer: Writer,
        events: Events,
    ) -> Self {
        Self {
            index,
            ports: Mutex::new(ports),
            settled: Mutex::default(),
            writer,
            events,
        }
    }

    /// Starts from `ports`, and from nothing else that it remembers.
    pub fn restart(&self, ports: PortAllotter) {
        *self.ports.lock() = ports;
        self.settled.lock().clear();
    }

    /// Writes until there is nothing to write.
    ///
    /// # Errors
    /// What is in the way. It should be tried again.
    pub async fn reconcile(&self, name: &ServiceName) -> Result<(), ReconcileError> {
        let mut failed = None;
        let mut unconfirmed = false;
        let mut last = "";
        for _ in 0..PASSES {
            let mut view = self.index.read().view(name);
            view.failure = failed.as_ref().map(ToString::to_string);
            view.withdrawal_unconfirmed = unconfirmed;
            let actions = self.next(&view);
            let Some(action) = actions.first() else {
                return match failed {
                    Some(error) => Err(error),
                    None if unconfirmed => Err(ReconcileError::Unconfirmed),
                    None => Ok(()),
                };
            };
            last = action.kind();
            match self.carry_out(name, actions).await {
                Ok(Outcome::Done) => {}
                Ok(Outcome::Unconfirmed) => unconfirmed = true,
                // Only what the user can do something about is told in statuses.
                Err(error) if failed.is_none() && is_refused(&error) => failed = Some(error),
                Err(error) => return Err(failed.unwrap_or(error)),
            }
        }
        Err(ReconcileError::Restless(last))
    }

    fn next(&self, view: &View) -> Vec<Action> {
        let now = Now {
            wall: Timestamp::now(),
            monotonic: std::time::Instant::now(),
        };
        let settled = self.settled.lock();
        let is_settled = |action: &Action| settled.has(action, view);
        let Plan { actions, notices } = plan(view, &mut self.ports.lock(), now, is_settled);
        for (about, notice) in notices {
            self.events.publish(&about, notice);
        }
        actions
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
            let answers = join_all(actions.iter().map(|action| self.writer.write(action))).await;
            let mut first_error = None;
            for (action, answer) in actions.iter().zip(answers) {
                match answer {
                    Ok(Written::Unconfirmed) => outcome = Outcome::Unconfirmed,
                    Ok(written) => {
                        tracing::debug!(service = %name, kind = action.kind(),
                            removed = action.is_removal(), "written");
                        self.observe(written);
                        let view = self.index.read().view(name);
                        self.settled.lock().record(action, &view);
                    }
                    Err(error) => {
                        first_error.get_or_insert(ReconcileError::Write {
                            kind: action.kind(),
                            error,
                        });
                    }
                }
            }
            if let Some(error) = first_error {
                return Err(error);
            }
        }
        Ok(outcome)
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
}

fn apply<T: Indexed>(index: &mut Index, mut object: T) {
    crate::watches::trim(object.meta_mut());
    index.apply(Arc::new(object));
}

fn is_refused(error: &ReconcileError) -> bool {
    matches!(
        error,
        ReconcileError::Write {
            error: WriteError::Refused(_),
            ..
        }
    )
}
