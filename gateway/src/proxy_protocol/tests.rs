//! Headers as another implementation reads them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proxy_header::{ParseConfig, ProxyHeader, Tlv};
use tombolo_catalog::ServiceName;
use tombolo_link::Source;

use super::*;

const ENDPOINT: &str = "10.9.0.1:8080";

#[test]
fn a_client_is_told_with_all_that_is_known_of_it() {
    let header = header("west", &connect(Some("10.0.0.7:40000")), address(ENDPOINT)).unwrap();

    let read = read(&header);

    let proxied = read.proxied_address().unwrap();
    assert_eq!(proxied.source, address("10.0.0.7:40000"));
    assert_eq!(proxied.destination, address(ENDPOINT));
    assert_eq!(read.authority(), Some("web.demo.svc.clusterset.local"));
    let facts = [
        (CLUSTER, "west"),
        (NAMESPACE, "shop"),
        (SERVICE_ACCOUNT, "cart"),
        (POD, "cart-0"),
    ];
    assert_eq!(
        custom(&read),
        facts.map(|(kind, fact)| (kind, fact.to_owned()))
    );
}

#[test]
fn a_client_that_is_not_known_is_nobody_of_a_known_cluster() {
    let unknown = Connect {
        source: Source::default(),
        ..connect(None)
    };
    let header = header("west", &unknown, address(ENDPOINT)).unwrap();

    assert_eq!(header[12..14], [0x20, 0x00], "LOCAL, UNSPEC");
    let read = read(&header);
    assert!(read.proxied_address().is_none());
    assert_eq!(custom(&read), [(CLUSTER, "west".to_owned())]);
}

#[test]
fn the_bytes_are_those_of_the_specification() {
    let mut connect = connect(Some("192.0.2.1:258"));
    connect.source = Source {
        address: connect.source.address,
        ..Source::default()
    };

    let header = header("w", &connect, address("198.51.100.2:80")).unwrap();

    let authority = b"web.demo.svc.clusterset.local";
    let length = u8::try_from(12 + 3 + authority.len() + 3 + 1).unwrap();
    let mut expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0".to_vec();
    expected.push(length);
    expected.extend([192, 0, 2, 1, 198, 51, 100, 2, 1, 2, 0, 80]);
    expected.extend([0x02, 0, u8::try_from(authority.len()).unwrap()]);
    expected.extend(authority);
    expected.extend([0xe0, 0, 1, b'w']);
    assert_eq!(header, expected);
}

proptest! {
    #[test]
    fn any_client_is_read_as_it_was_written(
        client in any::<SocketAddr>(),
        endpoint in any::<SocketAddr>(),
        pod in "[a-z]{0,253}",
    ) {
        let plain = |address: SocketAddr| SocketAddr::new(address.ip(), address.port());
        let (client, endpoint) = (plain(client), plain(endpoint));
        let mut connect = connect(None);
        connect.source.address = Some(client);
        connect.source.pod = pod;

        let header = header("west", &connect, endpoint).unwrap();

        let read = read(&header);
        let proxied = read.proxied_address().unwrap();
        prop_assert_eq!(proxied.source.ip().to_canonical(), client.ip().to_canonical());
        prop_assert_eq!(proxied.source.port(), client.port());
        prop_assert_eq!(proxied.destination.ip().to_canonical(), endpoint.ip().to_canonical());
        prop_assert_eq!(proxied.destination.port(), endpoint.port());
    }
}

fn read(header: &[u8]) -> ProxyHeader<'_> {
    let (read, length) = ProxyHeader::parse(header, ParseConfig::default()).unwrap();
    assert_eq!(length, header.len());
    read
}

fn custom(read: &ProxyHeader<'_>) -> Vec<(u8, String)> {
    let custom = read.tlvs().filter_map(|tlv| {
        let Ok(Tlv::Custom(kind, fact)) = tlv else {
            return None;
        };
        Some((kind, String::from_utf8(fact.to_vec()).unwrap()))
    });
    custom.collect()
}

fn connect(client: Option<&str>) -> Connect {
    Connect {
        service: ServiceName::new("demo", "web"),
        protocol: tombolo_link::Protocol::Tcp,
        port: 80,
        endpoint: None,
        source: Source {
            cluster: "west".to_owned(),
            namespace: "shop".to_owned(),
            pod: "cart-0".to_owned(),
            service_account: "cart".to_owned(),
            address: client.map(address),
        },
        path: Vec::new(),
        traceparent: String::new(),
        selector: BTreeMap::new(),
        zone: String::new(),
        affinity: None,
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
