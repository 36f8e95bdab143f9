//! Which flow of a connection a datagram is for.
//!
//! Nothing is queued here: a payload is handed on while it is read, or dropped. What waits are
//! quinn's own buffers, which are bounded for each connection, so no peer makes this side hold
//! more, however many flows it opens.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::task::coop;
use tombolo_link_wire::{FlowDatagram, FlowId};

use crate::connection::Connection;
use crate::counts::Event;
use crate::local::Local;

/// What is done with a payload that arrives for a flow: called where all datagrams of a connection
/// are read, so it must not block.
pub type Deliver = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// The flows of one connection, of both directions.
#[derive(Default)]
pub(crate) struct Flows(RwLock<HashMap<FlowId, Deliver>>);

/// A flow's place in [`Flows`].
#[derive(Debug)]
pub(crate) struct Registration {
    flows: Arc<Flows>,
    flow: FlowId,
}

// === impl Flows ===

impl Flows {
    /// From now on, payloads of `flow` go to `deliver`.
    pub(crate) fn register(self: &Arc<Self>, flow: FlowId, deliver: Deliver) -> Registration {
        self.0.write().insert(flow, deliver);
        Registration {
            flows: Arc::clone(self),
            flow,
        }
    }

    fn get(&self, flow: FlowId) -> Option<Deliver> {
        self.0.read().get(&flow).cloned()
    }
}

impl fmt::Debug for Flows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.read().keys()).finish()
    }
}

// === impl Registration ===

impl Drop for Registration {
    fn drop(&mut self) {
        self.flows.0.write().remove(&self.flow);
    }
}

/// Hands on the datagrams of a connection until it ends.
pub(crate) async fn receive(local: Arc<Local>, connection: Arc<Connection>) {
    while let Ok(datagram) = connection.quic.read_datagram().await {
        match FlowDatagram::decode(datagram) {
            Ok(FlowDatagram { flow, payload }) => match connection.flows.get(flow) {
                Some(deliver) => deliver(&payload),
                // It has ended here, and the other side has not heard of that yet.
                None => local.counts.add(Event::StrayPayload, "UnknownFlow"),
            },
            Err(error) => local.counts.add(Event::StrayPayload, error.reason()),
        }
        // A flood of them is always ready, and must not keep its thread from everything else.
        coop::consume_budget().await;
    }
}
