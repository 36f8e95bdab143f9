//! The ports on which clients are served: one for each port of each import.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time;
use tokio_util::sync::{CancellationToken, DropGuard};
use tombolo_runtime::tasks::Tasks;

use crate::import_socket::ImportSocket;
use crate::service::Protocol;

/// Connections that the kernel holds for us between two turns of the accept loop. The kernel cuts
/// it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Accepting fails for want of file descriptors or memory, which some close will give back.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// What is done with an accepted client: called on the data plane, must not block.
pub type Accept = Arc<dyn Fn(u16, TcpStream, SocketAddr) + Send + Sync>;
/// What serves the clients of a UDP port, until it is told to stop: called on the data plane, must
/// not block.
pub type Receive = Arc<dyn Fn(u16, ImportSocket, CancellationToken) + Send + Sync>;

/// Who serves the clients.
#[derive(Clone)]
pub struct Handlers {
    /// Those of TCP ports.
    pub accept: Accept,
    /// Those of UDP ports.
    pub receive: Receive,
}

/// The listeners, and the ports on which there should be one but is none.
pub struct Listeners {
    address: IpAddr,
    // Of UDP, whose replies come from the socket's address.
    own: Vec<IpAddr>,
    // Those of the data plane: connections are accepted where they are carried.
    tasks: Tasks,
    handlers: Handlers,
    open: HashMap<(Protocol, u16), DropGuard>,
    unavailable: BTreeSet<(Protocol, u16)>,
}

// === impl Listeners ===

impl Listeners {
    /// No listener yet. They will be on `address`, of both families if it is `::` and this host has
    /// both, and run in `tasks`. Those of UDP are on each of this pod's `own` addresses instead if
    /// `address` is any and they are known.
    #[must_use]
    pub fn new(address: IpAddr, own: Vec<IpAddr>, tasks: Tasks, handlers: Handlers) -> Self {
        let own = match address.is_unspecified() && !own.is_empty() {
            true => own,
            false => vec![address],
        };
        Self {
            address,
            own,
            tasks,
            handlers,
            open: HashMap::new(),
            unavailable: BTreeSet::new(),
        }
    }

    /// Opens what is missing, closes what is no longer wanted. Connections that were accepted
    /// before live on; UDP, which has none, ends with its port.
    ///
    /// Must be called within the runtime on which connections are carried.
    pub fn reconcile(&mut self, wanted: &BTreeSet<(Protocol, u16)>) {
        self.open.retain(|port, _| wanted.contains(port));
        self.unavailable.retain(|port| wanted.contains(port));
        for &(protocol, port) in wanted {
            if self.open.contains_key(&(protocol, port)) {
                continue;
            }
            match self.serve(protocol, port) {
                Ok(stop) => {
                    self.open.insert((protocol, port), stop);
                    self.unavailable.remove(&(protocol, port));
                }
                Err(error) => {
                    // Said once, not at every attempt.
                    if self.unavailable.insert((protocol, port)) {
                        tracing::warn!(%protocol, port, %error, "cannot listen");
                    }
                }
            }
        }
    }

