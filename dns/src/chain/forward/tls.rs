//! The client side of TLS.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tombolo_dns_corefile::plugins::UpstreamTls;

/// TLS cannot be spoken with upstreams.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read, or is of another kind.
    #[error("{file}: {source}")]
    File {
        file: String,
        source: rustls::pki_types::pem::Error,
    },
    /// Nobody is trusted.
    #[error("no certificates of the system to trust: name them in `tls`")]
    NobodyTrusted,
    /// What it is called in its certificate.
    #[error("tls_servername {0:?}: {1}")]
    Name(String, InvalidDnsNameError),
    /// Certificate and key do not fit.
    #[error("TLS")]
    Config(#[from] rustls::Error),
}

pub(super) fn config(tls: &UpstreamTls) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    match &tls.authority {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate)?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NobodyTrusted);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::File {
                file: key.clone(),
                source,
            })?;
            builder.with_client_auth_cert(certificates(certificate)?, key)?
        }
    };
    Ok(Arc::new(config))
}

/// What an upstream is called in its certificate; by default by its address.
pub(super) fn server_name(
    name: Option<&str>,
    address: IpAddr,
) -> Result<ServerName<'static>, TlsError> {
    let Some(name) = name else {
        return Ok(ServerName::from(address));
    };
    ServerName::try_from(name.to_owned()).map_err(|error| TlsError::Name(name.to_owned(), error))
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::File {
        file: file.to_owned(),
        source,
    };
    let certificates = CertificateDer::pem_file_iter(file).map_err(failed)?;
    certificates.collect::<Result<_, _>>().map_err(failed)
}
