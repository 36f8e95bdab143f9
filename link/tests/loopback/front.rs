//! A gateway's address as diallers see it from far away: UDP that may be blocked, and TCP at the same
//! port, whose connections may be cut.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tombolo_link::Links;

use crate::relay::Relay;

pub(crate) struct Front {
    relay: Relay,
    gateway: SocketAddr,
    cuts: Arc<Mutex<Vec<AbortHandle>>>,
    _tasks: JoinSet<()>,
}

impl Front {
    /// Where UDP is blocked.
    pub(crate) async fn blocked(links: &Links) -> Self {
        let front = Self::new(links).await;
        front.relay.silence(front.gateway);
        front
    }

    pub(crate) async fn new(links: &Links) -> Self {
        let gateway = links.local_addr();
        let (relay, listener) = loop {
            let relay = Relay::new(vec![gateway]).await;
            // Another test may have the port for TCP.
            if let Ok(listener) = TcpListener::bind(relay.address()).await {
                break (relay, listener);
            }
        };
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = inner.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(inner, links.clone()));
        let cuts = Arc::<Mutex<Vec<AbortHandle>>>::default();
        let noted = Arc::clone(&cuts);
        tasks.spawn(async move {
            let mut carried = JoinSet::new();
            loop {
                let (mut here, _) = listener.accept().await.unwrap();
                let carry = carried.spawn(async move {
                    let mut there = TcpStream::connect(behind).await.unwrap();
                    // How it ends is the ends' business.
                    let _ = copy_bidirectional(&mut here, &mut there).await;
                });
                noted.lock().push(carry);
            }
        });
        Self {
            relay,
            gateway,
            cuts,
            _tasks: tasks,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.relay.address()
    }

    pub(crate) fn block_udp(&self) {
        self.relay.silence(self.gateway);
    }

    pub(crate) fn unblock_udp(&self) {
        self.relay.hear(self.gateway);
    }

    /// Ends all TCP connections as they are.
    pub(crate) fn cut_tcp(&self) {
        for connection in self.cuts.lock().drain(..) {
            connection.abort();
        }
    }
}

/// Hands the connections of a port to a gateway, as the program does.
pub(crate) async fn serve(listener: TcpListener, links: Links) {
    loop {
        let (stream, remote) = listener.accept().await.unwrap();
        links.accept_tcp(stream, remote);
    }
}
