//! Whom to believe: the CA of each peer, and nobody else's.

mod bundle;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, X509Certificate};

pub use bundle::{BundleError, CaBundle};

/// Whether the bundle's CA issued a gateway's certificate, whatever the time is now.
pub(crate) fn is_issued_by(certificate: &CertificateDer<'_>, bundle: &CaBundle) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    let Ok(begin) = u64::try_from(parsed.validity().not_before.timestamp()) else {
        return false;
    };
    let begin = UnixTime::since_unix_epoch(std::time::Duration::from_secs(begin));
    verify_chain(certificate, &[], bundle, begin).is_ok()
}

fn verify_chain(
    certificate: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    bundle: &CaBundle,
    now: UnixTime,
) -> Result<(), webpki::Error> {
    let certificate = EndEntityCert::try_from(certificate)?;
    certificate.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        bundle.anchors(),
        intermediates,
        now,
        webpki::KeyUsage::server_auth(),
        None,
        None,
    )?;
    Ok(())
}
