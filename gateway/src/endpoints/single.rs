//! The endpoints of headless services one by one: what a peer names by the ID that this cluster's
//! export gives it is that endpoint, and never another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tombolo_catalog::endpoint_id;

use super::{Slice, in_first_family};
use crate::service::Protocol;

/// Addresses of ready endpoints by ID. There may be several of one hostname, as while a pod is
/// replaced, or of both families.
pub(super) type ById = BTreeMap<String, Vec<SocketAddr>>;

/// The endpoints behind one port of a headless service.
pub(super) fn by_id(
    slices: &[&Slice],
    protocol: Protocol,
    name: &str,
    number: u16,
    families: &[String],
) -> ById {
    let mut by_id: BTreeMap<String, BTreeSet<SocketAddr>> = BTreeMap::new();
    for slice in slices {
        let mut ports = slice.ports.iter();
        let port = ports.find(|port| port.name == name && port.protocol == protocol);
        let Some(port) = port else { continue };
        let port = port.port.unwrap_or(number);
        for address in &slice.ready {
            let hostname = slice.hostnames.get(address).map(String::as_str);
            let id = endpoint_id(hostname, *address);
            let addresses = by_id.entry(id).or_default();
            addresses.insert(SocketAddr::new(*address, port));
        }
    }
    let in_order = |(id, addresses)| (id, in_first_family(addresses, families));
    by_id.into_iter().map(in_order).collect()
}
