//! How well an index follows the API.

use tokio::time::Instant;

/// How well an index follows the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    origin: Option<Origin>,
    broken_since: Option<Instant>,
}

/// Where the state of an index is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The state file: the last known state of an earlier process of this pod.
    File,
    /// The API server.
    Api,
}

// === impl Health ===

impl Health {
    pub(super) fn starting(now: Instant) -> Self {
        Self {
            origin: None,
            broken_since: Some(now),
        }
    }

    /// Where the state of the index is from; none if it has none yet.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        self.origin
    }

    /// Whether changes are heard of as they happen. If not, time-outs on what is watched mean
    /// nothing: what was not seen to change may have changed.
    #[must_use]
    pub fn hears(&self) -> bool {
        self.broken_since.is_none()
    }

    /// Since when changes are not heard of; none if they are.
    #[must_use]
    pub fn broken_since(&self) -> Option<Instant> {
        self.broken_since
    }

    /// Whether that is a change, as for the others.
    pub(super) fn has_state_of(&mut self, origin: Origin) -> bool {
        self.origin.replace(origin) != Some(origin)
    }

    pub(super) fn broken(&mut self, now: Instant) -> bool {
        let hears = self.hears();
        if hears {
            self.broken_since = Some(now);
        }
        hears
    }

    pub(super) fn restored(&mut self) -> bool {
        self.broken_since.take().is_some()
    }
}
