//! The import in this cluster: ServiceImport, derived Service, EndpointSlices. What is particular
//! about a headless one is in [`super::headless`].

use std::time::Instant;

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use tombolo_catalog::Import;
use tombolo_crds::ClusterExportSpec;
use tombolo_crds::mcs::{ClusterStatus, ServiceImport, ServiceImportStatus, ServiceImportType};
use tombolo_crds::well_known::{
    DERIVED_SERVICE_ANNOTATION, IMPORTED_CONDITION, MANAGER, MANAGER_LABEL, STALE_CONDITION,
};
use tombolo_runtime::events::{Notice, Severity};

use super::action::{Action, DeletedKind, Deletion};
use super::conditions::{Status, Wanted, are_there, is_news, settle};
use super::derived::{self, GatewayPorts};
use super::view::View;
use super::{Allotted, Plan, headless, ownership, slices};

const FOREIGN: &str = "The ServiceImport of this name is not Tombolo's and is left alone: remove \
                       it, or the exports of its name";

/// The reason that the MCS-API gives to an import of which no family can be used here.
const FAMILY: &str = "IPFamilyNotSupported";

/// How far an import has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is none.
    Absent,
    /// The ServiceImport is somebody else's: it is left alone, and so is its status.
    Foreign,
    /// It has a clusterset IP, or its endpoints have addresses.
    Ready,
    /// Something is in the way; what an Event calls it, and what people are told.
    Blocked(&'static str, String),
    /// It waits for an answer of the API server.
    Pending,
}

// === impl State ===

impl State {
    /// An object is where one of ours should be.
    pub(super) fn name_taken(foreign: &str) -> Self {
        let message = format!("{foreign} is not Tombolo's: remove it");
        Self::Blocked("NameTaken", message)
    }
}

pub(super) fn plan(
    view: &View,
    import: &Import,
    exports: &[&ClusterExportSpec],
    allotted: &mut Allotted,
    now: Instant,
    plan: &mut Plan,
) -> State {
    if let Some(found) = view.import.as_deref() {
        if !ownership::is_ours(&found.metadata) {
            headless::release(view, allotted, now);
            plan.actions.extend(removal_of_services(view));
            plan.notices
                .push((reference(view, found), foreign_import()));
            return State::Foreign;
        }
        if found.metadata.deletion_timestamp.is_some() {
            return State::Pending;
        }
    }
    if import.type_ == ServiceImportType::Headless {
        let families = headless::families(view, exports);
        plan.actions
            .extend(apply_import(view, import, Addresses::Endpoints(families)));
        plan.actions.extend(removal_of_derived(view));
        return headless::plan(view, import, exports, allotted, now, plan);
    }
    plan.actions.extend(headless::removal(view));
    headless::release_addresses(view, allotted, now);
    let gateway_ports = GatewayPorts::allot(import, &mut allotted.ports, now);
    if let Some(foreign) = derived::foreign(view) {
        plan.actions
            .extend(apply_import(view, import, Addresses::None));
        return State::name_taken(&foreign);
    }
    let exhausted = gateway_ports.exhausted();
    if let Some(message) = &exhausted
        && gateway_ports.is_empty()
    {
        plan.actions
            .extend(apply_import(view, import, Addresses::Kept));
        return State::Blocked("GatewayPortsExhausted", message.clone());
    }
    let applied = carry_out(view, import, exports, &gateway_ports, plan);
    match (applied, exhausted) {
        (State::Ready, Some(message)) => State::Blocked("GatewayPortsExhausted", message),
        (state, _) => state,
    }
}

/// Everything of ours that is there, in the order in which it is to go.
pub(super) fn removal(view: &View) -> Vec<Action> {
    let mut actions = removal_of_services(view);
    let import = view
        .import
        .as_deref()
        .filter(|import| ownership::is_ours(&import.metadata));
    if let Some(import) = import {
        actions.extend(delete(DeletedKind::ServiceImport, &import.metadata));
    }
    actions
}

