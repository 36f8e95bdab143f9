use hickory_proto::op::{Edns, Message, MessageType, OpCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{DNSClass, Name, RecordType};

use super::*;

const ORIGIN: &[u8] = b"\x0aclusterset\x05local\x00";

fn message(name: &str) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    let name = Name::from_ascii(name).unwrap();
    message.add_query(hickory_proto::op::Query::query(name, RecordType::A));
    message
}

fn is_usual(message: &Message) -> bool {
    Query::parse(&message.to_vec().unwrap()).is_some()
}

fn with_options(options: Vec<(u16, Vec<u8>)>) -> Message {
    let mut edns = Edns::new();
    for (code, data) in options {
        edns.options_mut().insert(EdnsOption::Unknown(code, data));
    }
    let mut message = message("web.shop.svc.clusterset.local.");
    message.edns = Some(edns);
    message
}

#[test]
fn a_usual_question_is_one_of_class_in() {
    let usual = message("web.shop.svc.clusterset.local.");
    assert!(is_usual(&usual));

    let mut unusual: Vec<Message> = Vec::new();
    let mut but = |change: fn(&mut Message)| {
        let mut message = usual.clone();
        change(&mut message);
        unusual.push(message);
    };
    but(|message| message.metadata.message_type = MessageType::Response);
    but(|message| message.metadata.op_code = OpCode::Notify);
    but(|message| message.metadata.truncation = true);
    but(|message| message.queries.clear());
    but(|message| message.queries.push(message.queries[0].clone()));
    but(|message| {
        message.queries[0].set_query_class(DNSClass::CH);
    });
    but(|message| {
        let mut edns = Edns::new();
        edns.set_version(1);
        message.edns = Some(edns);
    });
    for message in unusual {
        assert!(!is_usual(&message), "{message}");
    }
}

#[test]
fn what_is_cut_or_has_more_behind_it_is_not_usual() {
    let whole = with_options(vec![(10, vec![1; 8]), (12, vec![0; 30])])
        .to_vec()
        .unwrap();
    assert!(Query::parse(&whole).is_some());
    for length in 0..whole.len() {
        assert!(Query::parse(&whole[..length]).is_none(), "{length}");
    }
    assert!(Query::parse(&[whole.as_slice(), &[0]].concat()).is_none());
}

#[test]
fn names_that_are_compressed_or_too_long_are_not_usual() {
    let header = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let question = |name: &[u8]| [&header, name, &[0, 1, 0, 1]].concat();
    let label = [[63].as_slice(), &[b'a'; 63]].concat();
    let longest = [label.repeat(3).as_slice(), &[61], &[b'a'; 61], &[0]].concat();
    let too_long = [label.repeat(3).as_slice(), &[62], &[b'a'; 62], &[0]].concat();

    assert!(Query::parse(&question(&longest)).is_some());
    assert!(Query::parse(&question(&too_long)).is_none());
    assert!(Query::parse(&question(&[0xc0, 0x0c])).is_none());
    assert!(Query::parse(&question(&[1, b'a', 0xc0, 0x0c])).is_none());
    assert!(Query::parse(&question(&[&[64], [b'a'; 64].as_slice(), &[0]].concat())).is_none());
}

#[test]
fn the_client_cookie_is_read_once_and_only_of_a_good_length() {
    let cookie = |data: Vec<u8>| {
        let bytes = with_options(vec![(10, data)]).to_vec().unwrap();
        Query::parse(&bytes).map(|query| query.client_cookie())
    };
    assert_eq!(cookie(vec![5; 8]), Some(Some([5; 8])));
    assert_eq!(cookie(vec![5; 24]), Some(Some([5; 8])));
    assert_eq!(cookie(vec![5; 9]), None);

    let bytes = with_options(vec![(12, vec![0; 4])]).to_vec().unwrap();
    assert_eq!(Query::parse(&bytes).unwrap().client_cookie(), None);
}

#[test]
fn the_size_is_bounded_both_ways() {
    for (asked, limit) in [(0, 512), (512, 512), (1_000, 1_000), (4_096, 1_232)] {
        let mut message = with_options(vec![]);
        message.edns.as_mut().unwrap().set_max_payload(asked);
        let bytes = message.to_vec().unwrap();
        assert_eq!(Query::parse(&bytes).unwrap().limit(), limit);
    }
    let bytes = message("a.").to_vec().unwrap();
    assert_eq!(Query::parse(&bytes).unwrap().limit(), 512);
}

#[test]
fn a_name_is_relative_only_to_whole_labels() {
    let below = |name: &str| {
        let bytes = message(name).to_vec().unwrap();
        let query = Query::parse(&bytes).unwrap();
        query.relative_to(ORIGIN).map(|(_, at)| at)
    };
    assert_eq!(below("clusterset.local."), Some(12));
    assert_eq!(below("web.ClusterSet.LOCAL."), Some(16));
    for outside in [
        "local.",
        ".",
        "xclusterset.local.",
        "clusterset.local.example.",
    ] {
        assert_eq!(below(outside), None, "{outside}");
    }
    // A label that ends with the octets of the origin.
    let header = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let name = [&[18, b'x'], ORIGIN.split_last().unwrap().1, &[0]].concat();
    let bytes = [header.as_slice(), &name, &[0, 1, 0, 1]].concat();
    assert!(Query::parse(&bytes).unwrap().relative_to(ORIGIN).is_none());
}
