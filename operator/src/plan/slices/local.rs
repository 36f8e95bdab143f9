//! This cluster's own endpoints.

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use tombolo_catalog::Import;

use super::{Part, endpoint_port, is_of_addresses, short_hash};
use crate::plan::ownership;
use crate::plan::view::View;

/// A copy of each slice of the exported Service, with those of its ports that the import has:
/// names, and places in [`Import::ports`].
pub(in crate::plan) fn parts(
    view: &View,
    import: &Import,
    ports: &[(Option<&str>, usize)],
) -> Vec<Part> {
    let sources = view.service_slices.iter().filter(|slice| {
        is_of_addresses(slice)
            && !ownership::is_our_slice(slice)
            && slice.metadata.deletion_timestamp.is_none()
    });
    sources
        .filter_map(|source| part(view, import, ports, source))
        .collect()
}

fn part(
    view: &View,
    import: &Import,
    ports: &[(Option<&str>, usize)],
    source: &EndpointSlice,
) -> Option<Part> {
    let ports: Vec<EndpointPort> = ports
        .iter()
        .filter(|(_, place)| import.ports[*place].is_served_by(&view.cluster))
        .flat_map(|&(name, place)| {
            // A slice's ports have the names of the Service's. One name may stand for several
            // numbers where pods differ in a named target port; those are in different slices.
            let own = import.ports[place].port.name.as_deref().unwrap_or_default();
            let found = source.ports.iter().flatten();
            found
                .filter(move |found| found.name.as_deref().unwrap_or_default() == own)
                .map(move |found| endpoint_port(name, import, place, found.port))
        })
        .collect();
    if ports.is_empty() || source.endpoints.is_empty() {
        return None;
    }
    let name = source.metadata.name.as_deref().unwrap_or_default();
    Some(Part {
        cluster: view.cluster.to_string(),
        suffix: short_hash(name),
        address_type: source.address_type.clone(),
        endpoints: source.endpoints.iter().map(copy).collect(),
        ports,
    })
}

fn copy(endpoint: &Endpoint) -> Endpoint {
    Endpoint {
        // Read-only in this version of the API: what was converted from an older one.
        deprecated_topology: None,
        // Of the Service by itself; those of the import are set for all of its slices together.
        hints: None,
        ..endpoint.clone()
    }
}
