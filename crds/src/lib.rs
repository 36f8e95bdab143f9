//! The Kubernetes API types that Tombolo reads and writes, and the CRD YAML made from them.
//!
//! ```text
//! mcs    ServiceExport ──► (operator) ──► ServiceImport      multicluster.x-k8s.io
//! about  ClusterProperty                                     about.k8s.io
//! peer, cluster_export, traffic_policy                       tombolo.io
//! ```
//!
//! [`all`] is the list of CRDs and `yaml/` is generated from it; [`install`] decides whether one may
//! be written over what a cluster has.
//!
//! `ClusterExportSpec` is more than a stored object: it is what an export *is* everywhere in
//! Tombolo, so that no program keeps a mirror of it in step.

pub mod about;
pub mod cluster_export;
mod definitions;
pub mod install;
pub mod mcs;
pub mod peer;
mod schema;
pub mod traffic_policy;
pub mod well_known;

pub use cluster_export::{ClusterExport, ClusterExportSpec, ExportedEndpoint};
pub use definitions::{all, yaml_file};
pub use peer::{LinkedGateway, Peer, PeerSpec, PeerStatus};
pub use traffic_policy::{TrafficPolicy, TrafficPolicySpec, TrafficPolicyStatus};
