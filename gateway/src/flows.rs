//! UDP flows: when one is over, and which one gives way to another.
//!
//! UDP has no beginning and no end. A flow begins with a packet of a client that has none, and is
//! over when nothing was seen of it for a while. How many there are is up to whoever sends packets,
//! so their number is bounded, for each client and in all; at a bound, the flow that has been idle
//! for longest makes room, always one of the client that has the most.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time-outs as Linux' connection tracking has them, by which kube-proxy leads packets here: a flow
/// that lives as long as its entry there neither takes memory in vain nor loses its endpoint early.
const IDLE: Duration = Duration::from_secs(30);
const IDLE_STREAM: Duration = Duration::from_secs(120);
/// A flow that is answered for longer than this is more than a question and an answer.
const STREAM_AFTER: Duration = Duration::from_secs(2);

/// How many flows there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// Of one client address.
    pub per_client: usize,
    /// In all.
    pub in_all: usize,
}

/// What tells the flows of clients apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// The gateway port, which stands for a port of an import.
    pub port: u16,
    /// The client's address and port.
    pub client: SocketAddr,
}

/// What was seen of a flow, and when; shared by all who carry its payloads.
#[derive(Debug)]
pub struct Activity {
    began: Instant,
    /// Milliseconds after `began`.
    last: AtomicU64,
    is_stream: AtomicBool,
}

/// The flows of the clients here.
#[derive(Debug)]
pub struct FlowTable<T> {
    limits: FlowLimits,
    flows: HashMap<FlowKey, Entry<T>>,
    clients: HashMap<IpAddr, HashSet<FlowKey>>,
}

#[derive(Debug)]
struct Entry<T> {
    flow: Arc<T>,
    activity: Arc<Activity>,
}

// === impl FlowLimits ===

impl Default for FlowLimits {
    fn default() -> Self {
        Self {
            // Each has a stream, of which a connection has 16,384.
            in_all: 8192,
            per_client: 1024,
        }
    }
}

// === impl Activity ===

impl Activity {
    /// Of a flow that begins now.
    #[must_use]
    pub fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self {
            began: now,
            last: AtomicU64::new(0),
            is_stream: AtomicBool::new(false),
        })
    }

    /// Its client sent something.
    pub fn handle_request(&self, now: Instant) {
        let age = now.saturating_duration_since(self.began);
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        // Not a maximum: the threads that tell the time differ by less than it matters.
        self.last.store(age, Ordering::Relaxed);
    }

    /// Its server sent something.
    pub fn handle_reply(&self, now: Instant) {
        self.handle_request(now);
        if now.saturating_duration_since(self.began) > STREAM_AFTER {
            self.is_stream.store(true, Ordering::Relaxed);
        }
    }

    /// When it is over if nothing more is seen of it.
    #[must_use]
    pub fn expires(&self) -> Instant {
        let idle = match self.is_stream.load(Ordering::Relaxed) {
            true => IDLE_STREAM,
            false => IDLE,
        };
        self.last_seen() + idle
    }

    fn last_seen(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

// === impl FlowTable ===

impl<T> FlowTable<T> {
    /// No flow yet.
    #[must_use]
    pub fn new(limits: FlowLimits) -> Self {
        Self {
            limits,
            flows: HashMap::new(),
            clients: HashMap::new(),
        }
    }

    /// The flow of a client's packet.
    #[must_use]
    pub fn get(&self, key: &FlowKey) -> Option<&Arc<T>> {
        self.flows.get(key).map(|entry| &entry.flow)
    }

    /// A flow begins. Returns the one that has to make room for it.
    pub fn insert(
        &mut self,
        key: FlowKey,
        flow: Arc<T>,
        activity: Arc<Activity>,
    ) -> Option<Arc<T>> {
        let evicted = self.crowded(key.client.ip()).and_then(|client| {
            let idlest = self.idlest(client)?;
            self.take(&idlest)
        });
        self.clients.entry(key.client.ip()).or_default().insert(key);
        self.flows.insert(key, Entry { flow, activity });
        evicted
    }

    /// A flow is over. Nothing happens if its place is another's by now.
    pub fn remove(&mut self, key: &FlowKey, flow: &Arc<T>) {
        if self
            .get(key)
            .is_some_and(|present| Arc::ptr_eq(present, flow))
        {
            self.take(key);
        }
    }

    /// Clients are no longer served on `port`: the flows that this ends.
    pub fn remove_port(&mut self, port: u16) -> Vec<Arc<T>> {
        let keys = self.flows.keys().filter(|key| key.port == port);
        let keys: Vec<_> = keys.copied().collect();
        keys.iter().filter_map(|key| self.take(key)).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// The client that has to give up a flow before `newcomer` gets another one.
    fn crowded(&self, newcomer: IpAddr) -> Option<IpAddr> {
        let own = self.clients.get(&newcomer).map_or(0, HashSet::len);
        if own >= self.limits.per_client {
            return Some(newcomer);
        }
        if self.flows.len() < self.limits.in_all {
            return None;
        }
        let most = self.clients.iter().max_by_key(|(_, keys)| keys.len());
        most.map(|(client, _)| *client)
    }

    fn idlest(&self, client: IpAddr) -> Option<FlowKey> {
        let keys = self.clients.get(&client)?.iter();
        keys.min_by_key(|key| self.flows[key].activity.last_seen())
            .copied()
    }

    fn take(&mut self, key: &FlowKey) -> Option<Arc<T>> {
        let entry = self.flows.remove(key)?;
        if let Some(keys) = self.clients.get_mut(&key.client.ip()) {
            keys.remove(key);
            if keys.is_empty() {
                self.clients.remove(&key.client.ip());
            }
        }
        Some(entry.flow)
    }
}

#[cfg(test)]
mod tests;
