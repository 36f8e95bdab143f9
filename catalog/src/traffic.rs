//! Which TrafficPolicy counts for which import, and what it says there.
//!
//! ```text
//! TrafficPolicies ─► Policies ─┬─► verdict(policy): its condition, told by the operator
//!                              └─► rules(import): what operator and gateways go by
//! ```
//!
//! Operator and gateways both ask here, so that what a status says is what is done. Of two
//! policies with one target the oldest counts, as the Gateway API has it (GEP-713); what it does
//! not say is taken from the cluster's default, the policy without a target in Tombolo's own
//! namespace.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use tombolo_crds::traffic_policy::{Affinity, Preference, Split, TargetRef};
use tombolo_crds::{TrafficPolicy, TrafficPolicySpec, mcs};

use crate::{ServiceName, is_label_value, is_qualified_name};

#[cfg(test)]
mod tests;

/// What is done with connections to one import. The default is what is done without any policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrafficRules {
    /// Whether the gateways send to this cluster's own pods too, and the slices hold no others.
    pub exact: bool,
    /// What makes one endpoint nearer than another, most important first.
    pub prefer: Vec<Preference>,
    /// Below this many ready endpoints a tier gives traffic away.
    pub floor: Option<HealthyFloor>,
    /// Weights by cluster ID. None: by ready endpoints.
    pub clusters: Option<BTreeMap<String, u32>>,
    /// Pods to tell apart. Empty: any pod.
    pub subsets: Vec<SubsetRule>,
    /// Whether a client stays with its endpoint, if the policy says so.
    pub affinity: Option<bool>,
    /// How long one cluster may take to open a connection.
    pub connect_timeout: Option<Duration>,
    /// Connections at a time.
    pub connections: Option<u32>,
    /// New connections a second.
    pub connections_per_second: Option<u32>,
}

/// A floor of ready endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthyFloor {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(u32),
}

/// Pods with certain labels, and their weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubsetRule {
    /// Its name in the policy.
    pub name: String,
    /// Labels that its pods have.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Its share is this of the sum of all.
    pub weight: u32,
}

/// What is to be said of a policy: the condition `Accepted`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyVerdict {
    /// It counts.
    #[error("It counts for this cluster's clients")]
    Accepted,
    /// An older policy has the same target.
    #[error("the older TrafficPolicy {0} has the same target")]
    Conflicted(String),
    /// There is no such import.
    #[error("there is no ServiceImport {0}")]
    TargetNotFound(ServiceName),
    /// It makes no sense.
    #[error("{0}")]
    Invalid(String),
}

/// All policies of a cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    default: Option<Arc<TrafficPolicy>>,
    by_import: BTreeMap<ServiceName, Arc<TrafficPolicy>>,
    judged: BTreeMap<ServiceName, PolicyVerdict>,
}

// === impl PolicyVerdict ===

impl PolicyVerdict {
    /// Reason of the condition, one of the Gateway API's words.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Conflicted(_) => "Conflicted",
            Self::TargetNotFound(_) => "TargetNotFound",
            Self::Invalid(_) => "Invalid",
        }
    }
}

// === impl Policies ===

impl Policies {
    /// Judges all policies. `system` is Tombolo's namespace.
    pub fn new(system: &str, policies: impl IntoIterator<Item = Arc<TrafficPolicy>>) -> Self {
        let mut by_age: Vec<_> = policies
            .into_iter()
            .filter(|policy| policy.metadata.deletion_timestamp.is_none())
            .map(|policy| (age(&policy), policy))
            .collect();
        by_age.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut all = Self::default();
        for ((_, name), policy) in by_age {
            let verdict = all.take(system, &name, &policy);
            all.judged.insert(name, verdict);
        }
        all
    }

    /// What is to be said of a policy, given whether its target is there. `None` if it is unknown.
    #[must_use]
    pub fn verdict(
        &self,
        policy: &TrafficPolicy,
        target_exists: impl Fn(&ServiceName) -> bool,
    ) -> Option<PolicyVerdict> {
        let verdict = self.judged.get(&name_of(policy))?;
        match (verdict, target(policy)) {
            (PolicyVerdict::Accepted, Some(target)) if !target_exists(&target) => {
                Some(PolicyVerdict::TargetNotFound(target))
            }
            _ => Some(verdict.clone()),
        }
    }

    /// What is done with connections to an import.
    #[must_use]
    pub fn rules(&self, import: &ServiceName) -> TrafficRules {
        let own = self.by_import.get(import).map(|policy| &policy.spec);
        let default = self.default.as_ref().map(|policy| &policy.spec);
        match (own, default) {
            (None, None) => TrafficRules::default(),
            (Some(spec), None) | (None, Some(spec)) => rules(spec),
            (Some(own), Some(default)) => rules(&overlaid(own, default)),
        }
    }

    fn take(
        &mut self,
        system: &str,
        name: &ServiceName,
        policy: &Arc<TrafficPolicy>,
    ) -> PolicyVerdict {
        if let Err(mistake) = check(&policy.spec) {
            return PolicyVerdict::Invalid(mistake);
        }
        let place = match target(policy) {
            Some(target) => self
                .by_import
                .entry(target)
                .or_insert_with(|| Arc::clone(policy)),
            None if name.namespace == system => {
                self.default.get_or_insert_with(|| Arc::clone(policy))
            }
            None => {
                return PolicyVerdict::Invalid(format!(
                    "targetRef may be left out in the namespace {system} only"
                ));
            }
        };
        match Arc::ptr_eq(place, policy) {
            true => PolicyVerdict::Accepted,
            false => PolicyVerdict::Conflicted(name_of(place).name),
        }
    }
}

