//! The shell around the elector: requests, sleeps, and the claim that readers see.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
    jiff::Timestamp,
};
use kube::{Api, api::PostParams};
use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    Claim, Timing,
    elector::{Decision, Sighting, evaluate},
};

pub(super) struct Keeper {
    api: Api<Lease>,
    name: String,
    me: Arc<str>,
    timing: Timing,
    owner: Option<OwnerReference>,
    claims: watch::Sender<Claim>,
    last: Option<Sighting>,
    /// Whether `last` may be out of date, so that a write would only conflict.
    stale: bool,
    /// Whether a write of this process may have made it the holder.
    written: bool,
    failing: bool,
}

#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Kube(#[from] kube::Error),
}

// === impl Keeper ===

impl Keeper {
    pub(super) fn new(
        api: Api<Lease>,
        name: String,
        me: Arc<str>,
        timing: Timing,
        owner: Option<OwnerReference>,
        claims: watch::Sender<Claim>,
    ) -> Self {
        Self {
            api,
            name,
            me,
            timing,
            owner,
            claims,
            last: None,
            stale: true,
            written: false,
            failing: false,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        while let Some(pause) = stop.run_until_cancelled(self.turn()).await {
            if stop.run_until_cancelled(self.pause(pause)).await.is_none() {
                break;
            }
        }
        self.release().await;
    }

    /// Looks, decides, acts; says how long to wait before the next turn.
    async fn turn(&mut self) -> Duration {
        match self.try_turn().await {
            Ok(pause) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(lease = self.name, "requests succeed again");
                }
                pause
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::info!(lease = self.name, %error, "request failed");
                }
                self.stale = true;
                self.timing.retry
            }
        }
    }

    async fn try_turn(&mut self) -> Result<Duration, RequestError> {
        if self.stale {
            self.look().await?;
        }
        match evaluate(self.last.as_ref(), &self.me, Instant::now()) {
            Decision::Acquire | Decision::Renew => self.hold().await,
            Decision::Wait(until) => {
                // What others do is only seen by looking.
                self.stale = true;
                Ok(self
                    .timing
                    .retry
                    .min(until.saturating_duration_since(Instant::now())))
            }
        }
    }

    async fn look(&mut self) -> Result<(), RequestError> {
        let found = self.limited(self.api.get_opt(&self.name)).await?;
        let now = Instant::now();
        self.last = found.map(|lease| Sighting::of(&lease, self.last.as_ref(), now));
        self.stale = false;
        let claim = self.last.as_ref().map_or_else(Claim::none, Sighting::claim);
        // One's own claim is counted from the renewal, not from when it is seen.
        if claim.holder() != Some(&*self.me) {
            self.publish(claim);
        }
        Ok(())
    }

    /// Takes or renews the Lease as it was last seen.
    async fn hold(&mut self) -> Result<Duration, RequestError> {
        let sent = Instant::now();
        let spec = Sighting::held(self.last.as_ref(), &self.me, &self.timing, Timestamp::now());
        let lease = self.object(spec);
        let params = PostParams::default();
        let exists = self.last.is_some();
        // Until the answer is there: a stop may come first.
        self.stale = true;
        self.written = true;
        let written = if exists {
            self.limited(self.api.replace(&self.name, &params, &lease))
                .await
        } else {
            self.limited(self.api.create(&params, &lease)).await
        };
        match written {
            Ok(lease) => {
                self.stale = false;
                self.last = Some(Sighting::of(&lease, None, sent));
                let holder = Some(Arc::clone(&self.me));
                self.publish(Claim {
                    holder,
                    expiry: sent + self.timing.duration,
                });
                Ok(self.timing.renew)
            }
            // Another was faster, or the object is gone: look again, soon.
            Err(RequestError::Kube(kube::Error::Api(status)))
                if status.is_conflict()
                    || status.is_already_exists()
                    || (exists && status.is_not_found()) =>
            {
                Ok(self.timing.retry / 10)
            }
            Err(error) => Err(error),
        }
    }

    /// Sleeps, and takes the claim back from readers when it expires meanwhile.
    async fn pause(&self, pause: Duration) {
        let end = Instant::now() + pause;
        let claim = self.claims.borrow().clone();
        if claim.holder() == Some(&*self.me) && claim.expiry() < end {
            time::sleep_until(claim.expiry()).await;
            self.publish(Claim::none());
        }
        time::sleep_until(end).await;
    }

    async fn release(mut self) {
        // First, so that nothing is done in the name of the holder while the request is under way.
        self.publish(Claim::none());
        if !self.written {
            return;
        }
        if self.stale && self.look().await.is_err() {
            return;
        }
        let Some(last) = self
            .last
            .as_ref()
            .filter(|last| last.holder() == Some(&*self.me))
        else {
            return;
        };
        let lease = self.object(last.released(Timestamp::now()));
        let params = PostParams::default();
        match self
            .limited(self.api.replace(&self.name, &params, &lease))
            .await
        {
            Ok(_) => tracing::debug!(lease = self.name, "released"),
            Err(error) => tracing::info!(lease = self.name, %error, "not released, will expire"),
        }
    }

    /// The object to write: valid only if the Lease is still as it was last seen.
    fn object(&self, spec: LeaseSpec) -> Lease {
        let version = self.last.as_ref().and_then(Sighting::version);
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            resource_version: version.map(str::to_owned),
            owner_references: self.owner.clone().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        };
        Lease {
            metadata,
            spec: Some(spec),
        }
    }

    /// A request that hangs must not keep the next from being made before the claim expires, nor
    /// hide that it has expired.
    async fn limited<T>(
        &self,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, RequestError> {
        let remaining = self
            .claims
            .borrow()
            .expiry()
            .checked_duration_since(Instant::now());
        let remaining = remaining.filter(|remaining| !remaining.is_zero());
        let limit = remaining.map_or(self.timing.renew, |left| left.min(self.timing.renew));
        let answer = time::timeout(limit, request).await;
        Ok(answer.map_err(|_| RequestError::Timeout(limit))??)
    }

    fn publish(&self, claim: Claim) {
        let me = Some(&*self.me);
        self.claims.send_if_modified(|current| {
            if (current.holder() == me) != (claim.holder() == me) {
                let held = claim.holder() == me;
                tracing::info!(lease = self.name, held, holder = claim.holder(), "claim");
            }
            let changed = *current != claim;
            *current = claim;
            changed
        });
    }
}
