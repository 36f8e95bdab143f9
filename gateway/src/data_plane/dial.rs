//! To an endpoint of this cluster: for another cluster's client, or for one here where the policy
//! has gateways split all traffic.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time;
use tombolo_link::{Connect, Refusal, RefusalReason};

use super::DataPlane;
use crate::affinity::Client;
use crate::endpoints::{InUse, NoEndpoint, Picked, Wish};
use crate::proxy_protocol;
use crate::service::Protocol;
use crate::splice;

/// A socket that is connected to an endpoint.
pub(super) trait Endpoint: Sized + Send {
    /// What it speaks.
    const PROTOCOL: Protocol;

    /// Connects. The endpoint is to read `header` first.
    fn dial(address: SocketAddr, header: &[u8]) -> impl Future<Output = io::Result<Self>> + Send;
}

// === impl TcpStream ===

impl Endpoint for TcpStream {
    const PROTOCOL: Protocol = Protocol::Tcp;

    async fn dial(address: SocketAddr, header: &[u8]) -> io::Result<Self> {
        let mut stream = Self::connect(address).await?;
        stream.write_all(header).await?;
        splice::prepare(&stream);
        Ok(stream)
    }
}

// === impl UdpSocket ===

/// It knows only one endpoint: the kernel keeps all others' packets from it.
impl Endpoint for UdpSocket {
    const PROTOCOL: Protocol = Protocol::Udp;

    // The PROXY protocol is TCP's.
    async fn dial(address: SocketAddr, _header: &[u8]) -> io::Result<Self> {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = Self::bind(any).await?;
        socket.connect(address).await?;
        Ok(socket)
    }
}

// === impl DataPlane ===

impl DataPlane {
    /// Connects a client of `cluster` to the first endpoint that answers.
    pub(super) async fn dial<E: Endpoint>(
        &self,
        cluster: &str,
        connect: &Connect,
    ) -> Result<(E, InUse), Refusal> {
        let mut failure = None;
        for Picked { address, load } in self.pick(cluster, connect, E::PROTOCOL)? {
            let in_use = load.hold();
            let begin = Instant::now();
            match self.dial_one(cluster, connect, address).await {
                Ok(endpoint) => {
                    // That a UDP socket has a peer says nothing of the peer.
                    if E::PROTOCOL == Protocol::Tcp {
                        let now = Instant::now();
                        load.answered(now, now.saturating_duration_since(begin));
                    }
                    return Ok((endpoint, in_use));
                }
                Err(error) => {
                    load.failed(Instant::now());
                    self.metrics.dial_failures.inc();
                    tracing::debug!(endpoint = %address, error, "dial failed");
                    failure = Some(error);
                }
            }
        }
        Err(refusal(
            RefusalReason::DialFailed,
            failure.unwrap_or_default(),
        ))
    }

    /// The endpoints to try, in order.
    fn pick(
        &self,
        cluster: &str,
        connect: &Connect,
        protocol: Protocol,
    ) -> Result<Vec<Picked>, Refusal> {
        let endpoints = self.snapshots.endpoints.load();
        let (service, port) = (&connect.service, connect.port);
        let address = connect.source.address;
        let picked = match &connect.endpoint {
            Some(id) => endpoints.pick_single(service, protocol, port, id),
            None => {
                let wish = Wish {
                    client: address.map(|address| Client::new(cluster, address.ip())),
                    affinity: connect.affinity,
                    selector: &connect.selector,
                    zone: &connect.zone,
                };
                endpoints.pick(service, protocol, port, &wish, Instant::now())
            }
        };
        picked.map_err(|error| refusal(reason(error), error))
    }

    async fn dial_one<E: Endpoint>(
        &self,
        cluster: &str,
        connect: &Connect,
        endpoint: SocketAddr,
    ) -> Result<E, String> {
        let dialling = async {
            let header = match E::PROTOCOL == Protocol::Tcp && self.is_announced(connect) {
                true => proxy_protocol::header(cluster, connect, endpoint)?,
                false => Vec::new(),
            };
            E::dial(endpoint, &header).await
        };
        match time::timeout(self.limits.dial, dialling).await {
            Ok(Ok(endpoint)) => Ok(endpoint),
            Ok(Err(error)) => Err(io::Error::to_string(&error)),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    /// Waits until the endpoint of a UDP flow has left its service. Often nobody else says so: where
    /// a pod was, packets go nowhere, and its address may be that of another service's pod next.
    pub(super) async fn has_left(&self, connect: &Connect, socket: &UdpSocket) {
        let Ok(endpoint) = socket.peer_addr() else {
            return;
        };
        let mut changes = self.snapshots.endpoints_changed.subscribe();
        let serves = || {
            let endpoints = self.snapshots.endpoints.load();
            endpoints.keeps_flow(&connect.service, connect.port, endpoint)
        };
        // The snapshots outlive this, so there is always a further change to wait for.
        while serves() && changes.changed().await.is_ok() {}
    }

    fn is_announced(&self, connect: &Connect) -> bool {
        let endpoints = self.snapshots.endpoints.load();
        endpoints.is_announced(&connect.service)
    }
}

pub(super) fn refusal(reason: RefusalReason, message: impl ToString) -> Refusal {
    Refusal::new(reason, message.to_string())
}

fn reason(error: NoEndpoint) -> RefusalReason {
    match error {
        NoEndpoint::NotExported => RefusalReason::NotExported,
        NoEndpoint::PortNotExported => RefusalReason::PortNotExported,
        NoEndpoint::NoReadyEndpoint => RefusalReason::NoReadyEndpoint,
        NoEndpoint::EndpointRefused => RefusalReason::EndpointRefused,
    }
}
