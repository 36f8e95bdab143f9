//! Which cluster this is, and of which clusterset.
//!
//! The About API's ClusterProperties say so where they exist, else whoever installed Tombolo. Where
//! both speak they must agree: a cluster that took the wrong one of two IDs would speak for
//! another.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tombolo_catalog::{is_dns_label, is_dns_subdomain};
use tombolo_crds::about::{ClusterProperty, ClusterPropertySpec};
use tombolo_crds::well_known::{CLUSTER_ID_PROPERTY, CLUSTERSET_PROPERTY};
use tombolo_runtime::watch::{Event, Watches, from_fn};

#[cfg(test)]
mod tests;

/// The two names of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's ID, a DNS label.
    pub cluster: String,
    /// The clusterset's, a DNS name.
    pub clusterset: String,
}

/// What is said about the two names in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The cluster's ID.
    pub cluster: Option<String>,
    /// The clusterset's.
    pub clusterset: Option<String>,
}

/// Why it is not known which cluster this is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Nobody says.
    #[error("{what} is unknown: make a ClusterProperty {property}, or give the flag {flag}")]
    Unknown {
        /// `the cluster's ID` or `the clusterset`.
        what: &'static str,
        /// The ClusterProperty that could say it.
        property: &'static str,
        /// The flag that could say it.
        flag: &'static str,
    },
    /// Two say different things.
    #[error(
        "{what} is {from_property:?} by ClusterProperty {property}, but {from_flag:?} by flag {flag}"
    )]
    Disagreement {
        /// `the cluster's ID` or `the clusterset`.
        what: &'static str,
        /// The ClusterProperty.
        property: &'static str,
        /// Its value.
        from_property: String,
        /// The flag.
        flag: &'static str,
        /// Its value.
        from_flag: String,
    },
    /// It cannot be one.
    #[error("{what} is {value:?}, which is no {syntax}")]
    Invalid {
        /// `the cluster's ID` or `the clusterset`.
        what: &'static str,
        /// What it is said to be.
        value: String,
        /// What it should be.
        syntax: &'static str,
    },
}

// === impl IdentityError ===

impl IdentityError {
    /// The reason of the Event.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "ClusterIdentityUnknown",
            Self::Disagreement { .. } => "ClusterIdentityDisagreement",
            Self::Invalid { .. } => "ClusterIdentityInvalid",
        }
    }
}

// === impl Identity ===

impl Identity {
    /// Decides by what the ClusterProperties say, and what the flags do.
    ///
    /// # Errors
    /// If neither says something, or they disagree, or say what cannot be.
    pub fn decide(properties: &Names, flags: &Names) -> Result<Self, IdentityError> {
        let cluster = Question {
            what: "the cluster's ID",
            property: CLUSTER_ID_PROPERTY,
            flag: "--cluster-id",
            syntax: "DNS label",
            is_valid: is_dns_label,
        };
        let clusterset = Question {
            what: "the clusterset",
            property: CLUSTERSET_PROPERTY,
            flag: "--clusterset",
            syntax: "DNS name",
            is_valid: is_dns_subdomain,
        };
        Ok(Self {
            cluster: cluster.decide(properties.cluster.as_deref(), flags.cluster.as_deref())?,
            clusterset: clusterset.decide(
                properties.clusterset.as_deref(),
                flags.clusterset.as_deref(),
            )?,
        })
    }
}

struct Question {
    what: &'static str,
    property: &'static str,
    flag: &'static str,
    syntax: &'static str,
    is_valid: fn(&str) -> bool,
}

// === impl Question ===

impl Question {
    fn decide(
        &self,
        from_property: Option<&str>,
        from_flag: Option<&str>,
    ) -> Result<String, IdentityError> {
        let Self {
            what,
            property,
            flag,
            syntax,
            is_valid,
        } = *self;
        let value = match (from_property, from_flag) {
            (None, None) => {
                return Err(IdentityError::Unknown {
                    what,
                    property,
                    flag,
                });
            }
            (Some(a), Some(b)) if a != b => {
                return Err(IdentityError::Disagreement {
                    what,
                    property,
                    from_property: a.to_owned(),
                    flag,
                    from_flag: b.to_owned(),
                });
            }
            (Some(value), _) | (None, Some(value)) => value.to_owned(),
        };
        if !is_valid(&value) {
            return Err(IdentityError::Invalid {
                what,
                value,
                syntax,
            });
        }
        Ok(value)
    }
}

/// Follows the ClusterProperties; none until they were listed. A cluster without the About API has
/// none of them.
#[must_use]
pub fn properties(watches: &Watches) -> watch::Receiver<Option<Names>> {
    let (sender, receiver) = watch::channel(None);
    let known: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
    let index = from_fn(move |event: Event<'_, ClusterPropertySpec>| {
        let mut known = known.lock();
        match event {
            Event::Apply(key, property) => {
                known.insert(key.name.clone(), property.value.clone());
            }
            Event::Delete(key) => {
                known.remove(&key.name);
            }
            Event::Reset(all) => {
                let all = all.iter();
                *known = all
                    .map(|(key, p)| (key.name.clone(), p.value.clone()))
                    .collect();
            }
        }
        let names = Names {
            cluster: known.get(CLUSTER_ID_PROPERTY).cloned(),
            clusterset: known.get(CLUSTERSET_PROPERTY).cloned(),
        };
        sender.send_if_modified(|current| {
            let is_news = current.as_ref() != Some(&names);
            *current = Some(names);
            is_news
        });
    });
    let watch = watches
        .all::<ClusterProperty>("clusterproperties")
        .absent_is_empty();
    drop(watch.feed(|property| Some(property.spec), index));
    receiver
}
