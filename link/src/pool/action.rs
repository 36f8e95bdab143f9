//! What a pool is told, and what it wants done.

use tombolo_link_wire::CloseCode;

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
    },
    /// Dial the replica of this connection once more, from the same port.
    DialBeside { dial: DialId, beside: ConnectionId },
    /// Use this connection.
    Keep(ConnectionId),
    /// Close this connection.
    Close(ConnectionId, CloseCode),
}

/// How a dial ended that brought no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialEnd {
    /// Nobody answered, or not the right one.
    Failed,
    /// A replica answered that takes no connections now: another port may lead to another one.
    TurnedAway,
}

/// How a connection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Dialled(DialId),
    Inbound,
}
