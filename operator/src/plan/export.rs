//! What this cluster tells the others of a service, and what its user is told of that.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use tombolo_catalog::{Import, Invalid, MAX_ENDPOINTS, export_from};
use tombolo_crds::mcs::{ServiceExport, ServiceExportSpec, ServiceExportStatus};
use tombolo_crds::well_known::{CLUSTER_LABEL, IMPORTED_CONDITION};
use tombolo_crds::{ClusterExport, ClusterExportSpec};
use tombolo_runtime::events::{Notice, Severity};

use super::action::{Action, Evidence, Withdrawal};
use super::conditions::{Status, Wanted, are_there, is_news, settle};
use super::view::View;
use super::{Plan, carried, exports_here, import, published, slices};

/// What there is to export: `None` without a ServiceExport.
pub(super) fn evaluate(view: &View) -> Option<Result<ClusterExportSpec, Invalid>> {
    let export = view
        .export
        .as_ref()
        .filter(|export| !is_leaving(&export.metadata))?;
    let service = view
        .service
        .as_deref()
        .filter(|service| !is_leaving(&service.metadata));
    let ready = slices::any_takes_traffic(&view.service_slices);
    let endpoints = service.map(|service| published::endpoints(view, service));
    let mut endpoints = endpoints.unwrap_or_default();
    endpoints.truncate(MAX_ENDPOINTS);
    Some(export_from(
        &view.cluster,
        export,
        service,
        ready,
        endpoints,
    ))
}

pub(super) fn actions(
    view: &View,
    exported: Option<&Result<ClusterExportSpec, Invalid>>,
) -> Vec<Action> {
    let stored = own(view);
    match (exported, stored) {
        (Some(Ok(wanted)), Some(stored)) if is_settled(stored, wanted) => Vec::new(),
        (Some(Ok(wanted)), _) => {
            vec![Action::ApplyClusterExport(Box::new(cluster_export(
                wanted.clone(),
            )))]
        }
        (None | Some(Err(_)), None) => Vec::new(),
        (None | Some(Err(_)), Some(_)) if view.withdrawal_unconfirmed => Vec::new(),
        (None, Some(stored)) => withdrawal(view, stored, Evidence::ExportGone),
        (Some(Err(Invalid::NoService)), Some(stored)) => {
            withdrawal(view, stored, Evidence::ServiceGone)
        }
        (Some(Err(_)), Some(stored)) => withdrawal(view, stored, Evidence::Invalid),
    }
}

pub(super) fn status(
    view: &View,
    exported: Option<&Result<ClusterExportSpec, Invalid>>,
    merged: Option<&Import>,
    state: &import::State,
    now: Timestamp,
    plan: &mut Plan,
) {
    let (Some(export), Some(exported)) = (&view.export, exported) else {
        return;
    };
    let merged = merged.filter(|import| exports_here(view, import));
    let mut wanted = vec![
        valid(exported),
        ready(view, exported),
        carried::condition(view, exported.as_ref().ok()),
        conflict(merged.filter(|_| exported.is_ok())),
    ];
    wanted.extend(import::not_imported(state));
    let observed = export
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.conditions);
    let conditions = settle(observed, &wanted, export.metadata.generation, now);
    if are_there(observed, &conditions, IMPORTED_CONDITION) {
        return;
    }
    let news = wanted.iter().filter(|wanted| is_news(observed, wanted));
    let notices = news.filter_map(|condition| notice(view, condition));
    plan.notices
        .extend(notices.map(|notice| (reference(view, export), notice)));
    let mut applied = ServiceExport::new(&view.name.name, ServiceExportSpec::default());
    applied.metadata.namespace = Some(view.name.namespace.clone());
    applied.status = Some(ServiceExportStatus { conditions });
    plan.actions
        .push(Action::ApplyExportStatus(Box::new(applied)));
}

fn valid(exported: &Result<ClusterExportSpec, Invalid>) -> Wanted {
    match exported {
        Ok(_) => Wanted::new(
            "Valid",
            Status::True,
            "Valid",
            "The Service can be exported",
        ),
        Err(invalid) => Wanted::new("Valid", Status::False, invalid.reason(), sentence(invalid)),
    }
}

fn ready(view: &View, exported: &Result<ClusterExportSpec, Invalid>) -> Wanted {
    let ready = |status, reason, message: &str| Wanted::new("Ready", status, reason, message);
    let stored = own(view);
    match (exported, &view.failure) {
        (Ok(wanted), _) if stored.is_some_and(|stored| is_settled(stored, wanted)) => {
            let told = told(wanted);
            let message = match refused_endpoint(view) {
                None => told,
                Some(address) => format!("{told}. {}", refusal(address)),
            };
            ready(Status::True, "Exported", &message)
        }
        (Ok(_), Some(failure)) => ready(Status::False, "Failed", failure),
        (Ok(_), None) => ready(Status::False, "Pending", ""),
        (Err(_), _) if stored.is_some() && view.withdrawal_unconfirmed => ready(
            Status::Unknown,
            "Pending",
            "The API server does not confirm what makes the export invalid: until then the other \
             clusters are told what they were",
        ),
        (Err(Invalid::NoService), _) => ready(Status::False, "Pending", "It waits for the Service"),
        (Err(_), _) => ready(
            Status::False,
            "Failed",
            "It is not valid, see the condition Valid",
        ),
    }
}

