//! Who may hold a Lease: pure, time is an argument.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use tokio::time::Instant;

use super::{Claim, Timing};

/// A Lease as it was last seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    spec: LeaseSpec,
    version: Option<String>,
    /// When this process first saw the Lease like this, by its own clock.
    since: Instant,
}

/// What a candidate should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nobody holds it, or its holder was not seen to renew it for its duration: take it.
    Acquire,
    /// It is held by this very candidate: renew it.
    Renew,
    /// Another holds it, at least until then if it is not seen to change.
    Wait(Instant),
}

/// What `me` should do about a Lease of which this is the last sighting (none: there is no such
/// object) at `now`.
#[must_use]
pub fn evaluate(lease: Option<&Sighting>, me: &str, now: Instant) -> Decision {
    let Some((lease, holder)) = lease.and_then(|lease| Some((lease, lease.holder()?))) else {
        return Decision::Acquire;
    };
    if holder == me {
        return Decision::Renew;
    }
    let expiry = lease.expiry();
    if now < expiry {
        Decision::Wait(expiry)
    } else {
        Decision::Acquire
    }
}

// === impl Sighting ===

impl Sighting {
    /// What is seen at `now`, having last seen `previous`. A Lease that is as it was keeps the time
    /// at which it was first seen so.
    #[must_use]
    pub fn of(lease: &Lease, previous: Option<&Self>, now: Instant) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let since = match previous {
            Some(previous) if previous.spec == spec => previous.since,
            Some(_) | None => now,
        };
        Self {
            spec,
            version: lease.metadata.resource_version.clone(),
            since,
        }
    }

    /// Who holds it, if anyone.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        self.spec
            .holder_identity
            .as_deref()
            .filter(|holder| !holder.is_empty())
    }

    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    pub(super) fn claim(&self) -> Claim {
        Claim {
            holder: self.holder().map(Arc::from),
            expiry: self.expiry(),
        }
    }

    fn expiry(&self) -> Instant {
        // A Lease without a duration, or with a negative one, is not held for any time (the API
        // refuses to store one, an older API might not have).
        let seconds = self.spec.lease_duration_seconds.unwrap_or(0).max(0);
        self.since + Duration::from_secs(u64::from(seconds.unsigned_abs()))
    }

    /// The spec with which `me` takes or renews the Lease.
    pub(super) fn held(
        last: Option<&Self>,
        me: &str,
        timing: &Timing,
        wall: Timestamp,
    ) -> LeaseSpec {
        let held_before = last.filter(|last| last.holder() == Some(me));
        let transitions = last
            .and_then(|last| last.spec.lease_transitions)
            .unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(me.to_owned()),
            lease_duration_seconds: Some(whole_seconds(timing.duration)),
            renew_time: Some(MicroTime(wall)),
            acquire_time: held_before
                .and_then(|last| last.spec.acquire_time.clone())
                .or(Some(MicroTime(wall))),
            lease_transitions: Some(match (held_before, last) {
                (None, Some(_)) => transitions.saturating_add(1),
                (Some(_), _) | (None, None) => transitions,
            }),
            ..LeaseSpec::default()
        }
    }

    /// The spec with which its holder gives the Lease up: free at once, its history kept.
    pub(super) fn released(&self, wall: Timestamp) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(wall)),
            acquire_time: self.spec.acquire_time.clone(),
            lease_transitions: self.spec.lease_transitions,
            ..LeaseSpec::default()
        }
    }
}

/// Rounded up: others must not think that a claim ends before its holder does.
fn whole_seconds(duration: Duration) -> i32 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(seconds.max(1)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
