//! What a peer tells of its catalog, as a pure state machine.

use std::collections::BTreeSet;

use bytes::Bytes;
use tombolo_catalog::ServiceName;
use tombolo_crds::ClusterExportSpec;
use tombolo_link_wire::{CatalogDecodeError, CatalogMessage, DecodeError, RejectedExport};

use super::{CatalogEvent, CatalogUpdate};

#[cfg(test)]
mod tests;

/// Exports that a peer may have: more than Kubernetes recommends Services in one cluster.
pub(crate) const MAX_EXPORTS: usize = 16_384;
/// Bytes that a snapshot may take in all, since it is held until its end has come.
pub(crate) const MAX_SNAPSHOT: usize = 64 * 1024 * 1024;

/// Reads one catalog stream of one peer. After an error the stream must be ended; what was known
/// before it is not touched.
#[derive(Debug)]
pub(crate) struct CatalogReceiver {
    cluster: String,
    state: State,
}

#[derive(Debug)]
enum State {
    AwaitingSnapshot,
    InSnapshot {
        named: BTreeSet<ServiceName>,
        bytes: usize,
        update: CatalogUpdate,
    },
    Following {
        named: BTreeSet<ServiceName>,
    },
}

/// Why a catalog stream cannot be trusted any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CatalogError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("it tells an export of {0}: a cluster can only speak of itself")]
    ForeignCluster(String),
    #[error("{0} came where it makes no sense")]
    OutOfOrder(&'static str),
    #[error("{0} is in the snapshot twice")]
    Duplicate(ServiceName),
    #[error("the snapshot's end counts {announced} exports, but there were {received}")]
    CountMismatch { announced: u64, received: usize },
    #[error("there are more than {MAX_EXPORTS} exports")]
    TooManyExports,
    #[error("the snapshot takes more than {MAX_SNAPSHOT} bytes")]
    SnapshotTooLarge,
}

// === impl CatalogReceiver ===

impl CatalogReceiver {
    /// For a stream of the catalog of `cluster`.
    pub(crate) fn new(cluster: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            state: State::AwaitingSnapshot,
        }
    }

    /// Whether the snapshot has come completely.
    pub(crate) fn is_following(&self) -> bool {
        matches!(self.state, State::Following { .. })
    }

    /// Takes the content of a frame.
    pub(crate) fn handle(&mut self, content: Bytes) -> Result<Option<CatalogEvent>, CatalogError> {
        let length = content.len();
        match CatalogMessage::decode(content) {
            Ok(CatalogMessage::SnapshotBegin { revision }) => self.handle_begin(revision),
            Ok(CatalogMessage::Upsert(export)) => self.handle_upsert(export, length),
            Ok(CatalogMessage::SnapshotEnd { count }) => self.handle_end(count),
            Ok(CatalogMessage::Withdraw(service)) => self.handle_withdraw(service),
            Err(CatalogDecodeError::Rejected(rejected)) => self.handle_rejected(rejected, length),
            Err(CatalogDecodeError::Broken(error)) => Err(error.into()),
        }
    }

    fn handle_begin(&mut self, revision: u64) -> Result<Option<CatalogEvent>, CatalogError> {
        if !matches!(self.state, State::AwaitingSnapshot) {
            return Err(CatalogError::OutOfOrder("SnapshotBegin"));
        }
        self.state = State::InSnapshot {
            named: BTreeSet::new(),
            bytes: 0,
            update: CatalogUpdate {
                revision,
                ..CatalogUpdate::default()
            },
        };
        Ok(None)
    }

    fn handle_upsert(
        &mut self,
        export: Box<ClusterExportSpec>,
        length: usize,
    ) -> Result<Option<CatalogEvent>, CatalogError> {
        self.name(&export.cluster, ServiceName::from(&*export), length)?;
        if let State::InSnapshot { update, .. } = &mut self.state {
            update.exports.push(*export);
            return Ok(None);
        }
        Ok(Some(CatalogEvent::Upsert(export)))
    }

    fn handle_rejected(
        &mut self,
        rejected: RejectedExport,
        length: usize,
    ) -> Result<Option<CatalogEvent>, CatalogError> {
        self.name(&rejected.cluster, rejected.service.clone(), length)?;
        if let State::InSnapshot { update, .. } = &mut self.state {
            update.rejected.push(rejected);
            return Ok(None);
        }
        Ok(Some(CatalogEvent::Rejected(rejected)))
    }

    fn handle_end(&mut self, announced: u64) -> Result<Option<CatalogEvent>, CatalogError> {
        let State::InSnapshot { named, update, .. } = &mut self.state else {
            return Err(CatalogError::OutOfOrder("SnapshotEnd"));
        };
        let received = named.len();
        if u64::try_from(received) != Ok(announced) {
            return Err(CatalogError::CountMismatch {
                announced,
                received,
            });
        }
        let event = CatalogEvent::Snapshot(std::mem::take(update));
        self.state = State::Following {
            named: std::mem::take(named),
        };
        Ok(Some(event))
    }

    fn handle_withdraw(
        &mut self,
        service: ServiceName,
    ) -> Result<Option<CatalogEvent>, CatalogError> {
        let State::Following { named } = &mut self.state else {
            return Err(CatalogError::OutOfOrder("Withdraw"));
        };
        if !named.remove(&service) {
            return Err(CatalogError::OutOfOrder("Withdraw of what is not exported"));
        }
        Ok(Some(CatalogEvent::Withdraw(service)))
    }

    /// Enters an export into the books.
    fn name(
        &mut self,
        cluster: &str,
        service: ServiceName,
        length: usize,
    ) -> Result<(), CatalogError> {
        if cluster != self.cluster {
            return Err(CatalogError::ForeignCluster(cluster.to_owned()));
        }
        let named = match &mut self.state {
            State::AwaitingSnapshot => return Err(CatalogError::OutOfOrder("Upsert")),
            State::InSnapshot { named, bytes, .. } => {
                *bytes += length;
                if *bytes > MAX_SNAPSHOT {
                    return Err(CatalogError::SnapshotTooLarge);
                }
                if named.contains(&service) {
                    return Err(CatalogError::Duplicate(service));
                }
                named
            }
            State::Following { named } => named,
        };
        named.insert(service);
        if named.len() > MAX_EXPORTS {
            return Err(CatalogError::TooManyExports);
        }
        Ok(())
    }
}

// === impl CatalogError ===

impl CatalogError {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.reason(),
            Self::ForeignCluster(_) => "ForeignCluster",
            Self::OutOfOrder(_) => "OutOfOrder",
            Self::Duplicate(_) => "DuplicateExport",
            Self::CountMismatch { .. } => "CountMismatch",
            Self::TooManyExports => "TooManyExports",
            Self::SnapshotTooLarge => "SnapshotTooLarge",
        }
    }
}
