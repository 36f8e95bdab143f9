//! The task of a peer: it owns the peer's [`Pool`], does what the pool says, and tells what is
//! usable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tombolo_link_wire::CloseCode;

use super::{Active, Command, close, refuse_late};
use crate::connection::{Connection, ConnectionEvent, Established};
use crate::counts::Event;
use crate::dial::{DialError, dial, dial_beside, dial_tunnel};
use crate::flows;
use crate::incoming::accept_streams;
use crate::local::Local;
use crate::pool::{Action, Arrival, ConnectionId, DialEnd, DialId, Origin, Pool};
use crate::status::{Carrier, LinkFault, PeerLink, ReplicaLink};

/// What a peer's task holds.
pub(super) struct PeerTask {
    local: Arc<Local>,
    cluster: Arc<str>,
    pool: Pool,
    /// Connections of which the pool has not decided yet.
    arrived: BTreeMap<ConnectionId, Established>,
    connections: BTreeMap<ConnectionId, Arc<Connection>>,
    next_id: u64,
    active: watch::Sender<Active>,
    commands: mpsc::UnboundedSender<Command>,
    removed: CancellationToken,
    link: PeerLink,
    /// What went wrong last, over TCP apart.
    fault: Option<LinkFault>,
    tcp_fault: Option<String>,
    /// Since when nobody has answered over UDP, by both clocks.
    unanswered: Option<(Instant, SystemTime)>,
}

// === impl PeerTask ===

impl PeerTask {
    pub(super) fn new(
        local: Arc<Local>,
        cluster: Arc<str>,
        active: watch::Sender<Active>,
        commands: mpsc::UnboundedSender<Command>,
        removed: CancellationToken,
    ) -> Self {
        let per_replica = local.config.connections_per_replica;
        let fallback = local.config.tcp_fallback;
        Self {
            local,
            cluster,
            pool: Pool::new(per_replica, fallback, rand::random()),
            arrived: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_id: 0,
            active,
            commands,
            removed,
            link: PeerLink::default(),
            fault: None,
            tcp_fault: None,
            unanswered: None,
        }
    }

