//! TrafficPolicies: tells the index what they say, and their authors what became of them.
//!
//! ```text
//! TrafficPolicy ─► Policies ─┬─► index (who splits an import's traffic)
//!                            └─► statuses ─► Accepted, Conflicted, TargetNotFound, Invalid
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{self, MissedTickBehavior};
use tombolo_catalog::{Policies, PolicyVerdict, ServiceName, traffic};
use tombolo_crds::traffic_policy::{AncestorRef, PolicyAncestor};
use tombolo_crds::{TrafficPolicy, TrafficPolicyStatus, mcs};
use tombolo_runtime::watch::{Event, Key, Watches, from_fn};

use crate::leadership::Leadership;
use crate::metrics::{Metrics, Verb};
use crate::plan::conditions::{Status, Wanted, settle};
use crate::plan::ownership::FIELD_MANAGER;
use crate::watches::{SharedIndex, trim};
use crate::writer::WriteError;

#[cfg(test)]
mod tests;

/// Which of a policy's ancestors are this program's to tell.
const CONTROLLER: &str = "tombolo.io/operator";
/// How often targets are looked for that have come or gone, and refused writes tried again.
const SWEEP: Duration = Duration::from_secs(1);
/// No answer for so long is none.
const TIMEOUT: Duration = Duration::from_secs(10);

type Objects = BTreeMap<Key, Arc<TrafficPolicy>>;

/// Writes the statuses of policies.
pub struct PolicyStatuses {
    /// Of the Kubernetes API.
    pub client: Client,
    /// Tombolo's namespace.
    pub namespace: String,
    /// Where imports are known.
    pub index: SharedIndex,
    /// Whether this replica may write.
    pub leadership: Leadership,
    /// Counts writes.
    pub metrics: Metrics,
}

// === impl PolicyStatuses ===

impl PolicyStatuses {
    /// Follows the policies and writes their statuses until it is dropped.
    pub async fn run(self, watches: Watches) {
        let objects: Arc<Mutex<Objects>> = Arc::default();
        let changed = Arc::new(Notify::new());
        let told = (Arc::clone(&objects), Arc::clone(&changed));
        let index = self.index.clone();
        let system = self.namespace.clone();
        let hear = from_fn(move |event: Event<'_, TrafficPolicy>| {
            let (objects, changed) = &told;
            let mut objects = objects.lock();
            match event {
                Event::Apply(key, policy) => drop(objects.insert(key.clone(), Arc::clone(policy))),
                Event::Delete(key) => drop(objects.remove(key)),
                Event::Reset(all) => objects.clone_from(all),
            }
            let policies = Policies::new(&system, objects.values().cloned());
            index.index.write().set_policies(policies);
            index.changed.notify_one();
            changed.notify_one();
        });
        let _watch = watches.all::<TrafficPolicy>("trafficpolicies").feed(
            |mut policy| {
                trim(&mut policy.metadata);
                Some(policy)
            },
            hear,
        );
        let mut ticks = time::interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                () = changed.notified() => {}
                _ = ticks.tick() => {}
            }
            if self.leadership.is_held() {
                self.sweep(&objects, &mut failing).await;
            }
        }
    }

    async fn sweep(&self, objects: &Mutex<Objects>, failing: &mut bool) {
        let wanted = {
            let index = self.index.index.read();
            if !index.is_complete() {
                return;
            }
            let objects: Vec<_> = objects.lock().values().cloned().collect();
            let policies = index.policies();
            let exists = |import: &ServiceName| index.has_import(import);
            statuses(
                policies,
                &objects,
                &self.namespace,
                exists,
                Timestamp::now(),
            )
        };
        for (name, status) in wanted {
            let written = self.write(&name, &status).await;
            let error = written.err();
            let reason = error.as_ref().map(WriteError::reason);
            self.metrics
                .wrote("TrafficPolicy/status", Verb::Apply, reason);
            match error {
                Some(error) if !std::mem::replace(failing, true) => {
                    tracing::info!(policy = %name, %error, "status not written");
                }
                Some(_) => {}
                None => *failing = false,
            }
        }
    }

    async fn write(
        &self,
        name: &ServiceName,
        status: &TrafficPolicyStatus,
    ) -> Result<(), WriteError> {
        let api: Api<TrafficPolicy> = Api::namespaced(self.client.clone(), &name.namespace);
        let patch = json!({
            "apiVersion": "tombolo.io/v1alpha1",
            "kind": "TrafficPolicy",
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(patch);
        let written = api.patch_status(&name.name, &params, &patch);
        let written = time::timeout(TIMEOUT, written).await;
        written.map_err(|_| WriteError::Timeout)??;
        Ok(())
    }
}

/// The statuses that are not as they should be. Those of other controllers are left as they are.
fn statuses(
    policies: &Policies,
    objects: &[Arc<TrafficPolicy>],
    system: &str,
    exists: impl Fn(&ServiceName) -> bool,
    now: Timestamp,
) -> Vec<(ServiceName, TrafficPolicyStatus)> {
    let wanted = objects.iter().filter_map(|policy| {
        let verdict = policies.verdict(policy, &exists)?;
        let observed = policy.status.clone().unwrap_or_default();
        let (ours, others): (Vec<_>, Vec<_>) = observed
            .ancestors
            .iter()
            .cloned()
            .partition(|ancestor| ancestor.controller_name == CONTROLLER);
        let ancestor = ancestor(policy, system, &verdict, &ours, now);
        let ancestors = others.into_iter().chain([ancestor]).collect();
        let status = TrafficPolicyStatus { ancestors };
        let name = ServiceName::new(
            policy.metadata.namespace.as_deref()?,
            policy.metadata.name.as_deref()?,
        );
        (status != observed).then_some((name, status))
    });
    wanted.collect()
}

fn ancestor(
    policy: &TrafficPolicy,
    system: &str,
    verdict: &PolicyVerdict,
    observed: &[PolicyAncestor],
    now: Timestamp,
) -> PolicyAncestor {
    let ancestor_ref = match traffic::target(policy) {
        Some(import) => AncestorRef {
            group: mcs::GROUP.to_owned(),
            kind: "ServiceImport".to_owned(),
            namespace: Some(import.namespace),
            name: import.name,
        },
        None => AncestorRef {
            group: String::new(),
            kind: "Namespace".to_owned(),
            namespace: None,
            name: system.to_owned(),
        },
    };
    let before = observed
        .iter()
        .find(|ancestor| ancestor.ancestor_ref == ancestor_ref);
    let status = match verdict {
        PolicyVerdict::Accepted => Status::True,
        PolicyVerdict::Conflicted(_)
        | PolicyVerdict::TargetNotFound(_)
        | PolicyVerdict::Invalid(_) => Status::False,
    };
    let accepted = Wanted::new("Accepted", status, verdict.reason(), verdict.to_string());
    let conditions = settle(
        before.map_or(&[], |before| &before.conditions),
        &[accepted],
        policy.metadata.generation,
        now,
    );
    PolicyAncestor {
        ancestor_ref,
        controller_name: CONTROLLER.to_owned(),
        conditions,
    }
}
