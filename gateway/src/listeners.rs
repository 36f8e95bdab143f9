//! The TCP ports on which clients are accepted: one for each port of each import.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time;
use tokio_util::sync::{CancellationToken, DropGuard};
use tombolo_runtime::tasks::Tasks;

/// Connections that the kernel holds for us between two turns of the accept loop. The kernel cuts
/// it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Accepting fails for want of file descriptors or memory, which some close will give back.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// What is done with an accepted client: called on the data plane, must not block.
pub type Accept = Arc<dyn Fn(u16, TcpStream, SocketAddr) + Send + Sync>;

/// The listeners, and the ports on which there should be one but is none.
pub struct Listeners {
    address: IpAddr,
    // Those of the data plane: connections are accepted where they are carried.
    tasks: Tasks,
    accept: Accept,
    open: HashMap<u16, DropGuard>,
    unavailable: BTreeSet<u16>,
}

// === impl Listeners ===

impl Listeners {
    /// No listener yet. They will be on `address`, of both families if it is `::` and this host has
    /// both, and run in `tasks`.
    #[must_use]
    pub fn new(address: IpAddr, tasks: Tasks, accept: Accept) -> Self {
        Self {
            address,
            tasks,
            accept,
            open: HashMap::new(),
            unavailable: BTreeSet::new(),
        }
    }

    /// Opens what is missing, closes what is no longer wanted. Connections that were accepted
    /// before live on.
    ///
    /// Must be called within the runtime on which connections are carried.
    pub fn reconcile(&mut self, wanted: &BTreeSet<u16>) {
        self.open.retain(|port, _| wanted.contains(port));
        self.unavailable.retain(|port| wanted.contains(port));
        for port in wanted {
            if self.open.contains_key(port) {
                continue;
            }
            match bind(SocketAddr::new(self.address, *port)) {
                Ok(listener) => {
                    let stop = CancellationToken::new();
                    let accepting = accept(listener, *port, Arc::clone(&self.accept), stop.clone());
                    drop(self.tasks.spawn_service("listener", accepting));
                    self.open.insert(*port, stop.drop_guard());
                    self.unavailable.remove(port);
                }
                Err(error) => {
                    // Said once, not at every attempt.
                    if self.unavailable.insert(*port) {
                        tracing::warn!(port, %error, "cannot listen");
                    }
                }
            }
        }
    }

    /// Ports on which another socket is in the way; [`Listeners::reconcile`] tries again.
    #[must_use]
    pub fn unavailable(&self) -> &BTreeSet<u16> {
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

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match listen(address) {
        // A node may have IPv6 disabled.
        Err(error)
            if address.ip().is_unspecified()
                && address.is_ipv6()
                && error.kind() != io::ErrorKind::AddrInUse =>
        {
            listen((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        bound => bound,
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
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

async fn accept(listener: TcpListener, port: u16, accept: Accept, stop: CancellationToken) {
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
    use tokio::runtime::Handle;
    use tokio::sync::mpsc;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn a_port_that_another_socket_has_is_told_and_tried_again() {
        let other = std::net::TcpListener::bind((HERE, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        let (accepted, mut accepts) = mpsc::unbounded_channel();
        let accept: Accept = Arc::new(move |port, _, client| {
            accepted.send((port, client)).unwrap();
        });
        let mut listeners = Listeners::new(HERE, Tasks::new(Handle::current()), accept);

        listeners.reconcile(&BTreeSet::from([port]));
        assert_eq!(listeners.unavailable(), &BTreeSet::from([port]));
        assert!(listeners.is_empty());

        drop(other);
        listeners.reconcile(&BTreeSet::from([port]));
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
        let accept: Accept = Arc::new(|_, _, _| {});
        let mut listeners = Listeners::new(HERE, Tasks::new(Handle::current()), accept);
        listeners.reconcile(&BTreeSet::from([port]));

        listeners.reconcile(&BTreeSet::new());

        assert!(listeners.unavailable().is_empty());
    }
}