    /// Runs until the peer is removed or everything is closed.
    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        let local = Arc::clone(&self.local);
        let removed = self.removed.clone();
        let mut told_drain = false;
        let code = loop {
            while let Some(action) = self.pool.poll_action() {
                self.perform(action);
            }
            let timeout = self.pool.poll_timeout().map(|(at, _)| at.into());
            tokio::select! {
                biased;
                () = local.closed.cancelled() => break CloseCode::Shutdown,
                () = removed.cancelled() => break CloseCode::PeerRemoved,
                () = local.draining.cancelled(), if !told_drain => {
                    told_drain = true;
                    self.pool.handle_drain();
                }
                Some(command) = inbox.recv() => self.handle(command),
                () = sleep_until(timeout) => self.pool.handle_timeout(Instant::now()),
            }
        };
        for connection in self.connections.values() {
            connection.close(code);
        }
        // A dial may have ended in the meantime.
        inbox.close();
        while let Ok(command) = inbox.try_recv() {
            refuse_late(command, code);
        }
        self.active.send_replace(Active::default());
        // A peer of the same ID may have been added since: then the entry is its.
        let peers = self.local.peers.read();
        if !peers.contains_key(&*self.cluster) {
            self.local.status.send_modify(|status| {
                Arc::make_mut(status).remove(&*self.cluster);
            });
        }
    }

    fn handle(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::SetAddresses(addresses) => {
                self.pool.handle_addresses(now, &addresses);
                self.link.dialable = !addresses.is_empty();
                self.publish();
            }
            Command::TrustChanged => self.verify_again(),
            Command::DialEnded(dial, ended) => match *ended {
                Ok(established) => self.arrive(established, Origin::Dialled(dial)),
                Err(error) => {
                    let carrier = self.pool.carrier_of(dial);
                    let event = match carrier {
                        Carrier::Udp => Event::Dial,
                        Carrier::Tcp => Event::TunnelDial,
                    };
                    self.local.counts.add(event, error.reason());
                    tracing::debug!(cluster = %self.cluster, reason = error.reason(), %error, "dial");
                    match carrier {
                        Carrier::Udp => self.note(error.fault()),
                        Carrier::Tcp => self.note_of_tcp(error.to_string()),
                    }
                    self.pool.handle_dial_ended(now, dial, error.end());
                    self.publish();
                }
            },
            Command::Inbound(established) => self.arrive(*established, Origin::Inbound),
            Command::Connection(id, ConnectionEvent::GoingAway) => {
                self.pool.handle_going_away(now, id);
                self.publish();
            }
            Command::Connection(id, ConnectionEvent::Ended(ended)) => {
                self.pool.handle_closed(now, id);
                let Some(connection) = self.connections.remove(&id) else {
                    return;
                };
                self.local.counts.add(Event::ConnectionClosed, ended.reason);
                tracing::debug!(
                    cluster = %self.cluster,
                    replica = %connection.replica,
                    reason = ended.reason,
                    message = ended.message,
                    "connection ended"
                );
                self.publish();
                self.note(ended.fault());
            }
        }
    }

    fn arrive(&mut self, established: Established, origin: Origin) {
        let carrier = Carrier::of(established.tunnel.as_deref());
        let event = match (origin, carrier) {
            (Origin::Dialled(_), Carrier::Udp) => Event::Dial,
            (Origin::Dialled(_), Carrier::Tcp) => Event::TunnelDial,
            (Origin::Inbound, _) => Event::Accept,
        };
        // The bundle may have changed since the handshake began.
        if let Err(error) = established
            .credentials
            .verify(&self.local.trust, &self.cluster)
        {
            self.local.counts.add(event, error.reason());
            close(&established.quic, CloseCode::TrustChanged);
            if let Origin::Dialled(dial) = origin {
                self.pool
                    .handle_dial_ended(Instant::now(), dial, DialEnd::Failed);
            }
            return;
        }
        self.local.counts.add(event, "Connected");
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        let arrival = Arrival {
            replica: established.hello.replica.as_str().into(),
            siblings: established.hello.siblings,
            origin,
            carrier,
        };
        self.arrived.insert(id, established);
        self.pool.handle_connected(Instant::now(), id, arrival);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Dial {
                dial,
                address,
                attempt,
                carrier,
            } => self.dial(dial, address, attempt, carrier),
            Action::DialBeside { dial, beside } => self.dial_beside(dial, beside),
            Action::Keep(id) => {
                if let Some(established) = self.arrived.remove(&id) {
                    self.keep(id, established);
                }
            }
            Action::Retire(id) => {
                if let Some(connection) = self.connections.get(&id) {
                    connection.retire();
                }
            }
            Action::Close(id, code) => {
                if let Some(established) = self.arrived.remove(&id) {
                    close(&established.quic, code);
                }
                if let Some(connection) = self.connections.get(&id) {
                    connection.close(code);
                }
            }
        }
    }

    fn dial(&self, id: DialId, address: String, attempt: u32, carrier: Carrier) {
        let local = Arc::clone(&self.local);
        let cluster = Arc::clone(&self.cluster);
        self.spawn_dial(id, async move {
            match carrier {
                Carrier::Udp => dial(&local, &cluster, &address, attempt).await,
                Carrier::Tcp => dial_tunnel(&local, &cluster, &address, attempt).await,
            }
        });
    }

    fn dial_beside(&mut self, id: DialId, beside: ConnectionId) {
        let Some(connection) = self.connections.get(&beside).cloned() else {
            let now = Instant::now();
            self.pool.handle_dial_ended(now, id, DialEnd::Failed);
            return;
        };
        let local = Arc::clone(&self.local);
        self.spawn_dial(id, async move { dial_beside(&local, &connection).await });
    }

    fn spawn_dial(
        &self,
        id: DialId,
        dial: impl Future<Output = Result<Established, DialError>> + Send + 'static,
    ) {
        let closed = self.local.closed.clone();
        let commands = self.commands.clone();
        let removed = self.removed.clone();
        self.local.spawn(async move {
            let ended = tokio::select! {
                biased;
                () = closed.cancelled() => return,
                () = removed.cancelled() => return,
                ended = dial => ended,
            };
            let command = Command::DialEnded(id, Box::new(ended));
            if let Err(error) = commands.send(command) {
                refuse_late(error.0, CloseCode::PeerRemoved);
            }
        });
    }

    fn keep(&mut self, id: ConnectionId, established: Established) {
        self.link.incarnation = Some(established.hello.incarnation.clone());
        let (connection, control) = Connection::new(id, Arc::clone(&self.cluster), established);
        tracing::debug!(
            cluster = %self.cluster,
            replica = %connection.replica,
            dialled = connection.credentials.dialled_by_this_side(),
            carrier = connection.carrier().as_str(),
            remote = %connection.quic.remote_address(),
            "connection"
        );
        self.connections.insert(id, Arc::clone(&connection));
        let commands = self.commands.clone();
        let draining = self.local.draining.clone();
        let not_after = connection.credentials.not_after();
        let expiry = self.local.expiry(not_after);
        let controlled = Arc::clone(&connection);
        let hearing = self.local.unreachable.hearing();
        self.local.spawn(async move {
            let emit = |event| {
                // As in `Peer::send`.
                let _ = commands.send(Command::Connection(id, event));
            };
            controlled
                .run_control(control, hearing, draining, expiry, emit)
                .await;
        });
        let local = Arc::clone(&self.local);
        self.local
            .spawn(flows::receive(local, Arc::clone(&connection)));
        let local = Arc::clone(&self.local);
        self.local.spawn(accept_streams(local, connection));
        self.publish();
    }

    fn verify_again(&self) {
        for connection in self.connections.values() {
            let verdict = connection
                .credentials
                .verify(&self.local.trust, &self.cluster);
            if let Err(error) = verdict {
                tracing::info!(
                    cluster = %self.cluster,
                    replica = %connection.replica,
                    %error,
                    "the peer's CA bundle changed: connection closed"
                );
                connection.close(CloseCode::TrustChanged);
            }
        }
    }

    /// Remembers why there is no connection.
    fn note(&mut self, fault: LinkFault) {
        self.fault = Some(fault);
        self.tell_fault();
    }

    /// Remembers why there is none over TCP either.
    fn note_of_tcp(&mut self, message: String) {
        self.tcp_fault = Some(message);
        self.tell_fault();
    }

    /// Both together: told in turn, each would be news again and again.
    fn tell_fault(&mut self) {
        let Some(LinkFault { reason, message }) = self.fault.clone() else {
            return;
        };
        let message = match &self.tcp_fault {
            Some(over_tcp) => format!("{message}; over TCP: {over_tcp}"),
            None => message,
        };
        let fault = LinkFault { reason, message };
        if self.link.replicas.is_empty() && self.link.last_error.as_ref() != Some(&fault) {
            self.link.last_error = Some(fault);
            self.publish();
        }
    }

    /// By the clock on the wall, which is read once: a change of it is no news.
    fn unanswered_since(&mut self) -> Option<SystemTime> {
        let since = self.pool.unanswered_since()?;
        match self.unanswered {
            Some((known, at)) if known == since => Some(at),
            Some(_) | None => {
                let at = SystemTime::now() - since.elapsed();
                self.unanswered = Some((since, at));
                Some(at)
            }
        }
    }

    /// Tells everyone what is usable now.
    fn publish(&mut self) {
        let usable = self
            .connections
            .values()
            .filter(|connection| connection.is_usable());
        let active: Active = usable.cloned().collect();
        let mut replicas: BTreeMap<String, ReplicaLink> = BTreeMap::new();
        for connection in active.iter() {
            let link = replicas
                .entry(connection.replica.to_string())
                .or_insert(ReplicaLink {
                    connections: 0,
                    carrier: Carrier::Tcp,
                    protocol_version: connection.hello.protocol_version,
                    merge_version: connection.hello.merge_version,
                });
            link.connections += 1;
            link.carrier = link.carrier.min(connection.carrier());
        }
        let was_over_tcp = self.link.is_over_tcp();
        self.link.unanswered_since = self.unanswered_since();
        match (self.link.replicas.is_empty(), replicas.is_empty()) {
            (true, false) => tracing::info!(cluster = %self.cluster, "linked"),
            (false, true) => tracing::info!(cluster = %self.cluster, "not linked any longer"),
            (true, true) | (false, false) => {}
        }
        self.link.replicas = replicas;
        match (was_over_tcp, self.link.is_over_tcp()) {
            (false, true) => tracing::warn!(
                cluster = %self.cluster,
                "over TCP: nobody answers over UDP, which is tried again and again"
            ),
            (true, false) if self.link.is_connected() => {
                tracing::info!(cluster = %self.cluster, "over UDP again");
            }
            (true | false, _) => {}
        }
        if self.link.is_connected() {
            self.link.last_error = None;
            self.fault = None;
            self.tcp_fault = None;
        }
        self.active.send_replace(active);
        self.local.status.send_if_modified(|status| {
            let unchanged = status.get(&*self.cluster) == Some(&self.link);
            if !unchanged {
                Arc::make_mut(status).insert(self.cluster.to_string(), self.link.clone());
            }
            !unchanged
        });
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
