//! Tells a server who its client is: PROXY protocol, version 2.
//!
//! The server sees the gateway's address. Where the Service asks for it, the gateway first writes a
//! header with the client's address in its own cluster, and what more is known of it. The numbers
//! are those of the [specification], 2.2; it leaves 0xE0 to 0xEF to those who write them.
//!
//! [specification]: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt

use std::io;
use std::net::{IpAddr, SocketAddr};

use ppp::v2::{Addresses, Builder, Command, Protocol, Type, Version};
use tombolo_link::Connect;

/// The name by which the client knows the service, under `PP2_TYPE_AUTHORITY`.
pub const AUTHORITY: u8 = 0x02;
/// The client's cluster.
pub const CLUSTER: u8 = 0xe0;
/// The namespace of the client's Pod.
pub const NAMESPACE: u8 = 0xe1;
/// The service account of the client's Pod.
pub const SERVICE_ACCOUNT: u8 = 0xe2;
/// The client's Pod.
pub const POD: u8 = 0xe3;

/// The header for a connection of `peer` to `endpoint`.
///
/// # Errors
/// If what is told of the client does not fit into a header, which names of Kubernetes do.
pub fn header(peer: &str, connect: &Connect, endpoint: SocketAddr) -> io::Result<Vec<u8>> {
    let source = &connect.source;
    let header = match source.address {
        Some(client) => Builder::with_addresses(
            Version::Two | Command::Proxy,
            Protocol::Stream,
            in_one_family(client, endpoint),
        ),
        // Servers take such a connection for the gateway's own, as they do health checks.
        None => Builder::with_addresses(
            Version::Two | Command::Local,
            Protocol::Unspecified,
            Addresses::Unspecified,
        ),
    };
    let service = &connect.service;
    let authority = format!(
        "{}.{}.svc.clusterset.local",
        service.name, service.namespace
    );
    // The cluster is that of the certificate, whatever else is known.
    let facts = [
        (AUTHORITY, authority.as_str()),
        (CLUSTER, peer),
        (NAMESPACE, &source.namespace),
        (SERVICE_ACCOUNT, &source.service_account),
        (POD, &source.pod),
    ];
    debug_assert_eq!(AUTHORITY, u8::from(Type::Authority));
    let known = facts.into_iter().filter(|(_, fact)| !fact.is_empty());
    known
        .map(|(kind, fact)| (kind, fact.as_bytes()))
        .try_fold(header, |header, (kind, fact)| header.write_tlv(kind, fact))?
        .build()
}

/// Both ends have one address family in a header; IPv4 has a place in IPv6 (RFC 4291, 2.5.5.2).
fn in_one_family(client: SocketAddr, endpoint: SocketAddr) -> (SocketAddr, SocketAddr) {
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    match client.is_ipv4() == endpoint.is_ipv4() {
        true => (client, endpoint),
        false => (mapped(client), mapped(endpoint)),
    }
}

#[cfg(test)]
mod tests;
