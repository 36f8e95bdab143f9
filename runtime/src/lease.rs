//! One of several replicas does it: Leases (coordination.k8s.io/v1).
//!
//! Clocks of two machines are never compared. A candidate that sees another's Lease waits until it
//! has not *seen it change* for the Lease's duration, by its own monotonic clock; a holder counts
//! its claim from before it *sent* the renewal. So, whatever the clocks say, a claim has ended for
//! its holder before anyone else may take the Lease:
//!
//! ```text
//! holder     ─ send renewal ──────────────── claim expires ─┐
//! API server ──────── stored                                ▼
//! candidate  ──────────────── sees it change ───────────────── may take it
//! ```
//!
//! A holder that cannot reach the API server keeps its claim until it expires, and gives it up when
//! it is asked to drain.

mod elector;
mod keeper;

use std::{sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::elector::{Decision, Sighting, evaluate};
use self::keeper::Keeper;
use crate::tasks::Tasks;

/// How a Lease is kept. A renewal, and a second attempt at it, must fit into the duration, or a
/// claim would expire between renewals that succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a claim lasts without a renewal. Whole seconds: the API has no finer ones.
    pub duration: Duration,
    /// How long after a renewal the next one is due.
    pub renew: Duration,
    /// How long after a failed request, or a look at another's Lease, the next one is made.
    pub retry: Duration,
}

/// A Lease that this process wants to hold.
#[derive(Clone)]
pub struct Lease {
    client: Client,
    namespace: String,
    name: String,
    me: Arc<str>,
    timing: Timing,
    owner: Option<OwnerReference>,
}

/// Who holds a Lease, as far as this process knows, and how long that is certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    holder: Option<Arc<str>>,
    expiry: Instant,
}

/// A Lease that is being kept. Dropping this gives it up.
#[must_use = "a Lease is given up when its handle is dropped"]
#[derive(Debug)]
pub struct Kept {
    claims: watch::Receiver<Claim>,
    _stop: DropGuard,
}

// === impl Timing ===

impl Default for Timing {
    /// As Kubernetes' own controllers are elected: 15 s, renewed every 10 s there. Here each 5 s,
    /// so that one failed renewal does not need the next to succeed.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew: Duration::from_secs(5),
            retry: Duration::from_secs(2),
        }
    }
}

// === impl Lease ===

impl Lease {
    /// The Lease `name`, to be held in the name of `me`: the pod's name, as one process has it at
    /// a time.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, me: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            me: me.into(),
            timing: Timing::default(),
            owner: None,
        }
    }

    /// Keeps it with another timing than the default.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        debug_assert!(timing.renew + timing.retry < timing.duration, "{timing:?}");
        self.timing = timing;
        self
    }

    /// Has the cluster delete the Lease with the object that it is about.
    #[must_use]
    pub fn owned_by(mut self, owner: OwnerReference) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Tries to hold the Lease from now on, until a drain or until the handle is dropped; then it
    /// is released, so that another replica need not wait for it to expire.
    pub fn keep(self, tasks: &Tasks) -> Kept {
        let stop = tasks.drain().child_token();
        let (claims, receiver) = watch::channel(Claim::none());
        let task = format!("lease {}", self.name);
        drop(tasks.spawn(&task, self.run(claims, stop.clone())));
        Kept {
            claims: receiver,
            _stop: stop.drop_guard(),
        }
    }

    async fn run(self, claims: watch::Sender<Claim>, stop: CancellationToken) {
        let api = Api::namespaced(self.client, &self.namespace);
        Keeper::new(api, self.name, self.me, self.timing, self.owner, claims)
            .run(stop)
            .await;
    }
}

// === impl Claim ===

impl Claim {
    fn none() -> Self {
        Self {
            holder: None,
            expiry: Instant::now(),
        }
    }

    /// Whether `me` may act as the holder at `now`. To be asked again before each act: a claim may
    /// expire without a new one being published.
    #[must_use]
    pub fn is_held_by(&self, me: &str, now: Instant) -> bool {
        self.holder.as_deref() == Some(me) && now < self.expiry
    }

    /// Who was last seen to hold the Lease, if anyone, expired or not.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        self.holder.as_deref()
    }

    /// Until when this claim is certain.
    #[must_use]
    pub fn expiry(&self) -> Instant {
        self.expiry
    }
}

// === impl Kept ===

impl Kept {
    /// The claim as it changes: who holds the Lease, and each renewal of this process.
    #[must_use]
    pub fn claims(&self) -> watch::Receiver<Claim> {
        self.claims.clone()
    }
}

#[cfg(test)]
mod tests;
