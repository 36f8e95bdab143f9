//! What is to be written for one service, given all that is known about it.
//!
//! ```text
//!            ┌─► own ClusterExport ─┐
//! View ──────┤                      ├─ merge ─► ServiceImport ─► derived Service ─► EndpointSlices
//!            └─► copies of peers' ──┘                │  └──► endpoints' Services ─┘ (if headless)
//!                                                    └─────► statuses
//! ```
//!
//! Pure, and level-triggered: only what differs from what is there becomes an action, so the plan
//! for a view in which every action was carried out is empty. A plan holds what can be done now;
//! what needs the answer to it (the import's UID, the clusterset IP) comes in the next plan, for
//! the view with that answer. Statuses come last, so that nobody is told of states in between.

use std::time::Instant;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use tombolo_catalog::{Import, PortAllotter, merge, validate};
use tombolo_crds::ClusterExportSpec;
use tombolo_runtime::events::Notice;

pub mod action;
pub mod addresses;
mod carried;
pub(crate) mod conditions;
mod derived;
mod export;
mod headless;
mod import;
pub mod ownership;
mod published;
mod slices;
#[cfg(test)]
mod tests;
pub mod view;

use action::Action;
use addresses::Addresses;
use view::{NamespaceState, View};

/// What is to be done for one service.
#[derive(Debug, Default)]
pub struct Plan {
    /// What to write. What is applied goes before what is deleted.
    pub actions: Vec<Action>,
    /// What to tell the users of these objects.
    pub notices: Vec<(ObjectReference, Notice)>,
    /// When to look again although nothing may have changed: something has rested by then, or may
    /// have become free.
    pub look_again: Option<Instant>,
}

/// What all imports take their share of.
#[derive(Debug)]
pub struct Allotted {
    /// Gateway ports.
    pub ports: PortAllotter,
    /// Service addresses of other clusters' endpoints.
    pub addresses: Addresses,
}

/// What time it is, for those who need to know.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For timestamps in objects.
    pub wall: Timestamp,
    /// For what rests.
    pub monotonic: Instant,
}

/// Computes the plan. `allotted` is asked for the gateway ports and addresses of what is new in the
/// import, and told which are no longer needed. What `is_settled` was applied before, and left the
/// object as it is.
pub fn plan(
    view: &View,
    allotted: &mut Allotted,
    now: Now,
    mut is_settled: impl FnMut(&Action) -> bool,
) -> Plan {
    let mut plan = Plan::default();
    let exported = export::evaluate(view);
    if view.failure.is_none() {
        plan.actions
            .extend(export::actions(view, exported.as_ref()));
        // The merge must see this cluster's own export as it is going to be.
        if !plan.actions.is_empty() {
            return plan;
        }
    }

    let exports = usable_exports(view);
    let merged = merge(&exports);
    let wanted = merged
        .as_ref()
        .filter(|_| view.namespace == NamespaceState::Present);
    let state = match wanted {
        Some(import) => import::plan(view, import, &exports, allotted, now.monotonic, &mut plan),
        None => {
            headless::release(view, allotted, now.monotonic);
            if view.failure.is_none() {
                plan.actions.extend(import::removal(view));
            }
            import::State::Absent
        }
    };
    plan.actions.retain(|action| !is_settled(action));
    if plan.actions.is_empty() {
        export::status(
            view,
            exported.as_ref(),
            merged.as_ref(),
            &state,
            now.wall,
            &mut plan,
        );
        if let Some(import) = wanted {
            import::status(view, import, &state, now.wall, &mut plan);
        }
        plan.actions.retain(|action| !is_settled(action));
    }
    plan
}

/// The exports that may take part in the merge. Another cluster's that breaks a rule was not
/// written by a gateway.
fn usable_exports(view: &View) -> Vec<&ClusterExportSpec> {
    view.cluster_exports
        .iter()
        .filter(|export| {
            export.metadata.deletion_timestamp.is_none()
                && export.metadata.name.as_deref() == Some(&export.spec.object_name())
        })
        .map(|export| &export.spec)
        .filter(|spec| validate(spec).is_ok())
        .collect()
}

/// Whether this cluster takes part in an import.
fn exports_here(view: &View, import: &Import) -> bool {
    import
        .clusters
        .iter()
        .any(|cluster| **cluster == *view.cluster)
}
