//! A UDP load balancer: it chooses a backend by the dialler's address and port, as kube-proxy and
//! cloud load balancers do, and can be told to misbehave.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

pub(crate) struct Relay {
    address: SocketAddr,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

struct State {
    front: UdpSocket,
    backends: Vec<SocketAddr>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    silent: HashSet<SocketAddr>,
    flows: HashMap<SocketAddr, Arc<UdpSocket>>,
    recorded: Vec<(SocketAddr, Vec<u8>)>,
}

impl Relay {
    pub(crate) async fn new(backends: Vec<SocketAddr>) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = front.local_addr().unwrap();
        let state = Arc::new(State {
            front,
            backends,
            inner: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&state).run());
        Self {
            address,
            state,
            _tasks: tasks,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing comes through to `backend` or from it.
    pub(crate) fn silence(&self, backend: SocketAddr) {
        self.state.lock().silent.insert(backend);
    }

    /// From now on it does again.
    pub(crate) fn hear(&self, backend: SocketAddr) {
        self.state.lock().silent.remove(&backend);
    }

    /// Sends everything that diallers have sent so far once more, from other ports. Returns how
    /// many datagrams that were.
    pub(crate) async fn replay(&self) -> usize {
        let recorded = self.state.lock().recorded.clone();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for (backend, datagram) in &recorded {
            socket.send_to(datagram, backend).await.unwrap();
        }
        recorded.len()
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    async fn run(self: Arc<Self>) {
        let mut back = JoinSet::new();
        let mut buffer = vec![0; 65_536];
        loop {
            let Ok((length, dialler)) = self.front.recv_from(&mut buffer).await else {
                continue;
            };
            let backend = self.backend_of(dialler);
            let flow = self.lock().flows.get(&dialler).cloned();
            let flow = match flow {
                Some(flow) => flow,
                None => {
                    let flow = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                    self.lock().flows.insert(dialler, Arc::clone(&flow));
                    back.spawn(Arc::clone(&self).run_back(dialler, backend, Arc::clone(&flow)));
                    flow
                }
            };
            let datagram = &buffer[..length];
            let silent = {
                let mut inner = self.lock();
                inner.recorded.push((backend, datagram.to_vec()));
                inner.silent.contains(&backend)
            };
            if !silent {
                // A backend that is gone answers with ICMP.
                let _ = flow.send_to(datagram, backend).await;
            }
        }
    }

    async fn run_back(
        self: Arc<Self>,
        dialler: SocketAddr,
        backend: SocketAddr,
        flow: Arc<UdpSocket>,
    ) {
        let mut buffer = vec![0; 65_536];
        loop {
            let Ok((length, _)) = flow.recv_from(&mut buffer).await else {
                continue;
            };
            if !self.lock().silent.contains(&backend) {
                let _ = self.front.send_to(&buffer[..length], dialler).await;
            }
        }
    }

    fn backend_of(&self, dialler: SocketAddr) -> SocketAddr {
        // Fibonacci hashing: the kernel's choice of ports need not be random in the lowest bits.
        let hash = u32::from(dialler.port()).wrapping_mul(2_654_435_769) >> 16;
        self.backends[hash as usize % self.backends.len()]
    }
}
