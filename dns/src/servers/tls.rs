//! The server side of TLS, for clients outside of pods.

use std::fs;
use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerConfig, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, crypto};
use tombolo_dns_corefile::Scheme;
use tombolo_dns_corefile::plugins::Tls;

/// TLS cannot be spoken with clients.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("{0}")]
    Read(String, #[source] io::Error),
    #[error("certificate or key")]
    Pem(#[from] pem::Error),
    #[error("certificate and key")]
    Config(#[from] rustls::Error),
    #[error("clients' certificates")]
    Clients(#[from] VerifierBuilderError),
}

/// What is shown to clients, as it was read: a listener begins anew if it has changed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_authority: Option<Vec<u8>>,
}

// === impl Identity ===

impl Identity {
    pub(super) fn read(tls: &Tls) -> Result<Self, TlsError> {
        let read =
            |path: &String| fs::read(path).map_err(|error| TlsError::Read(path.clone(), error));
        Ok(Self {
            certificate: read(&tls.certificate)?,
            key: read(&tls.key)?,
            client_authority: tls.client_authority.as_ref().map(read).transpose()?,
        })
    }

    pub(super) fn config(&self, scheme: Scheme) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match &self.client_authority {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(authority)? {
                    roots.add(certificate)?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build()?)
            }
        };
        let key = PrivateKeyDer::from_pem_slice(&self.key)?;
        let mut config = builder.with_single_cert(certificates(&self.certificate)?, key)?;
        // RFC 7858 registers dot, RFC 9250 doq; DNS over HTTPS is HTTP/2.
        let protocol: &[u8] = match scheme {
            Scheme::Dns | Scheme::Tls => b"dot",
            Scheme::Quic => b"doq",
            Scheme::Https => b"h2",
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}
