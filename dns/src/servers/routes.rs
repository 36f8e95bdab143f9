//! From names to server blocks.

use std::sync::Arc;

use hickory_proto::rr::Name;
use tombolo_dns_zone::wire;

use crate::chain::{Chain, ChainMetrics};

/// The zones that are answered at one place.
#[derive(Default)]
pub(super) struct Routes(Vec<Route>);

/// A zone and who answers it.
pub(super) struct Route {
    zone: Name,
    /// The zone in wire form.
    octets: Vec<u8>,
    pub(super) chain: Arc<Chain>,
    pub(super) metrics: ChainMetrics,
}

// === impl Routes ===

impl Routes {
    pub(super) fn add(&mut self, zone: Name, chain: Arc<Chain>, metrics: ChainMetrics) {
        self.0.push(Route {
            octets: wire::octets(&zone),
            zone,
            chain,
            metrics,
        });
        // The longest first: the first that fits is the right one.
        self.0
            .sort_by_key(|route| std::cmp::Reverse(route.zone.num_labels()));
    }

    pub(super) fn of(&self, name: &Name) -> Option<&Route> {
        self.0.iter().find(|route| route.zone.zone_of(name))
    }

    /// As [`Routes::of`].
    pub(super) fn of_octets(&self, query: &wire::Query<'_>) -> Option<&Route> {
        self.0.iter().find(|route| query.is_of(&route.octets))
    }
}
