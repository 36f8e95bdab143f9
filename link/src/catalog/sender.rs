//! What to tell of the own catalog.

use std::sync::Arc;

use bytes::Bytes;
use tombolo_crds::ClusterExportSpec;
use tombolo_link_wire::{CatalogMessage, encode_upsert};

use super::CatalogSnapshot;

#[cfg(test)]
mod tests;

/// Tells one peer the own catalog: first all of it, then what changed.
#[derive(Debug)]
pub(crate) struct CatalogSender {
    cluster: String,
    told: Option<Arc<CatalogSnapshot>>,
}

// === impl CatalogSender ===

impl CatalogSender {
    /// For the catalog of `cluster`; exports of others are left out.
    pub(crate) fn new(cluster: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            told: None,
        }
    }

    /// The frames that bring the peer from what it was told last to `next`. All of them must be
    /// sent.
    pub(crate) fn advance(
        &mut self,
        next: Arc<CatalogSnapshot>,
    ) -> Box<dyn Iterator<Item = Bytes> + Send> {
        let cluster = self.cluster.clone();
        match self.told.replace(Arc::clone(&next)) {
            None => Box::new(whole(cluster, next)),
            Some(told) => Box::new(changes(cluster, told, next)),
        }
    }
}

fn whole(cluster: String, next: Arc<CatalogSnapshot>) -> impl Iterator<Item = Bytes> + Send {
    let begin = CatalogMessage::SnapshotBegin {
        revision: next.revision,
    };
    let exports: Vec<Arc<ClusterExportSpec>> = next
        .exports
        .values()
        .filter(|export| export.cluster == cluster)
        .cloned()
        .collect();
    let end = CatalogMessage::SnapshotEnd {
        count: u64::try_from(exports.len()).unwrap_or(u64::MAX),
    };
    // Encoded one by one as they are sent: together they may be large.
    std::iter::once_with(move || begin.encode())
        .chain(exports.into_iter().map(|export| encode_upsert(&export)))
        .chain(std::iter::once_with(move || end.encode()))
}

fn changes(
    cluster: String,
    told: Arc<CatalogSnapshot>,
    next: Arc<CatalogSnapshot>,
) -> impl Iterator<Item = Bytes> + Send {
    let is_own = |export: &ClusterExportSpec| export.cluster == cluster;
    let upserts: Vec<Arc<ClusterExportSpec>> = next
        .exports
        .iter()
        .filter(|(_, export)| is_own(export))
        .filter(|(service, export)| {
            let before = told.exports.get(*service);
            // By pointer first: most did not change.
            before.is_none_or(|before| !Arc::ptr_eq(before, export) && before != *export)
        })
        .map(|(_, export)| Arc::clone(export))
        .collect();
    let withdrawn: Vec<CatalogMessage> = told
        .exports
        .iter()
        .filter(|(service, export)| {
            let stays = next.exports.get(*service).is_some_and(|next| is_own(next));
            is_own(export) && !stays
        })
        .map(|(service, _)| CatalogMessage::Withdraw(service.clone()))
        .collect();
    upserts
        .into_iter()
        .map(|export| encode_upsert(&export))
        .chain(withdrawn.into_iter().map(|message| message.encode()))
}
