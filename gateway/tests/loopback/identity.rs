//! Who a client is, as the server learns it.

use proxy_header::{ParseConfig, ProxyHeader, Tlv};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tombolo_gateway::proxy_protocol::{CLUSTER, NAMESPACE as CLIENT_NAMESPACE, POD};

use crate::backend::echo;
use crate::flows::Sites;
use crate::site::{NAMESPACE, fresh_address};

#[tokio::test]
async fn a_server_that_asks_for_it_gets_a_header_before_the_clients_bytes() {
    let mut sites = Sites::new().await;
    let server = echo().await;
    sites.east.export("web", &[server]);
    sites.east.announce("web");
    let web = sites.west.import("web", &["east"]);
    let pod = fresh_address();
    sites
        .west
        .pod(pod.into(), |pod| pod.name = "client-0".to_owned());
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((pod, 0).into()).unwrap();
    let mut client = socket.connect(web).await.unwrap();

    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.unwrap();

    let (header, length) = ProxyHeader::parse(&said, ParseConfig::default()).unwrap();
    assert_eq!(&said[length..], b"hello");
    let proxied = header.proxied_address().unwrap();
    assert_eq!(proxied.source, client.local_addr().unwrap());
    assert_eq!(proxied.destination, server);
    let told: Vec<_> = header
        .tlvs()
        .filter_map(|tlv| match tlv {
            Ok(Tlv::Custom(kind, fact)) => Some((kind, fact.to_vec())),
            _ => None,
        })
        .collect();
    for fact in [
        (CLUSTER, "west"),
        (CLIENT_NAMESPACE, NAMESPACE),
        (POD, "client-0"),
    ] {
        assert!(
            told.contains(&(fact.0, fact.1.as_bytes().to_vec())),
            "{fact:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_does_not_ask_gets_the_clients_bytes_alone() {
    let mut sites = Sites::new().await;
    sites.east.export("web", &[echo().await]);
    let web = sites.west.import("web", &["east"]);
    let mut client = tokio::net::TcpStream::connect(web).await.unwrap();

    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.unwrap();

    assert_eq!(said, b"hello");
}
