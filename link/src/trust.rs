//! Whom to believe: the CA of each peer, and nobody else's.

mod bundle;
mod verifier;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

pub use bundle::{BundleError, CaBundle};
pub(crate) use verifier::PeerVerifier;

use crate::identity::{ClusterId, GATEWAY, NameError};

#[cfg(test)]
mod tests;

/// The CA bundles of all peers. They are swapped whole: a handshake sees the old or the new ones.
#[derive(Debug)]
pub(crate) struct Trust {
    own: ClusterId,
    peers: ArcSwap<BTreeMap<String, CaBundle>>,
}

/// Which side of a handshake presents a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Dialler,
    Listener,
}

/// Why a certificate is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TrustError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("the certificate is of clusterset {0}")]
    WrongClusterset(String),
    #[error("the certificate names this very cluster")]
    OwnCluster,
    #[error("the certificate is of cluster {found}, not of {expected}")]
    UnexpectedCluster { expected: String, found: String },
    #[error("the certificate names cluster {0}, which is no peer")]
    UnknownCluster(String),
    #[error("the certificate of cluster {0} has expired")]
    Expired(String),
    #[error("the certificate of cluster {0} is not valid yet: compare the clocks")]
    NotYetValid(String),
    #[error("the certificate does not chain to the CA bundle of cluster {cluster}: {error}")]
    BadChain { cluster: String, error: String },
}

// === impl Trust ===

impl Trust {
    pub(crate) fn new(own: ClusterId) -> Self {
        Self {
            own,
            peers: ArcSwap::default(),
        }
    }

    pub(crate) fn set_peers(&self, bundles: BTreeMap<String, CaBundle>) {
        self.peers.store(Arc::new(bundles));
    }

    /// Checks a certificate at the time `now`; `expected` is the cluster that was dialled. Returns
    /// the cluster that it names.
    pub(crate) fn verify(
        &self,
        chain: Chain<'_>,
        role: Role,
        expected: Option<&str>,
        now: UnixTime,
    ) -> Result<String, TrustError> {
        let ClusterId {
            clusterset,
            cluster,
        } = ClusterId::of_certificate(chain.end_entity, GATEWAY)?;
        if clusterset != self.own.clusterset {
            return Err(TrustError::WrongClusterset(clusterset));
        }
        if cluster == self.own.cluster {
            return Err(TrustError::OwnCluster);
        }
        if let Some(expected) = expected
            && cluster != expected
        {
            return Err(TrustError::UnexpectedCluster {
                expected: expected.to_owned(),
                found: cluster,
            });
        }
        let peers = self.peers.load();
        let Some(bundle) = peers.get(&cluster) else {
            return Err(TrustError::UnknownCluster(cluster));
        };
        match verify_chain(chain, bundle, role, now) {
            Ok(()) => Ok(cluster),
            Err(webpki::Error::CertExpired { .. }) => Err(TrustError::Expired(cluster)),
            Err(webpki::Error::CertNotValidYet { .. }) => Err(TrustError::NotYetValid(cluster)),
            Err(error) => Err(TrustError::BadChain {
                cluster,
                error: error.to_string(),
            }),
        }
    }
}

/// A certificate as a peer presents it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain<'a> {
    pub(crate) end_entity: &'a CertificateDer<'a>,
    pub(crate) intermediates: &'a [CertificateDer<'a>],
}

// === impl TrustError ===

impl TrustError {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Name(_) => "InvalidCertificateName",
            Self::WrongClusterset(_) => "WrongClusterset",
            Self::OwnCluster => "OwnCluster",
            Self::UnexpectedCluster { .. } => "UnexpectedCluster",
            Self::UnknownCluster(_) => "UnknownCluster",
            Self::Expired(_) => "Expired",
            Self::NotYetValid(_) => "NotYetValid",
            Self::BadChain { .. } => "BadChain",
        }
    }
}

/// Whether the bundle's CA issued a gateway's certificate, whatever the time is now.
pub(crate) fn is_issued_by(certificate: &CertificateDer<'_>, bundle: &CaBundle) -> bool {
    let Some((begin, _)) = validity(certificate) else {
        return false;
    };
    let chain = Chain {
        end_entity: certificate,
        intermediates: &[],
    };
    verify_chain(chain, bundle, Role::Listener, begin).is_ok()
}

/// From when until when a certificate is valid.
pub(crate) fn validity(certificate: &CertificateDer<'_>) -> Option<(UnixTime, UnixTime)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let time = |seconds: i64| {
        let seconds = u64::try_from(seconds).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    };
    let validity = certificate.validity();
    Some((
        time(validity.not_before.timestamp())?,
        time(validity.not_after.timestamp())?,
    ))
}

fn verify_chain(
    chain: Chain<'_>,
    bundle: &CaBundle,
    role: Role,
    now: UnixTime,
) -> Result<(), webpki::Error> {
    let usage = match role {
        Role::Dialler => KeyUsage::client_auth(),
        Role::Listener => KeyUsage::server_auth(),
    };
    EndEntityCert::try_from(chain.end_entity)?.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        bundle.anchors(),
        chain.intermediates,
        now,
        usage,
        None,
        None,
    )?;
    Ok(())
}
