//! One peer: the handle that everybody shares. What happens is up to its [task](PeerTask).

mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::VarInt;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tombolo_link_wire::CloseCode;

use self::task::PeerTask;
use crate::connection::{Connection, ConnectionEvent, Established};
use crate::dial::DialError;
use crate::headcounts::{self, Told};
use crate::local::Local;
use crate::pool::{ConnectionId, DialId};

pub(crate) type Active = Arc<[Arc<Connection>]>;

/// The handle to a peer's task.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) cluster: Arc<str>,
    pub(crate) active: watch::Receiver<Active>,
    /// Cancelled when the peer is removed.
    pub(crate) removed: CancellationToken,
    /// What it told of its endpoints.
    pub(crate) headcounts: Told,
    /// How many tunnels the peer has dialled.
    pub(crate) tunnels: Arc<AtomicUsize>,
    /// Which of equally good connections is next.
    pub(crate) rotation: AtomicUsize,
    // Unbounded, since what sends is bounded: connections and dials.
    commands: mpsc::UnboundedSender<Command>,
}

#[derive(Debug)]
enum Command {
    SetAddresses(Vec<String>),
    TrustChanged,
    DialEnded(DialId, Box<Result<Established, DialError>>),
    Inbound(Box<Established>),
    Connection(ConnectionId, ConnectionEvent),
}

// === impl Peer ===

impl Peer {
    /// Starts the task of a peer.
    pub(crate) fn start(local: &Arc<Local>, cluster: &str, addresses: Vec<String>) -> Arc<Self> {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (active_sender, active) = watch::channel(Active::default());
        let removed = CancellationToken::new();
        let cluster: Arc<str> = cluster.into();
        let task = PeerTask::new(
            Arc::clone(local),
            Arc::clone(&cluster),
            active_sender,
            commands.clone(),
            removed.clone(),
        );
        local.spawn(task.run(inbox));
        let peer = Self {
            cluster,
            active,
            removed,
            headcounts: Told::default(),
            tunnels: Arc::default(),
            rotation: AtomicUsize::new(0),
            commands,
        };
        peer.set_addresses(addresses);
        let peer = Arc::new(peer);
        local.spawn(headcounts::follow(Arc::clone(local), Arc::clone(&peer)));
        peer
    }

    pub(crate) fn set_addresses(&self, addresses: Vec<String>) {
        self.send(Command::SetAddresses(addresses));
    }

    pub(crate) fn trust_changed(&self) {
        self.send(Command::TrustChanged);
    }

    pub(crate) fn add_inbound(&self, established: Established) {
        self.send(Command::Inbound(Box::new(established)));
    }

    /// The usable connection with the fewest streams of which `excluded` is not true; of several,
    /// one after the other. One that may be dead comes last, and one over TCP after those over UDP.
    pub(crate) fn pick(&self, excluded: impl Fn(&Connection) -> bool) -> Option<Arc<Connection>> {
        let active = Arc::clone(&self.active.borrow());
        let turn = self.rotation.fetch_add(1, Ordering::Relaxed);
        let count = active.len();
        (0..count)
            .map(|offset| &active[(turn.wrapping_add(offset)) % count])
            .filter(|connection| !excluded(connection))
            .min_by_key(|connection| {
                let suspect = connection.is_suspect();
                (suspect, connection.carrier(), connection.load())
            })
            .cloned()
    }

    fn send(&self, command: Command) {
        // The task has ended only if the peer was removed, or all is closed.
        if let Err(error) = self.commands.send(command) {
            refuse_late(error.0, CloseCode::PeerRemoved);
        }
    }
}

/// Closes a connection that came when there was nobody left to take it.
fn refuse_late(command: Command, code: CloseCode) {
    match command {
        Command::Inbound(established) => close(&established.quic, code),
        Command::DialEnded(_, ended) => {
            if let Ok(established) = *ended {
                close(&established.quic, code);
            }
        }
        Command::SetAddresses(_) | Command::TrustChanged | Command::Connection(..) => {}
    }
}

fn close(quic: &quinn::Connection, code: CloseCode) {
    quic.close(VarInt::from_u32(code.code()), b"");
}