pub(super) fn status(view: &View, import: &Import, state: &State, now: Timestamp, plan: &mut Plan) {
    let Some(found) = view
        .import
        .as_deref()
        .filter(|i| ownership::is_ours(&i.metadata))
    else {
        return;
    };
    let ready = |status, reason, message: &str| Wanted::new("Ready", status, reason, message);
    let wanted = match (state, &view.failure) {
        (State::Absent | State::Foreign, _) => return,
        (_, Some(failure)) => ready(Status::False, "Pending", failure),
        (State::Pending, None) => ready(Status::False, "Pending", ""),
        (State::Blocked(FAMILY, message), None) => ready(Status::False, FAMILY, message),
        (State::Blocked(_, message), None) => ready(Status::False, "Pending", message),
        (State::Ready, None) => ready(Status::True, "Ready", ready_message(import)),
    };
    let observed = found.status.clone().unwrap_or_default();
    if let State::Blocked(reason, message) = state
        && is_news(&observed.conditions, &wanted)
    {
        let note = message.clone();
        let notice = Notice {
            severity: Severity::Warning,
            reason,
            action: "Import",
            note,
        };
        plan.notices.push((reference(view, found), notice));
    }
    let generation = found.metadata.generation;
    let stale = stale(view, import);
    let wanted: Vec<Wanted> = [Some(wanted), stale].into_iter().flatten().collect();
    let desired = ServiceImportStatus {
        clusters: clusters(import),
        conditions: settle(&observed.conditions, &wanted, generation, now),
        endpoint_slice_objects: Some("Present".to_owned()),
    };
    let mut found_clusters = observed.clusters;
    found_clusters.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    if found_clusters == desired.clusters
        && observed.endpoint_slice_objects == desired.endpoint_slice_objects
        && are_there(&observed.conditions, &desired.conditions, STALE_CONDITION)
    {
        return;
    }
    let mut applied = ServiceImport::new(&view.name.name, import.spec(Vec::new(), Vec::new()));
    applied.metadata.namespace = Some(view.name.namespace.clone());
    applied.status = Some(desired);
    plan.actions
        .push(Action::ApplyImportStatus(Box::new(applied)));
}

/// What is said only while a cluster that exports it is away: its export stands, but may be old.
fn stale(view: &View, import: &Import) -> Option<Wanted> {
    let away = view
        .stale
        .iter()
        .filter(|(cluster, _)| import.clusters.contains(cluster));
    let messages: Vec<String> = away
        .map(|(cluster, message)| format!("{cluster}: {message}"))
        .collect();
    let message = messages.join("; ");
    (!messages.is_empty())
        .then(|| Wanted::new(STALE_CONDITION, Status::True, "Unreachable", message))
}

/// What `applied` of the import is already there.
fn carry_out(
    view: &View,
    import: &Import,
    exports: &[&ClusterExportSpec],
    gateway_ports: &GatewayPorts,
    plan: &mut Plan,
) -> State {
    let derived = view.derived.as_deref();
    let addresses = derived.map_or(Addresses::Kept, Addresses::Of);
    plan.actions.extend(apply_import(view, import, addresses));
    let Some(owner) = owner(view) else {
        return State::Pending;
    };
    plan.actions
        .extend(derived::apply(view, import, gateway_ports, &owner));
    let Some(derived) = derived.filter(|derived| !cluster_ips(derived).is_empty()) else {
        return State::Pending;
    };
    let slices = slices::plan(view, import, exports, gateway_ports, derived, &owner);
    if view.failure.is_none() {
        plan.actions.extend(slices.actions);
    }
    match slices.foreign {
        Some(foreign) => State::name_taken(&foreign),
        None => slices::unusable_families(view, import, &ip_families(derived))
            .map_or(State::Ready, |message| State::Blocked(FAMILY, message)),
    }
}

/// Where the clusterset IPs are from.
enum Addresses<'a> {
    /// The import is to have none.
    None,
    /// Those that it has, while its derived Service is being made.
    Kept,
    /// The derived Service's.
    Of(&'a Service),
    /// None, as each endpoint has its own: these families, or while there are no endpoints those
    /// that it has.
    Endpoints(Vec<String>),
}

