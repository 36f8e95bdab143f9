//! What holds for every answer, for the property tests, the fuzz target and the replay of its
//! corpus.

use hickory_proto::op::{Message, Metadata, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, Name, RData, Record};
use tombolo_dns_zone::wire::{MAX_UDP_PAYLOAD, MIN_UDP_PAYLOAD, Query};
use tombolo_dns_zone::{MAX_RECORDS, Question, Snapshot};

/// Asks, and panics if the answer breaks a rule.
pub(crate) fn well_formed(snapshot: &Snapshot, question: &Question<'_>, rotation: usize) {
    let answer = snapshot.answer(question, rotation);
    let origin = snapshot.zone().origin();
    let inside = origin.zone_of(question.name) && question.class == DNSClass::IN;

    // Of the reverse tree what is ours depends on the addresses.
    let reverse = Name::from_ascii("arpa.")
        .expect("a name")
        .zone_of(question.name);
    assert!(
        reverse || (answer.code == ResponseCode::Refused) == (!inside || is_transfer(question))
    );
    assert_eq!(
        answer.authoritative,
        answer.code != ResponseCode::Refused && snapshot.is_complete()
    );
    if !answer.authoritative {
        assert!(matches!(
            answer.code,
            ResponseCode::Refused | ResponseCode::ServFail
        ));
        assert!(answer.answers.is_empty() && answer.authorities.is_empty());
        return;
    }
    // RFC 2308: no answer, so the SOA says for how long.
    assert_eq!(answer.answers.is_empty(), answer.authorities.len() == 1);
    assert!(answer.code != ResponseCode::NXDomain || answer.answers.is_empty());
    assert!(answer.answers.len() <= MAX_RECORDS && answer.additionals.len() <= MAX_RECORDS);
    for record in &answer.answers {
        assert!(record.name.eq_case(question.name), "{record}");
        let asked = record.record_type() == question.record_type;
        assert!(asked || matches!(record.data, RData::HINFO(_)), "{record}");
    }
    for section in [&answer.answers, &answer.authorities, &answer.additionals] {
        for (position, record) in section.iter().enumerate() {
            let ours = origin.zone_of(&record.name) || reverse && record.name == *question.name;
            assert!(ours, "{record}");
            if let RData::PTR(ptr) = &record.data {
                assert!(origin.zone_of(&ptr.0), "{record}");
            }
            if let RData::SRV(srv) = &record.data {
                assert!(origin.zone_of(&srv.target), "{record}");
            }
            assert!(!section[..position].contains(record), "twice: {record}");
        }
    }
    let turned = snapshot.answer(question, rotation.wrapping_add(1));
    assert_eq!(sorted(&turned.answers), sorted(&answer.answers));
}

/// Asks with a whole message, and panics if the octets of the response say anything else than the
/// records do. Whether there was a response in octets.
pub(crate) fn same_in_octets(snapshot: &Snapshot, message: &[u8], rotation: usize) -> bool {
    let Some(query) = Query::parse(message) else {
        return false;
    };
    let asked = Message::from_vec(message).expect("of the usual form, so a message");
    let cookie = [9; 16];
    let mut octets = vec![0xff; 3];
    let Some(code) = snapshot.respond(&query, rotation, Some(cookie), &mut octets) else {
        return false;
    };
    let said = Message::from_vec(&octets).expect("a whole message");
    let question = Question {
        name: asked.queries[0].name(),
        record_type: asked.queries[0].query_type(),
        class: asked.queries[0].query_class(),
    };
    let answer = snapshot.answer(&question, rotation);

    assert_eq!(code, answer.code);
    let mut metadata = Metadata::response_from_request(&asked.metadata);
    metadata.authoritative = answer.authoritative;
    metadata.response_code = answer.code;
    assert_eq!(said.metadata, metadata);
    assert!(said.queries[0].name().eq_case(question.name));
    assert_eq!(said.queries, asked.queries);
    assert_eq!(shown(&said.answers), shown(&answer.answers));
    assert_eq!(shown(&said.authorities), shown(&answer.authorities));
    assert_eq!(shown(&said.additionals), shown(&answer.additionals));
    for record in &said.answers {
        assert!(record.name.eq_case(question.name), "{record}");
    }
    let limit = match (&said.edns, &asked.edns) {
        (Some(said), Some(asked)) => {
            let payload = asked.max_payload().clamp(MIN_UDP_PAYLOAD, MAX_UDP_PAYLOAD);
            assert_eq!(said.max_payload(), payload);
            assert_eq!(said.flags().dnssec_ok, asked.flags().dnssec_ok);
            let both = query
                .client_cookie()
                .map(|client| EdnsOption::Unknown(10, [client.as_slice(), &cookie].concat()));
            assert_eq!(said.option(EdnsCode::Cookie), both.as_ref());
            payload
        }
        (None, None) => MIN_UDP_PAYLOAD,
        (said, _) => panic!("{said:?}"),
    };
    assert!(octets.len() <= limit.into());
    true
}

fn shown(records: &[Record]) -> Vec<String> {
    let shown = records.iter().map(ToString::to_string);
    shown.map(|record| record.to_lowercase()).collect()
}

fn is_transfer(question: &Question<'_>) -> bool {
    use hickory_proto::rr::RecordType;
    matches!(question.record_type, RecordType::AXFR | RecordType::IXFR)
}

fn sorted(records: &[Record]) -> Vec<String> {
    let mut sorted: Vec<String> = records.iter().map(ToString::to_string).collect();
    sorted.sort();
    sorted
}
