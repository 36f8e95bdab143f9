//! A server on loopback, and a zone with a service of each kind.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use parking_lot::Mutex;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio::runtime::Runtime;
use tombolo_dns::{
    DnsMetrics, EndpointState, Handler, ImportState, Listeners, PortState, Publisher, SliceState,
    ZoneIndex,
};
use tombolo_dns_zone::Zone;
use tombolo_runtime::readiness::Readiness;
use tombolo_runtime::watch::{Index, Key};

use crate::client::ask_udp;

pub(crate) const WEB: &str = "web.shop.svc.clusterset.local.";
pub(crate) const BIG: &str = "big.shop.svc.clusterset.local.";
/// Endpoints of the headless service `big`.
pub(crate) const HOSTS: u8 = 200;

/// A server that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) index: Arc<Mutex<ZoneIndex>>,
    readiness: Readiness,
    registry: Registry,
    runtime: Runtime,
}

impl Server {
    /// Of which no list was ever complete.
    pub(crate) fn unsynced() -> Self {
        let runtime = Runtime::new().unwrap();
        let mut registry = Registry::default();
        let metrics = DnsMetrics::register(&mut registry);
        let readiness = Readiness::default();
        let index = Arc::new(Mutex::new(ZoneIndex::default()));
        let publisher = Publisher::new(
            Zone::new("clusterset.local", 5, 0).unwrap(),
            Arc::clone(&index),
            readiness.gate("zone"),
            metrics.clone(),
        );
        let handler = Handler::new(publisher.published(), metrics);
        let address = runtime.block_on(async {
            let listeners = Listeners::bind(Some((Ipv4Addr::LOCALHOST, 0).into())).unwrap();
            let address = listeners.address();
            tokio::spawn(publisher.run());
            tokio::spawn(listeners.serve(handler));
            address
        });
        Self {
            address,
            index,
            readiness,
            registry,
            runtime,
        }
    }

    /// Of a zone with a service of each kind.
    pub(crate) fn synced() -> Self {
        let server = Self::unsynced();
        let web = ImportState {
            headless: false,
            addresses: ["10.96.0.1", "fd00::1"]
                .map(|address| address.parse().unwrap())
                .into(),
            ports: [port("http", "TCP", 80), port("http3", "UDP", 80)].into(),
        };
        let big = ImportState {
            headless: true,
            addresses: [].into(),
            ports: [].into(),
        };
        let hosts = (0..HOSTS).map(|n| EndpointState {
            hostname: Some(format!("big-{n}").into()),
            addresses: [[10, 0, 0, n].into()].into(),
        });
        let slice = SliceState {
            service: "big".into(),
            cluster: "east".into(),
            endpoints: hosts.collect(),
            ports: [port("sql", "TCP", 5432)].into(),
        };
        let key = |name: &str| Key::new("shop", name);
        {
            let mut index = server.index.lock();
            index.reset(&BTreeMap::from([
                (key("web"), Arc::new(web)),
                (key("big"), Arc::new(big)),
            ]));
            index.reset(&BTreeMap::from([(key("big-east"), Arc::new(slice))]));
        }
        server.wait_until_ready();
        server
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.runtime
            .block_on(self.readiness.held_back_by())
            .is_empty()
    }

    pub(crate) fn wait_until_ready(&self) {
        let limit = Instant::now() + Duration::from_secs(30);
        while !self.is_ready() {
            assert!(Instant::now() < limit, "not ready");
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn metrics(&self) -> String {
        let mut metrics = String::new();
        text::encode(&mut metrics, &self.registry).unwrap();
        metrics
    }
}

pub(crate) fn port(name: &str, protocol: &str, number: u16) -> PortState {
    PortState {
        name: Some(name.into()),
        protocol: protocol.into(),
        number,
    }
}

/// Asks until the answer is good.
pub(crate) fn poll(
    server: &Server,
    query: &Message,
    is_good: impl Fn(&Message) -> bool,
) -> Message {
    let limit = Instant::now() + Duration::from_secs(30);
    loop {
        let (answer, _) = ask_udp(server.address, query);
        if is_good(&answer) {
            return answer;
        }
        assert!(Instant::now() < limit, "{answer}");
        thread::sleep(Duration::from_millis(1));
    }
}
