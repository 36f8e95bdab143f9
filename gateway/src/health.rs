//! The link's TCP port, which takes connections for as long as this replica is ready.
//!
//! Two kinds of callers come to it. Few load balancers can tell whether a UDP port is served; all of
//! them can try to connect. And peers come whose UDP is blocked: they go on with TLS, which tells
//! them apart.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time;
use tombolo_runtime::readiness::Readiness;

/// How often readiness is looked at.
const PERIOD: Duration = Duration::from_millis(500);
/// Accepting fails for want of a file, or an address is taken: no reason to try without a pause.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Takes connections at `address` while this program is ready, and hands them to `take`.
pub async fn serve(
    address: SocketAddr,
    readiness: Readiness,
    take: impl Fn(TcpStream, SocketAddr) + Send + Sync,
) {
    loop {
        until(&readiness, true).await;
        match TcpListener::bind(address).await {
            Ok(listener) => {
                tokio::select! {
                    () = until(&readiness, false) => {}
                    never = accept(&listener, &take) => match never {},
                }
            }
            Err(error) => {
                tracing::warn!(%address, %error, "no TCP port for links and health checks");
                time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

async fn until(readiness: &Readiness, ready: bool) {
    while readiness.held_back_by().await.is_empty() != ready {
        time::sleep(PERIOD).await;
    }
}

async fn accept(
    listener: &TcpListener,
    take: &(impl Fn(TcpStream, SocketAddr) + Send + Sync),
) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => take(stream, remote),
            Err(error) => {
                tracing::debug!(%error, "TCP port");
                time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_load_balancer_can_connect_while_the_gateway_is_ready() {
        let address = free_address();
        let readiness = Readiness::default();
        let gate = readiness.gate("ports");
        let (sender, mut taken) = mpsc::unbounded_channel();
        let take = move |_, remote| {
            let _ = sender.send(remote);
        };
        let serving = tokio::spawn(serve(address, readiness.clone(), take));
        assert_eq!(connect(address).await, Some(ErrorKind::ConnectionRefused));

        gate.open();
        eventually(address, None).await;
        assert!(taken.recv().await.is_some());

        readiness.drain();
        eventually(address, Some(ErrorKind::ConnectionRefused)).await;
        serving.abort();
    }

    fn free_address() -> SocketAddr {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap()
    }

    async fn eventually(address: SocketAddr, expected: Option<ErrorKind>) {
        while connect(address).await != expected {
            time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Why it is refused, if it is.
    async fn connect(address: SocketAddr) -> Option<ErrorKind> {
        let connected = TcpStream::connect(address).await;
        connected.err().map(|error| error.kind())
    }
}
