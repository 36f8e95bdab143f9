//! Who this gateway is: its certificate and key.

mod spiffe;

use std::io;
use std::path::PathBuf;

pub use spiffe::NameError;
pub(crate) use spiffe::{ClusterId, GATEWAY};

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
}

impl IdentityFiles {
    /// The files at these paths.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
        }
    }
}
