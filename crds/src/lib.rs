//! The Kubernetes API types that Tombolo reads and writes, and the CRD YAML made from them.
//!
//! ```text
//! mcs    ServiceExport ──► (operator) ──► ServiceImport      multicluster.x-k8s.io
//! about  ClusterProperty                                     about.k8s.io
//! peer, cluster_export                                       tombolo.io
//! ```
//!
//! `ClusterExportSpec` is more than a stored object: it is what an export *is* everywhere in
//! Tombolo, so that no program keeps a mirror of it in step.

pub mod about;
pub mod cluster_export;
pub mod mcs;
pub mod peer;
pub mod well_known;

pub use cluster_export::{ClusterExport, ClusterExportSpec};
pub use peer::{Peer, PeerSpec, PeerStatus};
