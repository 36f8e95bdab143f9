//! DNS cookies (RFC 7873).

use std::net::SocketAddr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

use crate::client::{ask_tcp, ask_udp, data, query, with_edns};
use crate::server::{BIG, Server, WEB};

const OF_CLIENT: [u8; 8] = *b"a client";

fn with_cookie(query: Message, cookie: &[u8]) -> Message {
    let mut query = with_edns(query, 1_232);
    let option = EdnsOption::Unknown(EdnsCode::Cookie.into(), cookie.to_vec());
    query.edns.as_mut().unwrap().options_mut().insert(option);
    query
}

fn cookie(answer: &Message) -> Option<&[u8]> {
    let option = answer.edns.as_ref()?.option(EdnsCode::Cookie)?;
    let EdnsOption::Unknown(_, data) = option else {
        panic!("{option:?}");
    };
    Some(data)
}

/// Over UDP, and over TCP.
fn ask(server: SocketAddr, query: &Message) -> [Message; 2] {
    let (over_udp, _) = ask_udp(server, query);
    let over_tcp = ask_tcp(server, std::slice::from_ref(query)).remove(0);
    [over_udp, over_tcp]
}

#[test]
fn a_cookie_comes_back_with_the_servers_half() {
    let server = Server::synced();
    for (name, record_type) in [
        (WEB, RecordType::A),
        ("dns-version.clusterset.local.", RecordType::TXT),
        ("none.shop.svc.clusterset.local.", RecordType::A),
    ] {
        for answer in ask(
            server.address,
            &with_cookie(query(name, record_type), &OF_CLIENT),
        ) {
            let both = cookie(&answer).unwrap();
            assert_eq!((both.len(), &both[..8]), (24, OF_CLIENT.as_slice()));
            // RFC 9018, section 4: the version, and nothing in the reserved octets.
            assert_eq!(both[8..12], [1, 0, 0, 0]);

            let again = with_cookie(query(name, record_type), both);
            for again in ask(server.address, &again) {
                assert_eq!(cookie(&again).unwrap()[..8], OF_CLIENT);
                assert_eq!(again.answers.len(), answer.answers.len());
            }
        }
    }
}

#[test]
fn nobody_is_given_a_cookie_who_sent_none() {
    let server = Server::synced();

    for answer in ask(server.address, &with_edns(query(WEB, RecordType::A), 1_232)) {
        assert_eq!(cookie(&answer), None);
        assert_eq!(data(&answer), ["10.96.0.1"]);
    }
}

#[test]
fn a_cookie_of_no_valid_length_is_a_format_error() {
    let server = Server::synced();
    for length in [1, 7, 9, 15, 41] {
        let asked = with_cookie(query(WEB, RecordType::A), &vec![7; length]);

        for answer in ask(server.address, &asked) {
            assert_eq!(
                answer.metadata.response_code,
                ResponseCode::FormErr,
                "{length}"
            );
            assert!(answer.answers.is_empty(), "{length}");
        }
    }
}

/// RFC 7873, section 5.4.
#[test]
fn a_cookie_needs_no_question() {
    let server = Server::synced();
    let mut asked = with_cookie(query(WEB, RecordType::A), &OF_CLIENT);
    asked.queries.clear();

    for answer in ask(server.address, &asked) {
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert_eq!(cookie(&answer).map(<[u8]>::len), Some(24));
        assert!(answer.queries.is_empty() && answer.answers.is_empty());
    }
}

#[test]
fn an_answer_that_is_cut_has_room_for_the_cookie() {
    let server = Server::synced();
    let asked = with_cookie(query(BIG, RecordType::A), &OF_CLIENT);

    let (answer, length) = ask_udp(server.address, &asked);

    assert!(answer.metadata.truncation);
    assert!(length <= 1_232, "{length} octets");
    assert_eq!(cookie(&answer).map(<[u8]>::len), Some(24));
}
