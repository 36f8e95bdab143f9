use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

use super::*;

#[tokio::test]
async fn live_before_it_is_ready() {
    let admin = Admin::start().await;
    let gate = admin.readiness.gate("exports");

    assert!(admin.get("/livez").await.starts_with("HTTP/1.1 200"));
    let held = admin.get("/readyz").await;
    assert!(held.starts_with("HTTP/1.1 503"), "{held}");
    assert!(held.ends_with("not ready: exports\n"), "{held}");

    gate.open();
    assert!(admin.get("/readyz").await.starts_with("HTTP/1.1 200"));
    admin.readiness.drain();
    assert!(admin.get("/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(admin.get("/elsewhere").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn metrics_are_open_metrics_and_may_be_added_while_serving() {
    let admin = Admin::start().await;
    let refused = Counter::<u64>::default();
    admin
        .registry
        .write()
        .register("refused", "Connections refused", refused.clone());
    refused.inc_by(7);

    let answer = admin.get("/metrics").await;

    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains(&format!("content-type: {OPENMETRICS}")),
        "{answer}"
    );
    assert!(answer.contains("refused_total 7\n"), "{answer}");
    assert!(answer.ends_with("# EOF\n"), "{answer}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_that_names_it() {
    let taken = bind(Some((Ipv4Addr::LOCALHOST, 0).into())).await.unwrap();
    let address = taken.local_addr().unwrap();

    let error = bind(Some(address)).await.unwrap_err();

    assert_eq!(error.to_string(), format!("admin server on {address}"));
    assert_eq!(error.reason(), "AddressUnavailable");
}

struct Admin {
    address: SocketAddr,
    readiness: Readiness,
    registry: Arc<RwLock<Registry>>,
}

impl Admin {
    async fn start() -> Self {
        let listener = bind(Some((Ipv4Addr::LOCALHOST, 0).into())).await.unwrap();
        let address = listener.local_addr().unwrap();
        let readiness = Readiness::default();
        let registry = Arc::new(RwLock::new(Registry::default()));
        tokio::spawn(serve(listener, readiness.clone(), Arc::clone(&registry)));
        Self {
            address,
            readiness,
            registry,
        }
    }

    async fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        time::timeout(Duration::from_secs(60), exchange)
            .await
            .unwrap()
    }
}
