//! Whether a CRD may be written over what a cluster has.
//!
//! The MCS CRDs are shared with other implementations, so they are never downgraded: whoever
//! brings the newest version of the schema leaves it there. A version is the two labels
//! `release-version` and `crd-schema-revision` under the domain of the API's owner.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

#[cfg(test)]
mod tests;

const RELEASE_VERSION: &str = "/release-version";
const SCHEMA_REVISION: &str = "/crd-schema-revision";

/// What to do about one CRD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The cluster has none: create it.
    Create,
    /// The cluster has an older one that can be replaced: apply ours.
    Upgrade,
    /// Leave what the cluster has.
    Keep(Kept),
}

/// Why a CRD is left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It has the very version of ours.
    Same,
    /// Its version is newer than ours.
    Newer,
    /// Nothing tells its version: another implementation wrote it, and knows what it needs.
    Unlabelled,
    /// It is being deleted.
    Terminating,
    /// It is older, but serves or stores a version of the API that ours has not.
    HasOtherVersion(String),
    /// It is older, but another implementation converts between its versions.
    ConvertedByWebhook,
    /// It is of another scope, kind or plural than ours: not the same API at all.
    Incompatible,
}

impl Kept {
    /// A stable word for it: a metric label, or the reason of an Event.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Same => "Same",
            Self::Newer => "Newer",
            Self::Unlabelled => "Unlabelled",
            Self::Terminating => "Terminating",
            Self::HasOtherVersion(_) => "HasOtherVersion",
            Self::ConvertedByWebhook => "ConvertedByWebhook",
            Self::Incompatible => "Incompatible",
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("it is of this version"),
            Self::Newer => f.write_str("it is of a newer version"),
            Self::Unlabelled => f.write_str("it has no label that tells its version"),
            Self::Terminating => f.write_str("it is being deleted"),
            Self::HasOtherVersion(version) => {
                write!(
                    f,
                    "it is older, but has version {version}, which would be lost"
                )
            }
            Self::ConvertedByWebhook => {
                f.write_str("it is older, but converted by a webhook of another controller")
            }
            Self::Incompatible => f.write_str("it is of another scope, kind or plural"),
        }
    }
}

/// Decides about one CRD of [`crate::all`], given what the cluster has under the same name.
#[must_use]
pub fn decide(
    existing: Option<&CustomResourceDefinition>,
    ours: &CustomResourceDefinition,
) -> Decision {
    let Some(existing) = existing else {
        return Decision::Create;
    };
    match reason_to_keep(existing, ours) {
        Some(kept) => Decision::Keep(kept),
        None => Decision::Upgrade,
    }
}

/// The first of `wanted` (best first) that the cluster's CRD serves: the version to speak.
#[must_use]
pub fn served<'a>(existing: &CustomResourceDefinition, wanted: &[&'a str]) -> Option<&'a str> {
    let serves = |name: &str| {
        existing
            .spec
            .versions
            .iter()
            .any(|version| version.served && version.name == name)
    };
    wanted.iter().copied().find(|name| serves(name))
}

fn reason_to_keep(
    existing: &CustomResourceDefinition,
    ours: &CustomResourceDefinition,
) -> Option<Kept> {
    if existing.metadata.deletion_timestamp.is_some() {
        return Some(Kept::Terminating);
    }
    if identity(existing) != identity(ours) {
        return Some(Kept::Incompatible);
    }
    let (Some(theirs), Some(mine)) = (version(existing), version(ours)) else {
        return Some(Kept::Unlabelled);
    };
    if theirs == mine {
        return Some(Kept::Same);
    }
    if theirs > mine {
        return Some(Kept::Newer);
    }
    if let Some(lost) = lost_version(existing, ours) {
        return Some(Kept::HasOtherVersion(lost));
    }
    let conversion = existing.spec.conversion.as_ref();
    if conversion.is_some_and(|conversion| conversion.strategy == "Webhook") {
        return Some(Kept::ConvertedByWebhook);
    }
    None
}

fn identity(crd: &CustomResourceDefinition) -> (&str, &str, &str, &str) {
    let spec = &crd.spec;
    (
        &spec.group,
        &spec.scope,
        &spec.names.kind,
        &spec.names.plural,
    )
}

/// A version of `existing` that clients may use or that is in the store, and that `ours` has not.
fn lost_version(
    existing: &CustomResourceDefinition,
    ours: &CustomResourceDefinition,
) -> Option<String> {
    let kept: BTreeSet<&str> = ours.spec.versions.iter().map(|v| v.name.as_str()).collect();
    let served = existing
        .spec
        .versions
        .iter()
        .filter(|v| v.served)
        .map(|v| &v.name);
    let stored = existing
        .status
        .iter()
        .flat_map(|status| status.stored_versions.iter().flatten());
    served
        .chain(stored)
        .find(|name| !kept.contains(name.as_str()))
        .cloned()
}

/// Release and schema revision, from the labels of whichever domain they are in. Ordered.
fn version(crd: &CustomResourceDefinition) -> Option<(Release, u64)> {
    let labels = crd.metadata.labels.as_ref()?;
    let label = |suffix| {
        labels
            .iter()
            .find(|(key, _)| key.ends_with(suffix))
            .map(|(_, value)| value)
    };
    let release = Release::parse(label(RELEASE_VERSION)?)?;
    let revision = match label(SCHEMA_REVISION) {
        Some(revision) => revision.parse().ok()?,
        None => 0,
    };
    Some((release, revision))
}

/// `v1.2.3` or `v1.2.3-rc.1`, ordered as semantic versions are: what precedes a release is less.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Release {
    numbers: [u64; 3],
    is_final: bool,
    pre: Vec<Identifier>,
}

/// Numbers are less than words.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Word(String),
}

impl Release {
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        // A label cannot hold the `+` of build metadata, but nothing says who wrote it.
        let (text, _build) = text.split_once('+').unwrap_or((text, ""));
        let (numbers, pre) = match text.split_once('-') {
            Some((numbers, pre)) => (numbers, Some(pre)),
            None => (text, None),
        };
        let mut parts = numbers.split('.').map(str::parse);
        let numbers = [
            parts.next()?.ok()?,
            parts.next()?.ok()?,
            parts.next()?.ok()?,
        ];
        if parts.next().is_some() {
            return None;
        }
        let identifier = |part: &str| match part.parse() {
            Ok(number) => Identifier::Number(number),
            Err(_) => Identifier::Word(part.to_owned()),
        };
        let pre_identifiers = pre
            .iter()
            .flat_map(|pre| pre.split('.'))
            .map(identifier)
            .collect();
        Some(Self {
            numbers,
            is_final: pre.is_none(),
            pre: pre_identifiers,
        })
    }
}
