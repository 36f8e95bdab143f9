//! Who this gateway is: its certificate and key.

mod spiffe;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

pub use spiffe::NameError;
pub(crate) use spiffe::{ClusterId, GATEWAY};

use crate::trust;

#[cfg(test)]
mod tests;

/// The PEM files of a gateway's certificate and key. They are read again when they change.
#[derive(Clone, Debug)]
pub struct IdentityFiles {
    certificate: PathBuf,
    key: PathBuf,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The certificate's file holds no certificate.
    #[error("no PEM certificate: {0}")]
    NoCertificate(String),
    /// The key's file holds no private key.
    #[error("no PEM private key: {0}")]
    NoKey(String),
    /// The certificate names no cluster.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The key is not the certificate's, or of an unknown kind.
    #[error("the key and the certificate do not fit: {0}")]
    Mismatch(String),
    /// The certificate names another cluster than the one before: this needs a restart.
    #[error("the certificate names {found} now; it was {expected}")]
    Changed {
        /// What it was when the gateway started.
        expected: String,
        /// What it is now.
        found: String,
    },
}

/// A certificate with its key.
pub(crate) struct Identity {
    pub(crate) id: ClusterId,
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) not_after: UnixTime,
}

/// The content of both files.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct IdentityPem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

// === impl IdentityFiles ===

impl IdentityFiles {
    /// The files at these paths.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
        }
    }

    pub(crate) fn read(&self) -> Result<IdentityPem, IdentityError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| IdentityError::Read {
                path: path.to_owned(),
                error,
            })
        };
        Ok(IdentityPem {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }
}

// === impl IdentityError ===

impl IdentityError {
    /// A stable word for it, for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } => "Unreadable",
            Self::NoCertificate(_) => "NoCertificate",
            Self::NoKey(_) => "NoKey",
            Self::Name(_) => "InvalidCertificateName",
            Self::Mismatch(_) => "KeyMismatch",
            Self::Changed { .. } => "ClusterChanged",
        }
    }
}

// === impl IdentityPem ===

impl IdentityPem {
    pub(crate) fn parse(&self, provider: &CryptoProvider) -> Result<Identity, IdentityError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| IdentityError::NoCertificate(error.to_string()))?;
        let Some(end_entity) = chain.first() else {
            return Err(IdentityError::NoCertificate("the file is empty".to_owned()));
        };
        let id = ClusterId::of_certificate(end_entity, GATEWAY)?;
        let (_, not_after) = trust::validity(end_entity).ok_or_else(|| {
            IdentityError::NoCertificate("its validity cannot be read".to_owned())
        })?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| IdentityError::NoKey(error.to_string()))?;
        let key = CertifiedKey::from_der(chain, key, provider)
            .map_err(|error| IdentityError::Mismatch(error.to_string()))?;
        Ok(Identity {
            id,
            key: Arc::new(key),
            not_after,
        })
    }
}

// === impl Identity ===

impl Identity {
    /// `self`, if it is of the same cluster as `before`.
    pub(crate) fn successor_of(self, before: &Self) -> Result<Self, IdentityError> {
        if self.id != before.id {
            return Err(IdentityError::Changed {
                expected: before.id.to_string(),
                found: self.id.to_string(),
            });
        }
        Ok(self)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("id", &self.id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