    fn serve(&self, protocol: Protocol, port: u16) -> io::Result<DropGuard> {
        let address = SocketAddr::new(self.address, port);
        let stop = CancellationToken::new();
        match protocol {
            Protocol::Tcp => {
                let listener = bind(address, listen)?;
                let accept = Arc::clone(&self.handlers.accept);
                let accepting = accept_all(listener, port, accept, stop.clone());
                drop(self.tasks.spawn_service("listener", accepting));
            }
            Protocol::Udp => {
                let own = self.own.iter().map(|own| SocketAddr::new(*own, port));
                let sockets = own.map(|address| bind(address, ImportSocket::bind));
                // All or none: a replica is listed with a port in all families.
                for socket in sockets.collect::<io::Result<Vec<_>>>()? {
                    (self.handlers.receive)(port, socket, stop.clone());
                }
            }
            Protocol::Sctp => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(stop.drop_guard())
    }

    /// Ports on which another socket is in the way; [`Listeners::reconcile`] tries again.
    #[must_use]
    pub fn unavailable(&self) -> &BTreeSet<(Protocol, u16)> {
        &self.unavailable
    }

    /// How many ports are listened on.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether no port is listened on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

fn bind<T>(address: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match bind(address) {
        // A node may have IPv6 disabled.
        Err(error)
            if address.ip().is_unspecified()
                && address.is_ipv6()
                && error.kind() != io::ErrorKind::AddrInUse =>
        {
            bind((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        bound => bound,
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Or a port could not be had again while old connections of it are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept_all(listener: TcpListener, port: u16, accept: Accept, stop: CancellationToken) {
    loop {
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else {
            return;
        };
        match accepted {
            Ok((client, address)) => {
                let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                accept(port, client, address);
            }
            Err(error) => {
                tracing::debug!(port, %error, "cannot accept");
                time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;
    use tokio::runtime::Handle;
    use tokio::sync::mpsc;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn a_port_that_another_socket_has_is_told_and_tried_again() {
        let other = std::net::TcpListener::bind((HERE, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        let (accepted, mut accepts) = mpsc::unbounded_channel();
        let handlers = Handlers {
            accept: Arc::new(move |port, _, client| {
                accepted.send((port, client)).unwrap();
            }),
            ..idle()
        };
        let mut listeners =
            Listeners::new(HERE, Vec::new(), Tasks::new(Handle::current()), handlers);
        let wanted = BTreeSet::from([(Protocol::Tcp, port)]);

        listeners.reconcile(&wanted);
        assert_eq!(listeners.unavailable(), &wanted);
        assert!(listeners.is_empty());

        drop(other);
        listeners.reconcile(&wanted);
        assert!(listeners.unavailable().is_empty());
        let client = TcpStream::connect((HERE, port)).await.unwrap();
        assert_eq!(
            accepts.recv().await,
            Some((port, client.local_addr().unwrap()))
        );
    }

    #[tokio::test]
    async fn a_port_that_is_not_wanted_any_more_is_not_missed() {
        let other = std::net::TcpListener::bind((HERE, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        let mut listeners = Listeners::new(HERE, Vec::new(), Tasks::new(Handle::current()), idle());
        listeners.reconcile(&BTreeSet::from([(Protocol::Tcp, port)]));

        listeners.reconcile(&BTreeSet::new());

        assert!(listeners.unavailable().is_empty());
    }

    #[tokio::test]
    async fn a_udp_port_is_served_until_it_is_not_wanted() {
        let free = UdpSocket::bind((HERE, 0)).await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let (served, mut serves) = mpsc::unbounded_channel();
        let handlers = Handlers {
            receive: Arc::new(move |port, socket, stop| {
                served.send((port, socket, stop)).unwrap();
            }),
            ..idle()
        };
        let mut listeners =
            Listeners::new(HERE, Vec::new(), Tasks::new(Handle::current()), handlers);

        listeners.reconcile(&BTreeSet::from([(Protocol::Udp, port)]));
        let (number, socket, stop) = serves.recv().await.unwrap();
        assert_eq!(number, port);
        assert_eq!(socket.local_addr().unwrap().port(), port);
        assert!(!stop.is_cancelled());

        listeners.reconcile(&BTreeSet::new());
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn udp_is_served_on_each_address_of_the_pod() {
        let own: Vec<IpAddr> = vec!["127.7.7.8".parse().unwrap(), "::1".parse().unwrap()];
        let free = UdpSocket::bind(("::", 0)).await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let (served, mut serves) = mpsc::unbounded_channel();
        let handlers = Handlers {
            receive: Arc::new(move |_, socket, _| served.send(socket).unwrap()),
            ..idle()
        };
        let any = "::".parse().unwrap();
        let tasks = Tasks::new(Handle::current());
        let mut listeners = Listeners::new(any, own.clone(), tasks, handlers);

        listeners.reconcile(&BTreeSet::from([(Protocol::Udp, port)]));

        for address in own {
            let socket = serves.recv().await.unwrap();
            assert_eq!(socket.local_addr().unwrap(), (address, port).into());
        }
    }

    fn idle() -> Handlers {
        Handlers {
            accept: Arc::new(|_, _, _| {}),
            receive: Arc::new(|_, _, _| {}),
        }
    }
}
