//! The CA of one cluster. Its key never leaves that cluster, and only the operator reads it.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::identity::{ClusterId, GATEWAY, NameError};
use crate::trust::{CaBundle, is_issued_by};

#[cfg(test)]
mod tests;

/// Ten years. A CA is replaced by adding the new one's certificate to the Peers first.
const CA_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long before their issue certificates are valid, for clusters whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(10 * 60);

/// The CA of one cluster: it issues the certificates of that cluster's gateways.
#[derive(Debug)]
pub struct Ca {
    id: ClusterId,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct IssuedCertificate {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key (PKCS #8).
    pub key_pem: String,
}

/// Why there is no CA, or it issues nothing.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The names do not fit into a SPIFFE ID.
    #[error("clusterset {clusterset:?} is no DNS name, or cluster {cluster:?} no DNS label")]
    InvalidName {
        /// The clusterset.
        clusterset: String,
        /// The cluster.
        cluster: String,
    },
    /// The certificate is not of a cluster's CA.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is no certificate in the PEM.
    #[error("no PEM certificate: {0}")]
    NoCertificate(String),
    /// The certificate is not of a CA.
    #[error("the certificate is not of a CA")]
    NotCa,
    /// The key is not the certificate's.
    #[error("the key does not belong to the certificate")]
    KeyMismatch,
    /// The key cannot be read or used.
    #[error("the CA's key or certificate is unusable: {0}")]
    Unusable(#[from] rcgen::Error),
}

// === impl Ca ===

impl Ca {
    /// A new CA for `cluster`.
    ///
    /// # Errors
    /// When the names do not fit into a SPIFFE ID.
    pub fn generate(clusterset: &str, cluster: &str, now: SystemTime) -> Result<Self, CaError> {
        let id = ClusterId::new(clusterset, cluster).ok_or_else(|| CaError::InvalidName {
            clusterset: clusterset.to_owned(),
            cluster: cluster.to_owned(),
        })?;
        let mut params = params(&id, "", now, CA_VALIDITY)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self {
            id,
            certificate_pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// The CA that was made before.
    ///
    /// # Errors
    /// When the certificate is not of a cluster's CA, or the key is not its.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, CaError> {
        let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|error| CaError::NoCertificate(error.to_string()))?;
        let id = ClusterId::of_certificate(&der, "")?;
        let (_, certificate) = X509Certificate::from_der(&der)
            .map_err(|error| CaError::NoCertificate(error.to_string()))?;
        if !certificate.is_ca() {
            return Err(CaError::NotCa);
        }
        let key = KeyPair::from_pem(key_pem)?;
        if key.subject_public_key_info() != certificate.public_key().raw {
            return Err(CaError::KeyMismatch);
        }
        Ok(Self {
            id,
            certificate_pem: certificate_pem.to_owned(),
            issuer: Issuer::from_ca_cert_der(&der, key)?,
        })
    }

    /// The clusterset of its cluster.
    #[must_use]
    pub fn clusterset(&self) -> &str {
        &self.id.clusterset
    }

    /// Its cluster's ID.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.id.cluster
    }

    /// Its certificate: what a Peer of this cluster carries elsewhere.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its private key (PKCS #8).
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate with a key of its own for the gateways, valid from (a little before) `now`
    /// for `validity`.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn issue_gateway(
        &self,
        validity: Duration,
        now: SystemTime,
    ) -> Result<IssuedCertificate, CaError> {
        let mut params = params(&self.id, GATEWAY, now, validity)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate()?;
        Ok(IssuedCertificate {
            certificate_pem: params.signed_by(&key, &self.issuer)?.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

// === impl CaError ===

impl CaError {
    /// A stable word for it: a metric label, or the reason of an Event.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidName { .. } => "InvalidName",
            Self::Name(_) => "InvalidCertificateName",
            Self::NoCertificate(_) => "NoCertificate",
            Self::NotCa => "NotCa",
            Self::KeyMismatch => "KeyMismatch",
            Self::Unusable(_) => "UnusableKey",
        }
    }
}

/// Whether a gateway certificate should be replaced: more than half of its life is over, or it
/// cannot be read.
#[must_use]
pub fn needs_renewal(certificate_pem: &str, now: SystemTime) -> bool {
    let Some((not_before, not_after)) = validity(certificate_pem) else {
        return true;
    };
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().try_into().unwrap_or(i64::MAX));
    now >= not_before + (not_after - not_before) / 2
}

/// When a certificate ends, in seconds since 1970; `None` if it cannot be read.
#[must_use]
pub fn expiry(certificate_pem: &str) -> Option<i64> {
    validity(certificate_pem).map(|(_, not_after)| not_after)
}

/// Whether a gateway certificate was issued by the CA with this certificate, in its present form:
/// false after the CA was replaced, or the cluster got another ID.
#[must_use]
pub fn issued_by(certificate_pem: &str, ca_pem: &str) -> bool {
    let Ok(certificate) = CertificateDer::from_pem_slice(certificate_pem.as_bytes()) else {
        return false;
    };
    let Ok(ca) = CertificateDer::from_pem_slice(ca_pem.as_bytes()) else {
        return false;
    };
    let Ok(bundle) = CaBundle::parse(ca_pem) else {
        return false;
    };
    let names = (
        ClusterId::of_certificate(&certificate, GATEWAY),
        ClusterId::of_certificate(&ca, ""),
    );
    matches!(names, (Ok(gateway), Ok(ca)) if gateway == ca) && is_issued_by(&certificate, &bundle)
}

fn params(
    id: &ClusterId,
    suffix: &str,
    now: SystemTime,
    validity: Duration,
) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Tombolo");
    params
        .distinguished_name
        .push(DnType::CommonName, id.cluster.as_str());
    params.subject_alt_names = vec![SanType::URI(id.uri(suffix).try_into()?)];
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + validity).into();
    Ok(params)
}

fn validity(certificate_pem: &str) -> Option<(i64, i64)> {
    let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let validity = certificate.validity();
    Some((
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    ))
}
