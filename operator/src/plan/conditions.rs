//! Conditions that do not flap.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// A condition as it should be, but for when it became so.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(super) type_: &'static str,
    pub(super) status: Status,
    pub(super) reason: String,
    pub(super) message: String,
}

/// Whether it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    True,
    False,
    /// What would tell was asked for, and gave no answer.
    Unknown,
}

// === impl Wanted ===

impl Wanted {
    pub(crate) fn new(
        type_: &'static str,
        status: Status,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_,
            status,
            reason: reason.into(),
            message: message.into(),
        }
    }
}

// === impl Status ===

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// The conditions as they are to be written: one that keeps its status keeps the time since when
/// it has it.
pub(crate) fn settle(
    observed: &[Condition],
    wanted: &[Wanted],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let settled = wanted.iter().map(|wanted| {
        let before = find(observed, wanted.type_);
        let since = before.filter(|before| before.status == wanted.status.as_str());
        Condition {
            type_: wanted.type_.to_owned(),
            status: wanted.status.as_str().to_owned(),
            reason: wanted.reason.clone(),
            message: wanted.message.clone(),
            observed_generation: generation,
            last_transition_time: since.map_or_else(
                || Time(whole_second(now)),
                |b| b.last_transition_time.clone(),
            ),
        }
    });
    settled.collect()
}

/// Whether all of `desired` are there, and of those that are `passing`, which are there only while
/// there is a reason, no other. Those of further types are others'.
pub(super) fn are_there(observed: &[Condition], desired: &[Condition], passing: &str) -> bool {
    find(observed, passing).is_some() == find(desired, passing).is_some()
        && desired
            .iter()
            .all(|desired| find(observed, &desired.type_) == Some(desired))
}

/// Whether `desired` says something else than what was there, so that a user should hear of it.
pub(super) fn is_news(observed: &[Condition], desired: &Wanted) -> bool {
    find(observed, desired.type_).is_none_or(|observed| {
        observed.status != desired.status.as_str()
            || observed.reason != desired.reason
            || observed.message != desired.message
    })
}

fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// The API stores no fractions: what is compared must have none either.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
