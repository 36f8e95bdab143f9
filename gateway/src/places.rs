//! Where nodes are, and thereby clients and endpoints.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tombolo_catalog::Place;

/// What the gateway remembers of a Node that says where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its name.
    pub name: String,
    /// Its region; empty if it does not say.
    pub region: String,
    /// Its zone; empty if it does not say.
    pub zone: String,
}

/// The places of all nodes at one moment.
#[derive(Debug, Default)]
pub struct Places(HashMap<String, Place>);

// === impl Places ===

impl Places {
    /// Indexes all nodes.
    pub fn build(nodes: impl IntoIterator<Item = Arc<NodeRecord>>) -> Self {
        let place = |node: &NodeRecord| Place {
            region: node.region.as_str().into(),
            zone: node.zone.as_str().into(),
        };
        let nodes = nodes.into_iter();
        Self(
            nodes
                .map(|node| (node.name.clone(), place(&node)))
                .collect(),
        )
    }

    /// Where a node is; nowhere if that is not known.
    #[must_use]
    pub fn of_node(&self, node: &str) -> Place {
        self.0.get(node).cloned().unwrap_or_default()
    }
}
