//! Catalogs: telling the own one, and hearing the peers'.

mod receiver;
mod sender;
mod serve;
mod subscription;

use std::collections::BTreeMap;
use std::sync::Arc;

use tombolo_catalog::ServiceName;
use tombolo_crds::ClusterExportSpec;
use tombolo_link_wire::RejectedExport;

pub(crate) use serve::serve;
pub use subscription::CatalogStream;
pub(crate) use subscription::subscribe;

/// Everything that this cluster exports, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogSnapshot {
    /// Grows with every change.
    pub revision: u64,
    /// The exports. One that did not change should be the same `Arc` as before.
    pub exports: BTreeMap<ServiceName, Arc<ClusterExportSpec>>,
}

/// What a peer's catalog stream told.
#[derive(Clone, Debug, PartialEq)]
pub enum CatalogEvent {
    /// The whole catalog: what it does not name is not exported any longer.
    Snapshot(CatalogUpdate),
    /// An export is new or changed.
    Upsert(Box<ClusterExportSpec>),
    /// A service is not exported any longer.
    Withdraw(ServiceName),
    /// An export is new or changed, but cannot be used: what is known of it stays.
    Rejected(RejectedExport),
    /// The stream ended: what is known stays, and a snapshot comes when there is a new one.
    Interrupted {
        /// One of a bounded set of words.
        reason: &'static str,
        /// For people.
        message: String,
    },
}

/// A complete catalog.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogUpdate {
    /// The sender's revision of it.
    pub revision: u64,
    /// The exports that can be used.
    pub exports: Vec<ClusterExportSpec>,
    /// Those that cannot, but exist: what is known of them stays.
    pub rejected: Vec<RejectedExport>,
}
