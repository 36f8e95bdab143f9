//! What holds for every answer, for the property tests, the fuzz target and the replay of its
//! corpus.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, RData, Record};
use tombolo_dns_zone::{MAX_RECORDS, Question, Snapshot};

/// Asks, and panics if the answer breaks a rule.
pub(crate) fn well_formed(snapshot: &Snapshot, question: &Question<'_>, rotation: usize) {
    let answer = snapshot.answer(question, rotation);
    let origin = snapshot.zone().origin();
    let inside = origin.zone_of(question.name) && question.class == DNSClass::IN;

    assert_eq!(
        answer.code == ResponseCode::Refused,
        !inside || is_transfer(question)
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
            assert!(origin.zone_of(&record.name), "{record}");
            if let RData::SRV(srv) = &record.data {
                assert!(origin.zone_of(&srv.target), "{record}");
            }
            assert!(!section[..position].contains(record), "twice: {record}");
        }
    }
    let turned = snapshot.answer(question, rotation.wrapping_add(1));
    assert_eq!(sorted(&turned.answers), sorted(&answer.answers));
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
