//! The name that a certificate carries: a SPIFFE ID in its URI SAN.

use std::fmt;

use rustls_pki_types::CertificateDer;
use tombolo_catalog::{is_dns_label, is_dns_subdomain};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A cluster within its clusterset.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClusterId {
    pub(crate) clusterset: String,
    pub(crate) cluster: String,
}

/// Why a certificate names no cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is no X.509 certificate.
    #[error("unreadable certificate: {0}")]
    Unreadable(String),
    /// There is not exactly one URI among its subject alternative names (X509-SVID, 2).
    #[error("the certificate has {0} URI names instead of one")]
    NotOneUri(usize),
    /// The URI is not of the form that Tombolo's certificates have.
    #[error("the certificate's name {0:?} is not spiffe://<clusterset>/cluster/<cluster>{suffix}", suffix = .1)]
    NotSpiffe(String, &'static str),
}

/// What follows the cluster's ID in the name of its gateways; its CA has nothing there.
pub(crate) const GATEWAY: &str = "/gateway";

// === impl ClusterId ===

impl ClusterId {
    /// `None` unless `clusterset` is a DNS name and `cluster` a DNS label.
    pub(crate) fn new(clusterset: &str, cluster: &str) -> Option<Self> {
        (is_dns_subdomain(clusterset) && is_dns_label(cluster)).then(|| Self {
            clusterset: clusterset.to_owned(),
            cluster: cluster.to_owned(),
        })
    }

    pub(crate) fn uri(&self, suffix: &str) -> String {
        format!(
            "spiffe://{}/cluster/{}{suffix}",
            self.clusterset, self.cluster
        )
    }

    /// The cluster that a certificate names, followed by `suffix`.
    pub(crate) fn of_certificate(
        certificate: &CertificateDer<'_>,
        suffix: &'static str,
    ) -> Result<Self, NameError> {
        let (_, certificate) = X509Certificate::from_der(certificate)
            .map_err(|error| NameError::Unreadable(error.to_string()))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| NameError::Unreadable(error.to_string()))?;
        let uris: Vec<&str> = names
            .iter()
            .flat_map(|names| &names.value.general_names)
            .filter_map(|name| {
                let GeneralName::URI(uri) = name else {
                    return None;
                };
                Some(*uri)
            })
            .collect();
        let [uri] = uris[..] else {
            return Err(NameError::NotOneUri(uris.len()));
        };
        Self::of_uri(uri, suffix)
            .ok_or_else(|| NameError::NotSpiffe(uri.chars().take(200).collect(), suffix))
    }

    fn of_uri(uri: &str, suffix: &str) -> Option<Self> {
        let (clusterset, path) = uri.strip_prefix("spiffe://")?.split_once('/')?;
        let cluster = path.strip_prefix("cluster/")?.strip_suffix(suffix)?;
        Self::new(clusterset, cluster)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of clusterset {}", self.cluster, self.clusterset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_gateways_and_their_cas_differ() {
        let id = ClusterId::new("prod.example", "east").unwrap();

        assert_eq!(
            id.uri(GATEWAY),
            "spiffe://prod.example/cluster/east/gateway"
        );
        assert_eq!(
            ClusterId::of_uri(&id.uri(GATEWAY), GATEWAY),
            Some(id.clone())
        );
        assert_eq!(ClusterId::of_uri(&id.uri(""), ""), Some(id.clone()));
        assert_eq!(ClusterId::of_uri(&id.uri(GATEWAY), ""), None);
        assert_eq!(ClusterId::of_uri(&id.uri(""), GATEWAY), None);
    }

    #[test]
    fn other_names_are_no_clusters() {
        for uri in [
            "",
            "spiffe://prod",
            "spiffe:///cluster/east/gateway",
            "spiffe://prod/cluster//gateway",
            "spiffe://prod/cluster/East/gateway",
            "spiffe://prod/cluster/a/b/gateway",
            "spiffe://prod/ns/east/gateway",
            "spiffe://prod/cluster/east/gateway/",
            "https://prod/cluster/east/gateway",
            "spiffe://user@prod/cluster/east/gateway",
        ] {
            assert_eq!(ClusterId::of_uri(uri, GATEWAY), None, "{uri}");
        }
    }
}
