//! The certificates of a peer's CA.

use std::fmt;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use x509_parser::prelude::{FromDer, X509Certificate};

const MAX_CERTIFICATES: usize = 8;

/// The certificates of one cluster's CA: one, or two while it is being replaced.
#[derive(Clone)]
pub struct CaBundle {
    certificates: Arc<[CertificateDer<'static>]>,
    anchors: Arc<[TrustAnchor<'static>]>,
}

/// Why a text is no CA bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The text is not PEM.
    #[error("not PEM: {0}")]
    NotPem(String),
    /// There is no certificate in it.
    #[error("there is no certificate in it")]
    Empty,
    /// There are more certificates in it than a CA has.
    #[error("there are more than {MAX_CERTIFICATES} certificates in it")]
    TooMany,
    /// A certificate cannot be read.
    #[error("certificate {index}: {error}")]
    Certificate {
        /// Its position, from 1.
        index: usize,
        /// What is wrong with it.
        error: String,
    },
    /// A certificate is not of a CA.
    #[error("certificate {0} is not of a CA")]
    NotCa(usize),
}

// === impl CaBundle ===

impl CaBundle {
    /// Reads PEM certificates; text between them is allowed.
    ///
    /// # Errors
    /// When there is none, or one of them is not of a CA.
    pub fn parse(pem: &str) -> Result<Self, BundleError> {
        let mut certificates = Vec::new();
        let mut anchors = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate =
                certificate.map_err(|error| BundleError::NotPem(error.to_string()))?;
            let index = certificates.len() + 1;
            if index > MAX_CERTIFICATES {
                return Err(BundleError::TooMany);
            }
            anchors.push(anchor(&certificate, index)?);
            certificates.push(certificate);
        }
        if certificates.is_empty() {
            return Err(BundleError::Empty);
        }
        Ok(Self {
            certificates: certificates.into(),
            anchors: anchors.into(),
        })
    }

    pub(crate) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }
}

impl PartialEq for CaBundle {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Eq for CaBundle {}

impl fmt::Debug for CaBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaBundle")
            .field("certificates", &self.certificates.len())
            .finish()
    }
}

// === impl BundleError ===

impl BundleError {
    /// A stable word for it, for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotPem(_) => "NotPem",
            Self::Empty => "NoCertificate",
            Self::TooMany => "TooManyCertificates",
            Self::Certificate { .. } => "UnreadableCertificate",
            Self::NotCa(_) => "NotCa",
        }
    }
}

fn anchor(
    certificate: &CertificateDer<'_>,
    index: usize,
) -> Result<TrustAnchor<'static>, BundleError> {
    let unreadable = |error: String| BundleError::Certificate { index, error };
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| unreadable(error.to_string()))?;
    if !parsed.is_ca() {
        return Err(BundleError::NotCa(index));
    }
    let anchor = webpki::anchor_from_trusted_cert(certificate)
        .map_err(|error| unreadable(error.to_string()))?;
    Ok(anchor.to_owned())
}