fn apply_import(view: &View, import: &Import, addresses: Addresses<'_>) -> Option<Action> {
    if view.failure.is_some() {
        return None;
    }
    let found = view.import.as_deref();
    let kept_families = || {
        found
            .map(|i| i.spec.ip_families.clone())
            .unwrap_or_default()
    };
    let (ips, families) = match addresses {
        Addresses::None => (Vec::new(), Vec::new()),
        Addresses::Kept => (
            found.map(|i| i.spec.ips.clone()).unwrap_or_default(),
            kept_families(),
        ),
        Addresses::Of(derived) => (cluster_ips(derived), ip_families(derived)),
        Addresses::Endpoints(families) if families.is_empty() => (Vec::new(), kept_families()),
        Addresses::Endpoints(families) => (Vec::new(), families),
    };
    let mut desired = ServiceImport::new(&view.name.name, import.spec(ips, families));
    desired.metadata.namespace = Some(view.name.namespace.clone());
    desired.metadata.labels = Some(import.labels.clone());
    let labels = desired.metadata.labels.get_or_insert_default();
    labels.insert(MANAGER_LABEL.to_owned(), MANAGER.to_owned());
    desired.metadata.annotations = Some(import.annotations.clone());
    if import.type_ == ServiceImportType::ClusterSetIP {
        let annotations = desired.metadata.annotations.get_or_insert_default();
        annotations.insert(DERIVED_SERVICE_ANNOTATION.to_owned(), derived::name(view));
    }
    let is_settled = found.is_some_and(|found| {
        let (found, desired) = (found, &desired);
        found.spec == desired.spec
            && ownership::is_same_map(
                found.metadata.labels.as_ref(),
                desired.metadata.labels.as_ref(),
            )
            && ownership::is_same_map(
                found.metadata.annotations.as_ref(),
                desired.metadata.annotations.as_ref(),
            )
    });
    (!is_settled).then(|| Action::ApplyImport(Box::new(desired)))
}

/// The Services of the import, and their slices.
fn removal_of_services(view: &View) -> Vec<Action> {
    if view.failure.is_some() {
        return Vec::new();
    }
    let slices = view
        .slices
        .iter()
        .filter(|slice| ownership::is_our_slice(slice));
    let slices = slices.filter_map(|slice| delete(DeletedKind::EndpointSlice, &slice.metadata));
    slices
        .chain(removal_of_derived(view))
        .chain(headless::removal(view))
        .collect()
}

/// The derived Service alone.
fn removal_of_derived(view: &View) -> Option<Action> {
    let derived = view.derived.as_deref();
    let derived = derived.filter(|derived| ownership::is_derived_of(derived, &view.name));
    derived
        .filter(|_| view.failure.is_none())
        .and_then(|derived| delete(DeletedKind::Service, &derived.metadata))
}

/// Deletes an object unless it is being deleted.
pub(super) fn delete(kind: DeletedKind, metadata: &ObjectMeta) -> Option<Action> {
    if metadata.deletion_timestamp.is_some() {
        return None;
    }
    let name = tombolo_catalog::ServiceName::new(
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    );
    Some(Action::Delete(Deletion {
        kind,
        name,
        uid: metadata.uid.clone(),
    }))
}

/// What the ServiceExport of this cluster says while the import cannot be had here: a
/// ServiceImport of somebody else is left alone, so it cannot say so itself.
pub(super) fn not_imported(state: &State) -> Option<Wanted> {
    let is_foreign = *state == State::Foreign;
    is_foreign.then(|| Wanted::new(IMPORTED_CONDITION, Status::False, "NameTaken", FOREIGN))
}

fn foreign_import() -> Notice {
    Notice {
        severity: Severity::Warning,
        reason: "NameTaken",
        action: "Import",
        note: FOREIGN.to_owned(),
    }
}

pub(super) fn owner(view: &View) -> Option<OwnerReference> {
    Some(OwnerReference {
        api_version: view.mcs.api_version().to_owned(),
        kind: "ServiceImport".to_owned(),
        name: view.name.name.clone(),
        uid: view.import.as_deref()?.metadata.uid.clone()?,
        controller: Some(true),
        block_owner_deletion: None,
    })
}

fn reference(view: &View, import: &ServiceImport) -> ObjectReference {
    ObjectReference {
        api_version: Some(view.mcs.api_version().to_owned()),
        kind: Some("ServiceImport".to_owned()),
        namespace: Some(view.name.namespace.clone()),
        name: Some(view.name.name.clone()),
        uid: import.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

pub(super) fn cluster_ips(service: &Service) -> Vec<String> {
    let ips = service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ips.clone());
    ips.unwrap_or_default()
        .into_iter()
        .filter(|ip| ip != "None" && !ip.is_empty())
        .collect()
}

pub(super) fn ip_families(service: &Service) -> Vec<String> {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.ip_families.clone())
        .unwrap_or_default()
}

fn clusters(import: &Import) -> Vec<ClusterStatus> {
    let clusters = import.clusters.iter();
    clusters
        .map(|cluster| ClusterStatus {
            cluster: cluster.clone(),
        })
        .collect()
}

fn ready_message(import: &Import) -> &'static str {
    match import.type_ {
        ServiceImportType::ClusterSetIP => "It has a clusterset IP",
        ServiceImportType::Headless => "Its endpoints have addresses",
    }
}
