use std::time::{Duration, SystemTime};

use super::*;
use crate::ca::{Ca, IssuedCertificate};
use crate::tls;

#[test]
fn a_certificate_tells_the_cluster() {
    let identity = parse(&issue("prod", "east")).unwrap();

    assert_eq!(identity.id, ClusterId::new("prod", "east").unwrap());
    assert_eq!(identity.not_after.as_secs(), 1_800_000_000 + 3600);
}

#[test]
fn broken_files_have_their_reasons() {
    let east = issue("prod", "east");
    let other = issue("prod", "east");
    let with = |certificate: &str, key: &str| IdentityPem {
        certificate: certificate.as_bytes().to_vec(),
        key: key.as_bytes().to_vec(),
    };
    let reason = |pem: IdentityPem| pem.parse(&tls::provider()).unwrap_err().reason();
    let ca = Ca::generate("prod", "east", now()).unwrap();

    assert_eq!(reason(with("", &east.key_pem)), "NoCertificate");
    assert_eq!(reason(with(&east.certificate_pem, "")), "NoKey");
    assert_eq!(
        reason(with(&east.certificate_pem, &other.key_pem)),
        "KeyMismatch"
    );
    assert_eq!(
        reason(with(ca.certificate_pem(), &ca.key_pem())),
        "InvalidCertificateName"
    );
    let missing = IdentityFiles::new("/nonexistent/tls.crt", "/nonexistent/tls.key");
    assert_eq!(
        missing.read().err().map(|error| error.reason()),
        Some("Unreadable")
    );
}

#[test]
fn a_renewed_certificate_must_be_of_the_same_cluster() {
    let before = parse(&issue("prod", "east")).unwrap();

    assert!(
        parse(&issue("prod", "east"))
            .unwrap()
            .successor_of(&before)
            .is_ok()
    );
    let error = parse(&issue("prod", "west"))
        .unwrap()
        .successor_of(&before)
        .unwrap_err();
    assert_eq!(error.reason(), "ClusterChanged");
}

fn parse(issued: &IssuedCertificate) -> Result<Identity, IdentityError> {
    let pem = IdentityPem {
        certificate: issued.certificate_pem.as_bytes().to_vec(),
        key: issued.key_pem.as_bytes().to_vec(),
    };
    pem.parse(&tls::provider())
}

fn issue(clusterset: &str, cluster: &str) -> IssuedCertificate {
    let ca = Ca::generate(clusterset, cluster, now()).unwrap();
    ca.issue_gateway(Duration::from_secs(3600), now()).unwrap()
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}
