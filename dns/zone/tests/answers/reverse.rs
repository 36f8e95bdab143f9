//! Names of addresses (RFC 1035, section 3.5, and RFC 3596, section 2.5).

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, Name, RecordType};
use tombolo_dns_zone::{Question, Snapshot};

use crate::fixture::{
    DENIAL, ask, cluster_set_ip, endpoint, example, headless, show, snapshot, zone,
};

fn reverse(address: &str) -> String {
    let address: IpAddr = address.parse().unwrap();
    Name::from(address).to_ascii()
}

#[test]
fn an_address_has_the_name_of_its_service_or_of_its_host() {
    for (address, name) in [
        ("10.96.7.1", "web.shop"),
        ("fd00::7:1", "web.shop"),
        ("10.1.0.1", "db-0.east.db.shop"),
        ("fd00::1", "db-0.east.db.shop"),
        ("10.3.0.1", "10-3-0-1.west.eu.db.shop"),
    ] {
        let asked = reverse(address);

        let answer = ask(&example(), &asked, RecordType::PTR);

        assert_eq!(answer.code, ResponseCode::NoError, "{address}");
        assert!(answer.authoritative, "{address}");
        assert_eq!(
            show(&answer),
            [format!(
                "answer {asked} 5 IN PTR {name}.svc.clusterset.local."
            )]
        );
    }
}

#[test]
fn an_address_of_several_has_all_their_names_in_turn() {
    let shared = "10.96.7.1";
    let snapshot = snapshot(vec![
        cluster_set_ip("shop", "web", &[shared], vec![]),
        headless("shop", "db", vec![endpoint("east", "db-0", &[shared])]),
    ]);
    let name = Name::from_ascii(reverse(shared)).unwrap();
    let first = |rotation| {
        let question = Question {
            name: &name,
            record_type: RecordType::PTR,
            class: DNSClass::IN,
        };
        let answer = snapshot.answer(&question, rotation);
        assert_eq!(answer.answers.len(), 2);
        answer.answers[0].data.to_string()
    };

    let mut firsts = [first(0), first(1)];
    firsts.sort();
    assert_eq!(
        firsts,
        [
            "db-0.east.db.shop.svc.clusterset.local.",
            "web.shop.svc.clusterset.local."
        ]
    );
    assert_eq!(first(0), first(2));
}

#[test]
fn a_name_of_an_address_has_no_other_records() {
    let name = reverse("10.96.7.1");
    for record_type in [RecordType::A, RecordType::TXT, RecordType::NS] {
        let answer = ask(&example(), &name, record_type);

        assert_eq!(answer.code, ResponseCode::NoError, "{record_type}");
        assert!(answer.authoritative, "{record_type}");
        let soa = DENIAL.replacen("clusterset.local.", &name, 1);
        assert_eq!(show(&answer), [soa], "{record_type}");
    }
    let any = ask(&example(), &name, RecordType::ANY);
    assert_eq!(show(&any), [format!("answer {name} 5 IN HINFO RFC8482 ")]);
}

/// Somebody else may have it: a denial would be a lie.
#[test]
fn the_rest_of_the_reverse_tree_is_refused() {
    let unready = reverse("10.1.0.9");
    let foreign = reverse("10.96.0.1");
    let zone_of_ours = "7.96.10.in-addr.arpa.";
    for name in [&unready, &foreign, zone_of_ours, "in-addr.arpa.", "arpa."] {
        let answer = ask(&example(), name, RecordType::PTR);

        assert_eq!(answer.code, ResponseCode::Refused, "{name}");
        assert!(!answer.authoritative, "{name}");
        assert_eq!(show(&answer), [] as [&str; 0]);
    }
}

#[test]
fn no_address_is_refused_before_everything_is_known() {
    let snapshot = Snapshot::incomplete(zone());

    let answer = ask(&snapshot, &reverse("10.96.7.1"), RecordType::PTR);

    assert_eq!(answer.code, ResponseCode::ServFail);
}
