//! What an export is, how exports merge into an import, and which conflicts that raises.
//!
//! ```text
//! Service + ServiceExport ──export_from──► ClusterExportSpec ─┐
//!            another cluster's, decoded ──validate──► the same ┴─merge──► Import + Conflicts
//!
//! PortAllotter   which gateway port belongs to which port of which import
//! Withdrawals    which of a peer's withdrawals may be believed at once
//! Policies       which TrafficPolicy counts for which import
//! Headcounts     how many endpoints a service has, by place
//! ```
//!
//! Everything here is pure: no I/O, no async, and time is an argument. Two clusters that hold the
//! same exports compute the same import, whatever the order in which they learned of them.

mod allotment;
mod derived;
mod endpoint;
mod export;
mod headcount;
mod merge;
mod service_name;
mod syntax;
pub mod traffic;
mod validate;
mod withdrawals;

pub use allotment::{DoubleClaim, Exhausted, PortAllotter, PortClaim, PortKey, Rebuilt};
pub use derived::derived_service_name;
pub use endpoint::{EndpointName, endpoint_id};
pub use export::{Invalid, export_from, proxy_protocol};
pub use headcount::{Headcount, Headcounts, Place};
pub use merge::{Conflict, ConflictReason, Conflicts, Import, ImportPort, merge};
pub use service_name::ServiceName;
pub use syntax::{is_dns_label, is_dns_subdomain, is_label_value, is_qualified_name};
pub use traffic::{Policies, PolicyVerdict, TrafficRules};
pub use validate::{MAX_ENDPOINTS, MAX_METADATA_BYTES, MAX_PORTS, Malformed, validate};
pub use withdrawals::{HELD_ABOVE, Held, Verdict, WINDOW, Withdrawals};
