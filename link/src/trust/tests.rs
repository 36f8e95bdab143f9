use std::time::{Duration, SystemTime};

use rustls_pki_types::pem::PemObject;

use super::*;
use crate::ca::Ca;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_peers_certificate_is_believed_in_both_roles() {
    let east = ca("prod", "east");
    let trust = trust([("east", &east)]);

    for role in [Role::Dialler, Role::Listener] {
        assert_eq!(verify(&trust, &east, role, None, 0), Ok("east".to_owned()));
    }
    assert_eq!(
        verify(&trust, &east, Role::Listener, Some("east"), 0),
        Ok("east".to_owned())
    );
}

#[test]
fn each_flaw_has_its_reason() {
    let east = ca("prod", "east");
    let trust = trust([("east", &east), ("south", &ca("prod", "south"))]);
    let reason = |ca: &Ca, expected: Option<&str>, hours: i64| {
        verify(&trust, ca, Role::Dialler, expected, hours)
            .map_or_else(|error| error.reason(), |_| "believed")
    };

    assert_eq!(reason(&ca("test", "east"), None, 0), "WrongClusterset");
    assert_eq!(reason(&ca("prod", "west"), None, 0), "OwnCluster");
    assert_eq!(reason(&ca("prod", "north"), None, 0), "UnknownCluster");
    assert_eq!(reason(&ca("prod", "east"), None, 0), "BadChain");
    assert_eq!(reason(&east, Some("south"), 0), "UnexpectedCluster");
    assert_eq!(reason(&east, None, 25), "Expired");
    assert_eq!(reason(&east, None, -1), "NotYetValid");
    assert_eq!(reason(&east, None, 0), "believed");
}

#[test]
fn a_peers_ca_cannot_speak_for_another_peer() {
    let east = ca("prod", "east");
    let trust = trust([("east", &ca("prod", "east")), ("south", &east)]);

    // Signed by the CA that south's Peer trusts, but naming east.
    let verdict = verify(&trust, &east, Role::Dialler, None, 0);

    assert!(
        matches!(verdict, Err(TrustError::BadChain { .. })),
        "{verdict:?}"
    );
}

#[test]
fn bundles_are_swapped_whole_and_may_hold_two_cas() {
    let before = ca("prod", "east");
    let after = ca("prod", "east");
    let trust = trust([("east", &before)]);
    let both = format!("{}{}", before.certificate_pem(), after.certificate_pem());

    trust.set_peers(BTreeMap::from([(
        "east".to_owned(),
        CaBundle::parse(&both).unwrap(),
    )]));

    assert!(verify(&trust, &before, Role::Dialler, None, 0).is_ok());
    assert!(verify(&trust, &after, Role::Dialler, None, 0).is_ok());
    trust.set_peers(BTreeMap::new());
    let verdict = verify(&trust, &after, Role::Dialler, None, 0);
    assert_eq!(verdict, Err(TrustError::UnknownCluster("east".to_owned())));
}

#[test]
fn unusable_bundles_have_their_reasons() {
    let reason = |pem: &str| CaBundle::parse(pem).unwrap_err().reason();
    let east = ca("prod", "east").certificate_pem().to_owned();

    assert_eq!(reason(""), "NoCertificate");
    assert_eq!(reason("nonsense"), "NoCertificate");
    assert_eq!(
        reason("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
        "NotPem"
    );
    assert_eq!(
        reason("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        "UnreadableCertificate"
    );
    assert_eq!(reason(&east.repeat(9)), "TooManyCertificates");
}

fn verify(
    trust: &Trust,
    ca: &Ca,
    role: Role,
    expected: Option<&str>,
    hours_later: i64,
) -> Result<String, TrustError> {
    let certificate = certificate(ca);
    let chain = Chain {
        end_entity: &certificate,
        intermediates: &[],
    };
    let at = (1_800_000_000 + hours_later * 3600).unsigned_abs();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
    trust.verify(chain, role, expected, at)
}

fn certificate(ca: &Ca) -> CertificateDer<'static> {
    let issued = ca.issue_gateway(DAY, now()).unwrap();
    CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap()
}

fn trust<'a>(peers: impl IntoIterator<Item = (&'a str, &'a Ca)>) -> Trust {
    let trust = Trust::new(ClusterId::new("prod", "west").unwrap());
    let bundles = peers.into_iter().map(|(cluster, ca)| {
        (
            cluster.to_owned(),
            CaBundle::parse(ca.certificate_pem()).unwrap(),
        )
    });
    trust.set_peers(bundles.collect());
    trust
}

fn ca(clusterset: &str, cluster: &str) -> Ca {
    Ca::generate(clusterset, cluster, now()).unwrap()
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}
