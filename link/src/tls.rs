//! TLS 1.3 as links use it: both sides have certificates, no resumption, no early data.
//!
//! Resumption would skip the check of the peer's certificate; early data can be replayed, and
//! opening a connection is not idempotent.

use std::sync::Arc;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use tombolo_link_wire::ALPN;

use crate::identity::Identity;
use crate::trust::PeerVerifier;

/// The server name that diallers send: certificates are checked by their SPIFFE ID instead.
pub(crate) const SERVER_NAME: &str = "gateway.tombolo.invalid";

/// A handshake cannot be configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Quic(#[from] NoInitialCipherSuite),
}

/// aws-lc-rs, with X25519MLKEM768 as the preferred key exchange.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// For QUIC connections that others dial.
pub(crate) fn listener(
    provider: &Arc<CryptoProvider>,
    identity: &Identity,
    verifier: Arc<PeerVerifier>,
) -> Result<QuicServerConfig, TlsError> {
    Ok(server(provider, identity, verifier, ALPN)?.try_into()?)
}

/// For QUIC connections that are dialled from here.
pub(crate) fn dialler(
    provider: &Arc<CryptoProvider>,
    identity: &Identity,
    verifier: Arc<PeerVerifier>,
) -> Result<QuicClientConfig, TlsError> {
    Ok(client(provider, identity, verifier, ALPN)?.try_into()?)
}

/// For whatever others dial, by its name of the protocol (RFC 7301).
pub(crate) fn server(
    provider: &Arc<CryptoProvider>,
    identity: &Identity,
    verifier: Arc<PeerVerifier>,
    alpn: &[u8],
) -> Result<rustls::ServerConfig, TlsError> {
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.key))));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// For whatever is dialled from here.
pub(crate) fn client(
    provider: &Arc<CryptoProvider>,
    identity: &Identity,
    verifier: Arc<PeerVerifier>,
    alpn: &[u8],
) -> Result<rustls::ClientConfig, TlsError> {
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.key))));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;

    use super::*;

    #[test]
    fn the_hybrid_key_exchange_is_preferred() {
        assert_eq!(provider().kx_groups[0].name(), NamedGroup::X25519MLKEM768);
    }
}
