//! The identity of one endpoint of a headless service.

use std::fmt;
use std::net::IpAddr;

use data_encoding::BASE32HEX_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{ServiceName, is_dns_label};

const HASH_CHARS: usize = 24;

/// An endpoint of a headless service, as all clusters know it: a pod that restarts under the same
/// hostname is the same endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndpointName {
    /// The cluster in which it runs.
    pub cluster: String,
    /// Its ID in that cluster's export.
    pub id: String,
}

impl EndpointName {
    /// The endpoint `id` of `cluster`.
    pub fn new(cluster: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            id: id.into(),
        }
    }

    /// Name of the Service that stands for the endpoint of `service` in an importing cluster.
    #[must_use]
    pub fn service_name(&self, service: &ServiceName) -> String {
        // None of the four holds a slash.
        let digest = Sha256::digest(format!("{service}/{self}"));
        let hash = BASE32HEX_NOPAD.encode(&digest).to_ascii_lowercase();
        format!("endpoint-{}", &hash[..HASH_CHARS])
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cluster, self.id)
    }
}

/// The ID of an endpoint, which is the first label of its DNS name: its hostname, else its address
/// with dashes, as CoreDNS has it in `cluster.local`.
#[must_use]
pub fn endpoint_id(hostname: Option<&str>, address: IpAddr) -> String {
    if let Some(hostname) = hostname.filter(|hostname| is_dns_label(hostname)) {
        return hostname.to_owned();
    }
    let dashed = address.to_string().replace(['.', ':'], "-");
    // `::1` and `1::` are no labels, but `0::1` and `1::0` are the same addresses.
    let before = if dashed.starts_with('-') { "0" } else { "" };
    let after = if dashed.ends_with('-') { "0" } else { "" };
    format!("{before}{dashed}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_called_by_its_hostname_or_else_its_address() {
        let address = "10.0.0.1".parse().unwrap();

        assert_eq!(endpoint_id(Some("db-0"), address), "db-0");
        assert_eq!(endpoint_id(None, address), "10-0-0-1");
        assert_eq!(endpoint_id(Some("not.a.label"), address), "10-0-0-1");
    }

    #[test]
    fn every_address_makes_a_label_and_no_two_the_same() {
        let addresses = [
            "::", "::1", "1::", "0:1::", "fd00::1", "1.2.3.4", "fd00:1::",
        ];
        let ids: std::collections::BTreeSet<_> = addresses
            .iter()
            .map(|address| endpoint_id(None, address.parse().unwrap()))
            .collect();

        assert_eq!(ids.len(), addresses.len());
        for id in ids {
            assert!(is_dns_label(&id), "{id}");
        }
    }

    #[test]
    fn each_endpoint_of_each_service_has_a_service_of_its_own() {
        let name = |namespace, service, cluster, id| {
            EndpointName::new(cluster, id).service_name(&ServiceName::new(namespace, service))
        };

        let names = [
            name("demo", "db", "east", "db-0"),
            name("demo", "db", "east", "db-1"),
            name("demo", "db", "west", "db-0"),
            name("demo", "other", "east", "db-0"),
            name("live", "db", "east", "db-0"),
        ];

        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert!(names.iter().all(|name| is_dns_label(name)), "{names:?}");
    }
}