fn told(wanted: &ClusterExportSpec) -> String {
    let told = "The other clusters are told of the Service";
    match wanted.endpoints.len() {
        MAX_ENDPOINTS.. => format!("{told}, and of {MAX_ENDPOINTS} endpoints at most"),
        _ => told.to_owned(),
    }
}

fn conflict(merged: Option<&Import>) -> Wanted {
    let Some(import) = merged.filter(|import| !import.conflicts.is_empty()) else {
        return Wanted::new("Conflict", Status::False, "NoConflicts", "");
    };
    Wanted::new(
        "Conflict",
        Status::True,
        import.conflicts.reason(),
        import.conflicts.message(),
    )
}

/// What is worth an Event: what a user should mend, and that it is done.
fn notice(view: &View, condition: &Wanted) -> Option<Notice> {
    if let ("Ready", Status::True, Some(address)) =
        (condition.type_, condition.status, refused_endpoint(view))
    {
        return Some(Notice {
            severity: Severity::Warning,
            reason: "EndpointsRefused",
            action: "Export",
            note: refusal(address),
        });
    }
    let (severity, reason) = match (condition.type_, condition.status) {
        ("Valid", Status::False) => (Severity::Warning, "InvalidExport"),
        (carried::CONDITION, Status::False) => (Severity::Warning, "NotCarried"),
        ("Conflict", Status::True) => (Severity::Warning, "ExportConflict"),
        ("Ready", Status::True) => (Severity::Normal, "Exported"),
        _ => return None,
    };
    let note = match condition.status {
        Status::True if condition.type_ == "Ready" => condition.message.clone(),
        Status::True | Status::False | Status::Unknown => {
            format!("{}: {}", condition.reason, condition.message)
        }
    };
    Some(Notice {
        severity,
        reason,
        action: "Export",
        note,
    })
}

/// An endpoint of this Service that a gateway refuses to dial.
fn refused_endpoint(view: &View) -> Option<IpAddr> {
    let refused = view
        .gateways
        .iter()
        .filter_map(|gateway| gateway.refused_endpoints.get(&view.name));
    refused.min().copied()
}

fn refusal(address: IpAddr) -> String {
    format!(
        "Endpoints are out of other clusters' reach, {address} among them: gateways dial pods of \
         the Service's namespace that are not on their node's network, and addresses in the \
         administrator's list (gateway.allowedEndpointCIDRs)"
    )
}

fn own(view: &View) -> Option<&ClusterExport> {
    let exports = view.cluster_exports.iter();
    let mut own = exports.filter(|export| {
        export.spec.cluster == *view.cluster
            && export.metadata.name.as_deref() == Some(&export.spec.object_name())
    });
    own.next().map(|export| &**export)
}

fn is_settled(stored: &ClusterExport, wanted: &ClusterExportSpec) -> bool {
    let label = stored
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(CLUSTER_LABEL));
    stored.metadata.deletion_timestamp.is_none()
        && label == Some(&wanted.cluster)
        && stored.spec == *wanted
}

fn cluster_export(spec: ClusterExportSpec) -> ClusterExport {
    let mut export = ClusterExport::new(&spec.object_name(), spec);
    let labels = export.metadata.labels.get_or_insert_default();
    labels.insert(CLUSTER_LABEL.to_owned(), export.spec.cluster.clone());
    export
}

fn withdrawal(view: &View, stored: &ClusterExport, evidence: Evidence) -> Vec<Action> {
    if is_leaving(&stored.metadata) {
        return Vec::new();
    }
    let object = stored.spec.object_name();
    vec![Action::Withdraw(Withdrawal {
        object,
        service: view.name.clone(),
        evidence,
    })]
}

fn is_leaving(metadata: &ObjectMeta) -> bool {
    metadata.deletion_timestamp.is_some()
}

fn reference(view: &View, export: &ServiceExport) -> ObjectReference {
    ObjectReference {
        api_version: Some(view.mcs.api_version().to_owned()),
        kind: Some("ServiceExport".to_owned()),
        namespace: export.metadata.namespace.clone(),
        name: export.metadata.name.clone(),
        uid: export.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

fn sentence(invalid: &Invalid) -> String {
    let message = invalid.to_string();
    let mut chars = message.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => message,
    }
}
