//! The Service that stands for an endpoint.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use tombolo_catalog::Import;

use super::{Remote, labels};
use crate::plan::action::Action;
use crate::plan::view::View;
use crate::plan::{derived, ownership};

pub(super) fn apply(view: &View, import: &Import, remote: &Remote<'_>) -> Option<Action> {
    // A Service without ports is none.
    if remote.ports.is_empty() {
        return None;
    }
    let desired = service(view, import, remote);
    let found = remote.found.map(|found| &*found.service);
    let is_settled = found.is_some_and(|found| is_settled(found, &desired));
    (!is_settled).then(|| Action::ApplyEndpoint(Box::new(desired)))
}

fn service(view: &View, import: &Import, remote: &Remote<'_>) -> Service {
    let mut service = Service::default();
    service.metadata.name = Some(remote.object.clone());
    service.metadata.namespace = Some(view.system.to_string());
    service.metadata.labels = Some(labels(view, &remote.name));
    let ports = remote.ports.iter();
    service.spec = Some(ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        ports: Some(
            ports
                .map(|port| derived::service_port(import, port))
                .collect(),
        ),
        session_affinity: Some("None".to_owned()),
        internal_traffic_policy: Some("Cluster".to_owned()),
        ip_family_policy: Some(family_policy(import).to_owned()),
        ..ServiceSpec::default()
    });
    service
}

/// The oldest exporter's wish: connections end at the gateways, so any family reaches any other.
fn family_policy(import: &Import) -> &'static str {
    match import.ip_families.len() {
        2.. => "PreferDualStack",
        _ => "SingleStack",
    }
}

fn is_settled(found: &Service, desired: &Service) -> bool {
    let (Some(found_spec), Some(spec)) = (&found.spec, &desired.spec) else {
        return false;
    };
    let labels = (
        found.metadata.labels.as_ref(),
        desired.metadata.labels.as_ref(),
    );
    ownership::is_same_map(labels.0, labels.1)
        && found_spec.type_ == spec.type_
        && derived::same_ports(found_spec.ports.as_deref(), spec.ports.as_deref())
        && found_spec.session_affinity == spec.session_affinity
        && found_spec.internal_traffic_policy == spec.internal_traffic_policy
        && found_spec.ip_family_policy == spec.ip_family_policy
}
