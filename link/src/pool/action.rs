//! What a pool is told, and what it wants done.

use std::sync::Arc;

use tombolo_link_wire::CloseCode;

use crate::status::Carrier;

/// A connection, within one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// A dial, within one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DialId(pub(crate) u64);

/// What the pool wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Dial `address`; of the IP addresses that it resolves to, number `attempt` modulo their
    /// count.
    Dial {
        dial: DialId,
        address: String,
        attempt: u32,
        carrier: Carrier,
    },
    /// Dial the replica of this connection once more, from the same port.
    DialBeside { dial: DialId, beside: ConnectionId },
    /// Use this connection.
    Keep(ConnectionId),
    /// Open nothing new through this connection, and close it after its last stream.
    Retire(ConnectionId),
    /// Close this connection.
    Close(ConnectionId, CloseCode),
}

/// How a dial ended that brought no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialEnd {
    /// It was not the right one, or there was nobody to dial.
    Failed,
    /// Nobody answered.
    Unanswered,
    /// A replica answered that takes no connections now: another port may lead to another one.
    TurnedAway,
}

/// A connection on which both sides have said who they are.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) replica: Arc<str>,
    /// How many replicas the peer has, by its own word; 0 if it does not know.
    pub(crate) siblings: u32,
    pub(crate) origin: Origin,
    pub(crate) carrier: Carrier,
}

/// How a connection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Dialled(DialId),
    Inbound,
}
