//! Which names there are not, and what is not answered at all.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, Name, RecordType};
use tombolo_dns_zone::{Question, Service, Snapshot};

use crate::fixture::{ask, assert_denied, cluster_set_ip, example, show, zone};

#[test]
fn an_existing_name_without_the_type_has_no_data() {
    for (name, record_type) in [
        ("clusterset.local.", RecordType::A),
        ("clusterset.local.", RecordType::DS),
        ("ns.dns.clusterset.local.", RecordType::AAAA),
        ("nameless.shop.svc.clusterset.local.", RecordType::AAAA),
        ("web.shop.svc.clusterset.local.", RecordType::TXT),
        (
            "web.shop.svc.clusterset.local.",
            RecordType::Unknown(65_400),
        ),
        ("_http._tcp.web.shop.svc.clusterset.local.", RecordType::A),
        ("db-0.west.db.shop.svc.clusterset.local.", RecordType::SRV),
        ("db-0.west.db.shop.svc.clusterset.local.", RecordType::AAAA),
    ] {
        assert_denied(ResponseCode::NoError, name, record_type);
    }
}

#[test]
fn a_name_above_others_exists_without_data() {
    for name in [
        "dns.clusterset.local.",
        "svc.clusterset.local.",
        "shop.svc.clusterset.local.",
        "_tcp.web.shop.svc.clusterset.local.",
        "_udp.db.shop.svc.clusterset.local.",
        "east.db.shop.svc.clusterset.local.",
        "eu.db.shop.svc.clusterset.local.",
        "west.eu.db.shop.svc.clusterset.local.",
    ] {
        for record_type in [RecordType::A, RecordType::SRV, RecordType::ANY] {
            assert_denied(ResponseCode::NoError, name, record_type);
        }
    }
}

#[test]
fn names_that_do_not_exist() {
    for name in [
        "nothing.clusterset.local.",
        "x.dns-version.clusterset.local.",
        "other.svc.clusterset.local.",
        "nothing.shop.svc.clusterset.local.",
        "web.other.svc.clusterset.local.",
        "_https._tcp.web.shop.svc.clusterset.local.",
        "_http._udp.web.shop.svc.clusterset.local.",
        "_sctp.web.shop.svc.clusterset.local.",
        "x._http._tcp.web.shop.svc.clusterset.local.",
        "db-1.east.db.shop.svc.clusterset.local.",
        "late.east.db.shop.svc.clusterset.local.",
        "est.db.shop.svc.clusterset.local.",
        "u.db.shop.svc.clusterset.local.",
        "x.db-0.east.db.shop.svc.clusterset.local.",
        "*.shop.svc.clusterset.local.",
        "a\\.web.shop.svc.clusterset.local.",
    ] {
        for record_type in [RecordType::A, RecordType::SRV, RecordType::ANY] {
            assert_denied(ResponseCode::NXDomain, name, record_type);
        }
    }
}

/// KEP-1645, DNS specification, sections 2.3.4 and 2.4.4.
#[test]
fn no_name_targets_one_cluster() {
    let web = "east.web.shop.svc.clusterset.local.";
    assert_denied(ResponseCode::NXDomain, web, RecordType::A);

    let db = "east.db.shop.svc.clusterset.local.";
    for record_type in [
        RecordType::A,
        RecordType::AAAA,
        RecordType::SRV,
        RecordType::ANY,
    ] {
        assert_eq!(
            ask(&example(), db, record_type).answers,
            [],
            "{record_type}"
        );
    }
}

/// KEP-1645, DNS specification, section 2.4.1.
#[test]
fn an_import_that_leads_nowhere_does_not_exist() {
    for name in [
        "db.sleeping.svc.clusterset.local.",
        "db-0.east.db.sleeping.svc.clusterset.local.",
        "sleeping.svc.clusterset.local.",
        "pending.shop.svc.clusterset.local.",
        "_http._tcp.pending.shop.svc.clusterset.local.",
    ] {
        assert_denied(ResponseCode::NXDomain, name, RecordType::A);
    }
}

#[test]
fn what_is_not_ours_is_refused() {
    let snapshot = example();
    for name in [".", "local.", "web.shop.svc.cluster.local.", "example.com."] {
        let answer = ask(&snapshot, name, RecordType::A);
        assert_eq!(answer.code, ResponseCode::Refused, "{name}");
        assert!(!answer.authoritative);
        assert_eq!(show(&answer), [] as [&str; 0]);
    }
    let name = Name::from_ascii("web.shop.svc.clusterset.local.").unwrap();
    for class in [
        DNSClass::CH,
        DNSClass::HS,
        DNSClass::ANY,
        DNSClass::Unknown(9),
    ] {
        let question = Question {
            name: &name,
            record_type: RecordType::A,
            class,
        };
        assert_eq!(
            snapshot.answer(&question, 0).code,
            ResponseCode::Refused,
            "{class}"
        );
    }
    for transfer in [RecordType::AXFR, RecordType::IXFR] {
        assert_eq!(
            ask(&snapshot, "clusterset.local.", transfer).code,
            ResponseCode::Refused
        );
    }
}

#[test]
fn an_incomplete_snapshot_denies_nothing() {
    let snapshot = Snapshot::incomplete(zone());

    for name in [
        "clusterset.local.",
        "web.shop.svc.clusterset.local.",
        "x.clusterset.local.",
    ] {
        let answer = ask(&snapshot, name, RecordType::A);
        assert_eq!(answer.code, ResponseCode::ServFail, "{name}");
        assert!(!answer.authoritative);
    }
    assert_eq!(
        ask(&snapshot, "example.com.", RecordType::A).code,
        ResponseCode::Refused
    );
    assert!(!snapshot.is_complete());
}

#[test]
fn imports_without_a_dns_name_are_refused() {
    for (namespace, name, reason) in [
        ("", "web", "InvalidNamespace"),
        ("a.b", "web", "InvalidNamespace"),
        ("shop", "Web", "InvalidName"),
        ("shop", &"x".repeat(64), "InvalidName"),
    ] {
        let import = cluster_set_ip(namespace, name, &["10.96.0.1"], vec![]);
        assert_eq!(
            Service::new(import).unwrap_err().reason(),
            reason,
            "{namespace}/{name}"
        );
    }
}
