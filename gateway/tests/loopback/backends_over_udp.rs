//! What people run over UDP: DNS and QUIC.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::str::FromStr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::runtime::Handle;
use tombolo_catalog::ServiceName;
use tombolo_link::{Connect, Protocol, Source};

use crate::flows::Sites;
use crate::site::{Cluster, NAMESPACE, PORT, fresh_address};
use crate::udp_backend::{ask, client, server};

#[tokio::test]
async fn dns_answers_across_clusters_the_long_ones_too() {
    let mut sites = Sites::new().await;
    let server = server(|_, packet| answer(packet)).await;
    sites.east.export("dns", &[server.address]);
    let dns = sites.west.import_udp("dns", &["east"]);

    // Each from a port of its own, as resolvers do.
    for id in 1..50 {
        let client = client(dns).await;
        let answered = ask(&client, &question(id, RecordType::A)).await.unwrap();
        let answered = Message::from_vec(&answered).unwrap();
        assert_eq!(answered.metadata.id, id);
        let data: Vec<_> = answered.answers.iter().map(|record| &record.data).collect();
        assert_eq!(data, [&RData::A(A(Ipv4Addr::new(192, 0, 2, 1)))]);
    }

    // More than one packet of the path, within what EDNS allows.
    let client = client(dns).await;
    let answered = ask(&client, &question(7, RecordType::TXT)).await.unwrap();
    assert!(answered.len() > 3000);
    assert_eq!(Message::from_vec(&answered).unwrap().answers.len(), 20);
}

// A link is a QUIC client and a QUIC server, with certificates on both sides and discovery of the
// path's MTU: one that goes through another is what a QUIC service behind gateways is.
#[tokio::test(flavor = "multi_thread")]
async fn quic_goes_through_the_gateways() {
    let mut sites = Sites::new().await;
    let (server, client) = (Cluster::new("server"), Cluster::new("client"));
    let here = Handle::current();
    let (at_server, mut incoming) = server.start_links("server-0", fresh_address().into(), &here);
    let (at_client, _) = client.start_links("client-0", fresh_address().into(), &here);
    sites.east.export("quic", &[at_server.local_addr()]);
    let quic = sites.west.import_udp("quic", &["east"]);
    tokio::spawn(async move {
        while let Some(incoming) = incoming.recv().await {
            let mut stream = incoming.responder.opened().await.unwrap();
            while let Ok(Some(chunk)) = stream.recv.read_chunk(64 << 10).await {
                stream.send.write_chunk(chunk).await.unwrap();
            }
            stream.send.finish();
        }
    });

    at_server.set_peers(vec![client.peer(&[])]);
    at_client.set_peers(vec![server.peer(&[quic])]);
    let mut status = at_client.status();
    let linked = status.wait_for(|status| {
        status
            .get("server")
            .is_some_and(tombolo_link::PeerLink::is_connected)
    });
    let patience = std::time::Duration::from_secs(60);
    drop(
        tokio::time::timeout(patience, linked)
            .await
            .unwrap()
            .unwrap(),
    );

    let connect = Connect {
        service: ServiceName::new(NAMESPACE, "echo"),
        protocol: Protocol::Tcp,
        port: PORT,
        endpoint: None,
        source: Source::default(),
        path: Vec::new(),
        traceparent: String::new(),
        selector: BTreeMap::new(),
        zone: String::new(),
        affinity: None,
    };
    let stream = at_client.open("server", &connect).await.unwrap();
    let (mut send, mut recv) = (stream.send, stream.recv);
    let sent: Vec<u8> = (0..1 << 20).map(|at: u32| (at % 251) as u8).collect();
    let sending = {
        let sent = sent.clone();
        tokio::spawn(async move {
            send.write_chunk(sent.into()).await.unwrap();
            send.finish();
        })
    };
    let mut received = Vec::new();
    let receiving = async {
        while let Some(chunk) = recv.read_chunk(64 << 10).await.unwrap() {
            received.extend_from_slice(&chunk);
        }
    };
    tokio::time::timeout(patience, receiving).await.unwrap();
    sending.await.unwrap();
    assert!(received == sent, "{} of {}", received.len(), sent.len());
}

fn question(id: u16, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    let name = Name::from_str("www.example.").unwrap();
    message.add_query(Query::query(name, kind));
    message.to_vec().unwrap()
}

fn answer(packet: &[u8]) -> Vec<u8> {
    let question = Message::from_vec(packet).unwrap();
    let mut message = Message::response(question.metadata.id, OpCode::Query);
    message.metadata.response_code = ResponseCode::NoError;
    let query = question.queries[0].clone();
    let record = |data| Record::from_rdata(query.name().clone(), 60, data);
    if query.query_type() == RecordType::A {
        message.add_answer(record(RData::A(A(Ipv4Addr::new(192, 0, 2, 1)))));
    } else {
        for number in 0..20 {
            let text = format!("{number:0>200}");
            message.add_answer(record(RData::TXT(TXT::new(vec![text]))));
        }
    }
    message.add_query(query);
    message.to_vec().unwrap()
}