/// The import that a policy is for; `None` if it has no target.
#[must_use]
pub fn target(policy: &TrafficPolicy) -> Option<ServiceName> {
    let target = policy.spec.target_ref.as_ref()?;
    Some(ServiceName::new(&name_of(policy).namespace, &target.name))
}

fn name_of(policy: &TrafficPolicy) -> ServiceName {
    ServiceName::new(
        policy.metadata.namespace.as_deref().unwrap_or_default(),
        policy.metadata.name.as_deref().unwrap_or_default(),
    )
}

/// The oldest first, then by name (GEP-713, Conflict Resolution).
fn age(policy: &TrafficPolicy) -> (Option<Timestamp>, ServiceName) {
    let created = policy.metadata.creation_timestamp.as_ref();
    (created.map(|time| time.0), name_of(policy))
}

/// What the CRD's schema cannot say, or an older one did not.
fn check(spec: &TrafficPolicySpec) -> Result<(), String> {
    if let Some(TargetRef { group, kind, .. }) = &spec.target_ref
        && (group != mcs::GROUP || kind != "ServiceImport")
    {
        return Err(format!(
            "the target is a {kind} of {group:?} and no ServiceImport"
        ));
    }
    if let Some(floor) = &spec.min_healthy
        && self::floor(floor).is_none()
    {
        return Err("minHealthy is no number of endpoints and no percentage".to_owned());
    }
    for subset in &spec.subsets {
        let mut labels = subset.labels.iter();
        if !labels.all(|(key, value)| is_qualified_name(key) && is_label_value(value)) {
            return Err(format!(
                "subset {:?} has labels that no pod can have",
                subset.name
            ));
        }
    }
    let weights = |weights: Vec<i32>, of: &str| match weights.iter().any(|weight| *weight > 0) {
        true => Ok(()),
        false if weights.is_empty() => Ok(()),
        false => Err(format!("all weights of {of} are 0")),
    };
    weights(spec.clusters.iter().map(|c| c.weight).collect(), "clusters")?;
    weights(spec.subsets.iter().map(|s| s.weight).collect(), "subsets")
}

fn floor(floor: &IntOrString) -> Option<HealthyFloor> {
    match floor {
        IntOrString::Int(count) => {
            let count = u32::try_from(*count).ok().filter(|count| *count > 0)?;
            Some(HealthyFloor::Count(count))
        }
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%')?.parse().ok();
            let percent = percent.filter(|percent| (1..=100).contains(percent))?;
            Some(HealthyFloor::Percent(percent))
        }
    }
}

fn overlaid(own: &TrafficPolicySpec, default: &TrafficPolicySpec) -> TrafficPolicySpec {
    fn list<T: Clone>(own: &[T], default: &[T]) -> Vec<T> {
        if own.is_empty() { default } else { own }.to_vec()
    }
    let limit = |field: fn(&tombolo_crds::traffic_policy::TrafficLimits) -> Option<i32>| {
        let of = |spec: &TrafficPolicySpec| spec.limits.as_ref().and_then(field);
        of(own).or_else(|| of(default))
    };
    TrafficPolicySpec {
        target_ref: own.target_ref.clone(),
        split: own.split.or(default.split),
        prefer: list(&own.prefer, &default.prefer),
        min_healthy: own
            .min_healthy
            .clone()
            .or_else(|| default.min_healthy.clone()),
        clusters: list(&own.clusters, &default.clusters),
        subsets: list(&own.subsets, &default.subsets),
        session_affinity: own.session_affinity.or(default.session_affinity),
        connect_timeout_milliseconds: own
            .connect_timeout_milliseconds
            .or(default.connect_timeout_milliseconds),
        limits: Some(tombolo_crds::traffic_policy::TrafficLimits {
            connections: limit(|limits| limits.connections),
            connections_per_second: limit(|limits| limits.connections_per_second),
        }),
    }
}

fn rules(spec: &TrafficPolicySpec) -> TrafficRules {
    let weight = |weight: i32| u32::try_from(weight).unwrap_or(0);
    let positive = |number: Option<i32>| number.and_then(|n| u32::try_from(n).ok());
    let says_where = !spec.prefer.is_empty()
        || spec.min_healthy.is_some()
        || !spec.clusters.is_empty()
        || !spec.subsets.is_empty();
    let clusters = spec.clusters.iter();
    let clusters = clusters.map(|share| (share.cluster.clone(), weight(share.weight)));
    let subsets = spec.subsets.iter().map(|subset| SubsetRule {
        name: subset.name.clone(),
        labels: Arc::new(subset.labels.clone()),
        weight: weight(subset.weight),
    });
    let timeout = positive(spec.connect_timeout_milliseconds).map(u64::from);
    let limits = spec.limits.as_ref();
    TrafficRules {
        exact: match spec.split {
            Some(Split::Exact) => true,
            Some(Split::Shared) => false,
            None => says_where,
        },
        prefer: spec.prefer.clone(),
        floor: spec.min_healthy.as_ref().and_then(floor),
        clusters: Some(clusters.collect()).filter(|weights: &BTreeMap<_, _>| !weights.is_empty()),
        subsets: subsets.collect(),
        affinity: spec
            .session_affinity
            .map(|affinity| affinity == Affinity::ClientIP),
        connect_timeout: timeout.map(Duration::from_millis),
        connections: positive(limits.and_then(|limits| limits.connections)),
        connections_per_second: positive(limits.and_then(|limits| limits.connections_per_second)),
    }
}
