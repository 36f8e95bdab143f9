//! Real clusters on one machine: the demo, the end-to-end tests and the benchmarks.
//!
//! ```text
//! demo.sh up ──► kind clusters east, west ◄── Demo ── Cluster ── Pod    kubectl exec
//! demo.sh env ──► names, kubeconfig ─────────►            └────── Node  docker exec: link, API server
//! ```
//!
//! The clusters are made by `demo.sh`; this library is only a handle on them. It sees them as a
//! user does (kubectl, helm, the API), and reaches into a node only to break something. Nothing
//! here is kept between tests: each loads its own [`Demo`] and works in namespaces of its own.

pub mod cluster;
pub mod demo;
pub mod node;
pub mod pod;
pub mod probe;
pub mod scene;
pub mod tool;
pub mod wait;
pub mod workload;

pub use cluster::Cluster;
pub use demo::Demo;
pub use node::Node;
pub use pod::Pod;
pub use probe::{Probe, ProbeReport};
pub use scene::Scene;
pub use wait::wait_until;
