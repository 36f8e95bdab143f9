//! Question and snapshot in, DNS answer out: the multi-cluster DNS specification of KEP-1645.
//!
//! ```text
//! Import ──Service::new──► Service ┐                        ┌─respond(query, …)────────► octets
//! Import ──Service::new──► Service ┼─Snapshot::new─► Snapshot─answer(question, rotation)──► Answer
//!                             Zone ┘  (immutable) ──with(changes)──► the next Snapshot
//! ```
//!
//! The names of a zone, with what they own:
//!
//! ```text
//! <zone>                                     SOA, NS
//! dns-version.<zone>                         TXT
//! ns.dns.<zone>                              A, AAAA (of the resolver itself)
//! <svc>.<ns>.svc.<zone>                      A, AAAA, SRV
//! _<port>._<proto>.<svc>.<ns>.svc.<zone>     SRV
//! <host>.<cluster>.<svc>.<ns>.svc.<zone>     A, AAAA, headless only
//! <address>.in-addr.arpa, .ip6.arpa          PTR, of the addresses above
//! ```
//!
//! Invariants:
//! - A name exists if and only if it owns records or one below it does (RFC 8020): an import that
//!   leads to no address has no names at all.
//! - `<cluster>.<svc>.<ns>.svc.<zone>` never owns a record (KEP-1645: no targeting of a cluster by
//!   DNS). For a headless import names below it exist, so it is answered with "no data".
//! - A snapshot that is not complete denies nothing: every name of the zone is SERVFAIL.
//! - Nothing here panics on any name, and no record outside of the zone is ever answered but the
//!   PTR records of its addresses.
//! - Where [`Snapshot::respond`] answers, it says what [`Snapshot::answer`] says.

mod answer;
mod import;
mod owner;
mod reverse;
mod service;
mod shards;
mod snapshot;
pub mod wire;
mod zone;

pub use answer::{Answer, MAX_RECORDS, Question};
pub use import::{Endpoint, Import, ImportKind, Port};
pub use service::{InvalidImport, Service};
pub use snapshot::{Change, Snapshot};
pub use zone::{InvalidZone, MAX_ORIGIN_OCTETS, Zone};
