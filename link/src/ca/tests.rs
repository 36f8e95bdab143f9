use std::time::{Duration, SystemTime};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_ca_survives_its_pem() {
    let made = Ca::generate("prod", "east", now()).unwrap();

    let read = Ca::from_pem(made.certificate_pem(), &made.key_pem()).unwrap();

    assert_eq!((read.clusterset(), read.cluster()), ("prod", "east"));
    assert_eq!(read.certificate_pem(), made.certificate_pem());
    let issued = read.issue_gateway(DAY, now()).unwrap();
    assert!(issued_by(&issued.certificate_pem, made.certificate_pem()));
}

#[test]
fn names_that_fit_no_spiffe_id_are_refused() {
    for (clusterset, cluster) in [
        ("prod", "East"),
        ("prod", "a.b"),
        ("", "east"),
        ("a/b", "c"),
    ] {
        let error = Ca::generate(clusterset, cluster, now()).unwrap_err();
        assert_eq!(error.reason(), "InvalidName");
    }
}

#[test]
fn a_key_of_another_ca_is_refused() {
    let east = Ca::generate("prod", "east", now()).unwrap();
    let west = Ca::generate("prod", "west", now()).unwrap();

    let error = Ca::from_pem(east.certificate_pem(), &west.key_pem()).unwrap_err();

    assert_eq!(error.reason(), "KeyMismatch");
}

#[test]
fn a_gateways_certificate_is_no_ca() {
    let ca = Ca::generate("prod", "east", now()).unwrap();
    let issued = ca.issue_gateway(DAY, now()).unwrap();

    let error = Ca::from_pem(&issued.certificate_pem, &issued.key_pem).unwrap_err();
    assert_eq!(error.reason(), "InvalidCertificateName");
    let error = CaBundle::parse(&issued.certificate_pem).unwrap_err();
    assert_eq!(error.reason(), "NotCa");
}

#[test]
fn a_certificate_is_renewed_from_half_of_its_life() {
    let ca = Ca::generate("prod", "east", now()).unwrap();
    let pem = ca.issue_gateway(DAY, now()).unwrap().certificate_pem;

    assert!(!needs_renewal(&pem, now()));
    assert!(!needs_renewal(&pem, now() + DAY * 11 / 24));
    assert!(needs_renewal(&pem, now() + DAY / 2));
    assert!(needs_renewal(&pem, now() + 2 * DAY));
    assert!(needs_renewal("no certificate", now()));
}

#[test]
fn a_replaced_ca_did_not_issue_the_old_certificates() {
    let before = Ca::generate("prod", "east", now()).unwrap();
    let after = Ca::generate("prod", "east", now()).unwrap();
    let elsewhere = Ca::generate("test", "east", now()).unwrap();
    let pem = before.issue_gateway(DAY, now()).unwrap().certificate_pem;

    assert!(issued_by(&pem, before.certificate_pem()));
    assert!(!issued_by(&pem, after.certificate_pem()));
    assert!(!issued_by(&pem, elsewhere.certificate_pem()));
    assert!(!issued_by(&pem, "no certificate"));
}

#[test]
fn certificates_begin_a_little_before_they_are_issued() {
    let ca = Ca::generate("prod", "east", now()).unwrap();
    let pem = ca.issue_gateway(DAY, now()).unwrap().certificate_pem;

    let (not_before, not_after) = validity(&pem).unwrap();

    assert_eq!(not_before, 1_800_000_000 - 600);
    assert_eq!(not_after, 1_800_000_000 + 24 * 3600);
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}
