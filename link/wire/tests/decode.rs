//! Each rule that a message may break, and the word for it.

use std::collections::BTreeMap;

use tombolo_catalog::ServiceName;
use tombolo_link_wire::{
    Answer, CatalogDecodeError, CatalogMessage, CloseCode, Connect, Control, DecodeError, Hello,
    Preface, Protocol, Refusal, RefusalReason, Source, StreamCode, limits,
};

#[test]
fn each_field_of_a_hello_has_its_rule() {
    let field = |change: fn(&mut Hello)| {
        let mut hello = hello();
        change(&mut hello);
        match Hello::decode(hello.encode().slice(4..)) {
            Err(DecodeError::Field { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };

    assert_eq!(field(|hello| hello.clusterset.clear()), "clusterset");
    assert_eq!(field(|hello| hello.cluster = "a.b".to_owned()), "cluster");
    assert_eq!(field(|hello| hello.replica = "A".to_owned()), "replica");
    assert_eq!(
        field(|hello| hello.incarnation = "a b".to_owned()),
        "incarnation"
    );
    assert_eq!(
        field(|hello| hello.incarnation = "a".repeat(65)),
        "incarnation"
    );
}

#[test]
fn each_field_of_a_preface_has_its_rule() {
    let field = |change: fn(&mut Connect)| {
        let mut connect = connect();
        change(&mut connect);
        let sent = Preface::Connect(Box::new(connect.clone()))
            .encode()
            .slice(4..);
        let error = Preface::decode(sent).unwrap_err();
        // The opener finds the same before it sends.
        assert_eq!(connect.validate(), Err(error.clone()));
        let reason = error.reason();
        let DecodeError::Field { field, .. } = error else {
            return reason;
        };
        field
    };

    assert_eq!(field(|c| c.service.namespace = "A".to_owned()), "namespace");
    assert_eq!(field(|c| c.service.name = "../etc".to_owned()), "name");
    assert_eq!(field(|c| c.port = 0), "port");
    assert_eq!(field(|c| c.endpoint = Some("a.b".to_owned())), "endpoint");
    assert_eq!(
        field(|c| c.source.cluster = "-".to_owned()),
        "source.cluster"
    );
    assert_eq!(
        field(|c| c.source.namespace = "-".to_owned()),
        "source.namespace"
    );
    assert_eq!(field(|c| c.source.pod = "/".to_owned()), "source.pod");
    assert_eq!(
        field(|c| c.source.service_account = "/".to_owned()),
        "source.service_account"
    );
    assert_eq!(field(|c| c.path = vec!["A".to_owned()]), "path");
    assert_eq!(
        field(|c| c.path = vec!["a".to_owned(); limits::PATH + 1]),
        "PathTooLong"
    );
    assert_eq!(field(|c| c.traceparent = "a\n".to_owned()), "traceparent");
    assert_eq!(field(|c| c.traceparent = "a".repeat(129)), "traceparent");
}

#[test]
fn a_port_or_protocol_that_is_none_is_refused() {
    // Field 1 is the Connect; in it, 1 and 2 are the names, 3 the protocol, 4 the port.
    let preface = |rest: &[u8]| {
        let mut connect = vec![0x0a, 1, b'n', 0x12, 1, b's'];
        connect.extend_from_slice(rest);
        let mut preface = vec![0x0a, u8::try_from(connect.len()).unwrap()];
        preface.extend(connect);
        Preface::decode(preface.into()).map_err(|error| {
            let DecodeError::Field { field, value } = error else {
                return error.to_string();
            };
            format!("{field} {value}")
        })
    };

    assert!(preface(&[0x18, 1, 0x20, 80]).is_ok());
    assert_eq!(
        preface(&[0x18, 1, 0x20, 0x80, 0x80, 0x04]).unwrap_err(),
        "port 65536"
    );
    assert_eq!(preface(&[0x18, 0, 0x20, 80]).unwrap_err(), "protocol 0");
    assert_eq!(preface(&[0x18, 9, 0x20, 80]).unwrap_err(), "protocol 9");
    let bad_address = [0x18, 1, 0x20, 80, 0x2a, 3, 0x2a, 1, b'x'];
    assert_eq!(preface(&bad_address).unwrap_err(), "source.address x");
}

/// A version that does not know of endpoints skips the field. It must not take the preface for one
/// that leaves the choice to it.
#[test]
fn a_preface_with_an_endpoint_is_none_to_a_version_without_them() {
    let to_one = Connect {
        endpoint: Some("web-0".to_owned()),
        ..connect()
    };
    let member = |connect: Connect| Preface::Connect(Box::new(connect)).encode()[4];

    assert_eq!(member(connect()) >> 3, 1);
    assert_eq!(member(to_one) >> 3, 10);

    // The new member without its field 10, then the old one with it.
    let connect = [0x0a, 1, b'n', 0x12, 1, b's', 0x18, 1, 0x20, 80];
    let preface = |member: u8, rest: &[u8]| {
        let connect = [&connect, rest].concat();
        let length = u8::try_from(connect.len()).unwrap();
        Preface::decode([&[member, length], &connect[..]].concat().into())
    };
    assert_eq!(
        preface(0x52, &[]),
        Err(DecodeError::Field {
            field: "endpoint",
            value: String::new()
        })
    );
    let Ok(Preface::Connect(any)) = preface(0x0a, &[0x52, 1, b'e']) else {
        panic!("refused");
    };
    assert_eq!(any.endpoint, None);
    let Ok(Preface::Connect(one)) = preface(0x52, &[0x52, 1, b'e']) else {
        panic!("refused");
    };
    assert_eq!(one.endpoint.as_deref(), Some("e"));
}

#[test]
fn what_a_later_version_may_say_is_no_message_but_a_later_reason_is_one() {
    let unknown_member = || (&[0x7a, 0][..]).into();
    let unknown = DecodeError::UnknownKind;
    assert_eq!(
        Control::decode(unknown_member()),
        Err(unknown("the control message"))
    );
    assert_eq!(
        Preface::decode(unknown_member()),
        Err(unknown("the preface"))
    );
    assert_eq!(Answer::decode(unknown_member()), Err(unknown("the answer")));

    let refused_for_99 = &[0x12, 2, 0x08, 99][..];
    let other = Refusal::new(RefusalReason::Other, "");
    assert_eq!(
        Answer::decode(refused_for_99.into()),
        Ok(Answer::Refused(other))
    );
}

#[test]
fn fields_of_a_later_version_are_skipped() {
    let mut sent = hello().encode().slice(4..).to_vec();
    sent.extend_from_slice(&[0xa2, 0x06, 1, 0]);

    assert_eq!(Hello::decode(sent.into()), Ok(hello()));
}

#[test]
fn an_export_of_an_unknown_type_is_rejected_alone() {
    // Field 2 is the Upsert; in it, 1 to 3 are the names, 6 the type.
    let export = [0x0a, 1, b'c', 0x12, 1, b'n', 0x1a, 1, b's', 0x30, 9];
    let mut message = vec![0x12, u8::try_from(export.len()).unwrap()];
    message.extend(export);

    let Err(CatalogDecodeError::Rejected(rejected)) = CatalogMessage::decode(message.into()) else {
        panic!("not rejected");
    };

    assert_eq!(rejected.cluster, "c");
    assert_eq!(rejected.service, ServiceName::new("n", "s"));
    assert_eq!(rejected.rejection.reason(), "UnknownType");
}

#[test]
fn a_withdrawal_names_a_service() {
    let message = CatalogMessage::Withdraw(ServiceName::new("n", "A"));

    let error = CatalogMessage::decode(message.encode().slice(4..)).unwrap_err();

    assert!(matches!(
        error,
        CatalogDecodeError::Broken(DecodeError::Field { field: "name", .. })
    ));
}

#[test]
fn codes_are_what_they_were() {
    for code in 1..=12 {
        assert_eq!(CloseCode::from(code).code(), u32::try_from(code).unwrap());
        assert_ne!(CloseCode::from(code).as_str(), "Unknown");
    }
    assert_eq!(CloseCode::Draining.code(), 3);
    assert_eq!(StreamCode::TcpReset.code(), 1);
    assert_eq!(StreamCode::from(99), StreamCode::Unknown(99));
    assert_eq!(StreamCode::from(u64::MAX), StreamCode::Unknown(u32::MAX));
}

#[test]
fn only_a_busy_or_leaving_replica_is_worth_another_try() {
    assert!(!RefusalReason::Draining.is_definite());
    assert!(!RefusalReason::Overloaded.is_definite());
    assert!(RefusalReason::NotExported.is_definite());
    assert!(RefusalReason::Other.is_definite());
}

fn hello() -> Hello {
    Hello {
        protocol_version: 1,
        merge_version: 1,
        clusterset: "prod".to_owned(),
        cluster: "east".to_owned(),
        replica: "gateway-0".to_owned(),
        siblings: 2,
        incarnation: String::new(),
    }
}

fn connect() -> Connect {
    Connect {
        service: ServiceName::new("demo", "web"),
        protocol: Protocol::Tcp,
        port: 80,
        endpoint: None,
        source: Source::default(),
        path: Vec::new(),
        traceparent: String::new(),
        selector: BTreeMap::new(),
        zone: String::new(),
        affinity: None,
    }
}
