//! The single endpoints of a headless Service, as the other clusters are told of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::Endpoint;
use tombolo_catalog::endpoint_id;
use tombolo_crds::ExportedEndpoint;

use super::view::View;
use super::{ownership, slices};

/// All endpoints, sorted by ID. Those with one hostname are one: while a pod is replaced there are
/// two for a moment, and clients mean whichever is ready.
pub(super) fn endpoints(view: &View, service: &Service) -> Vec<ExportedEndpoint> {
    let spec = service.spec.as_ref();
    if spec.and_then(|spec| spec.cluster_ip.as_deref()) != Some("None") {
        return Vec::new();
    }
    // Both addresses of a dual-stack pod are one endpoint, and without a hostname the address in
    // the Service's first family gives it its name. Gateways go by the same rule.
    let families = spec.and_then(|spec| spec.ip_families.as_deref());
    let first = families.and_then(|families| families.first());
    let first = first.map_or("IPv4", String::as_str);
    let in_first = ids(view, |family| family == first);
    let found = match in_first.is_empty() {
        false => in_first,
        true => ids(view, |family| family != first),
    };
    found
        .into_iter()
        .map(|(id, ready)| ExportedEndpoint { id, ready })
        .collect()
}

fn ids(view: &View, is_family: impl Fn(&str) -> bool) -> BTreeMap<String, bool> {
    let slices = view.service_slices.iter().filter(|slice| {
        slices::is_of_addresses(slice)
            && is_family(&slice.address_type)
            && !ownership::is_our_slice(slice)
    });
    let mut ids = BTreeMap::new();
    for endpoint in slices.flat_map(|slice| &slice.endpoints) {
        if let Some(id) = id(endpoint) {
            *ids.entry(id).or_default() |= slices::is_ready(endpoint);
        }
    }
    ids
}

fn id(endpoint: &Endpoint) -> Option<String> {
    let address: IpAddr = endpoint.addresses.first()?.parse().ok()?;
    Some(endpoint_id(
        endpoint.hostname.as_deref(),
        address.to_canonical(),
    ))
}
