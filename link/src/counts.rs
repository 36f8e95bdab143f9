//! What happened how often, for metrics.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Something that is counted by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Event {
    /// A datagram came that is of no connection.
    StrayDatagram,
    /// A peer's datagram was not for a flow that is open.
    StrayPayload,
    /// A dial ended: `Connected`, or why not.
    Dial,
    /// An inbound handshake ended: `Connected`, or why not.
    Accept,
    /// A dial of a tunnel ended: `Connected`, or why not.
    TunnelDial,
    /// A TCP connection to the link's port was judged: `Opened`, or why it became no tunnel; `Probe`
    /// if it was closed without a word, as load balancers do.
    TunnelAccept,
    /// A connection that was in use was closed.
    ConnectionClosed,
    /// An attempt to open a stream was answered: `Opened`, the refusal's reason, or what was lost.
    StreamOut,
    /// A peer's stream was answered, or ended before: `Opened`, the refusal's reason, or what was
    /// wrong with its preface.
    StreamIn,
    /// A catalog stream that was received ended.
    CatalogIn,
    /// A catalog stream that was sent ended.
    CatalogOut,
    /// A stream of headcounts that was received ended.
    HeadcountsIn,
    /// A stream of headcounts that was sent ended.
    HeadcountsOut,
    /// An export that a peer told was not used.
    ExportRejected,
    /// The identity's files were read again: `Loaded`, or why not.
    IdentityReload,
}

/// How often something happened since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// What.
    pub event: Event,
    /// Why, or how it went: one of a bounded set of words.
    pub reason: &'static str,
    /// How often.
    pub value: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<BTreeMap<(Event, &'static str), u64>>);

// === impl Event ===

impl Event {
    /// Name of a metric, without prefix and `_total`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StrayDatagram => "stray_datagrams",
            Self::StrayPayload => "stray_payloads",
            Self::Dial => "dials",
            Self::Accept => "accepts",
            Self::TunnelDial => "tunnel_dials",
            Self::TunnelAccept => "tunnel_accepts",
            Self::ConnectionClosed => "connections_closed",
            Self::StreamOut => "streams_out",
            Self::StreamIn => "streams_in",
            Self::CatalogIn => "catalog_streams_in_ended",
            Self::CatalogOut => "catalog_streams_out_ended",
            Self::HeadcountsIn => "headcount_streams_in_ended",
            Self::HeadcountsOut => "headcount_streams_out_ended",
            Self::ExportRejected => "exports_rejected",
            Self::IdentityReload => "identity_reloads",
        }
    }
}

// === impl Counts ===

impl Counts {
    pub(crate) fn add(&self, event: Event, reason: &'static str) {
        *self.0.lock().entry((event, reason)).or_default() += 1;
    }

    pub(crate) fn snapshot(&self) -> Vec<Count> {
        let counts = self.0.lock();
        counts
            .iter()
            .map(|(&(event, reason), &value)| Count {
                event,
                reason,
                value,
            })
            .collect()
    }
}
