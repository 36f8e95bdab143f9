//! In what the exports of a service disagree, in the words of the condition `Conflict`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::SessionAffinityConfig;
use tombolo_crds::ClusterExportSpec;
use tombolo_crds::mcs::{ServiceImportType, ServicePort};

/// The property in which exports disagree, in the order in which the MCS-API lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConflictReason {
    /// The ports are not identical.
    Port,
    /// Some are headless and some are not.
    Type,
    /// Session affinity.
    SessionAffinity,
    /// Time-out of the session affinity.
    SessionAffinityConfig,
    /// Exported labels.
    Labels,
    /// Exported annotations.
    Annotations,
    /// Internal traffic policy.
    InternalTrafficPolicy,
    /// Traffic distribution.
    TrafficDistribution,
    /// IP families: by a family that not all have, traffic may reach some of the backends only.
    IpFamily,
}

impl ConflictReason {
    /// The reason as the MCS-API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Port => "PortConflict",
            Self::Type => "TypeConflict",
            Self::SessionAffinity => "SessionAffinityConflict",
            Self::SessionAffinityConfig => "SessionAffinityConfigConflict",
            Self::Labels => "LabelsConflict",
            Self::Annotations => "AnnotationsConflict",
            Self::InternalTrafficPolicy => "InternalTrafficPolicyConflict",
            Self::TrafficDistribution => "TrafficDistributionConflict",
            Self::IpFamily => "IPFamilyConflict",
        }
    }

    fn property(self) -> &'static str {
        match self {
            Self::Port => "ports",
            Self::Type => "type",
            Self::SessionAffinity => "session affinity",
            Self::SessionAffinityConfig => "session affinity config",
            Self::Labels => "labels",
            Self::Annotations => "annotations",
            Self::InternalTrafficPolicy => "internal traffic policy",
            Self::TrafficDistribution => "traffic distribution",
            Self::IpFamily => "IP families",
        }
    }
}

/// One property in which exports disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The property.
    pub reason: ConflictReason,
    /// Who wins and how many disagree, for people.
    pub message: String,
}

/// Everything in which the exports of a service disagree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts(Vec<Conflict>);

impl Conflicts {
    /// Whether the exports agree.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The conflicts, in the order of [`ConflictReason`].
    pub fn iter(&self) -> impl Iterator<Item = &Conflict> {
        self.0.iter()
    }

    /// The reason of the condition `Conflict`: several are joined by commas, and none is
    /// `NoConflicts`.
    #[must_use]
    pub fn reason(&self) -> String {
        if self.is_empty() {
            return "NoConflicts".to_owned();
        }
        self.0
            .iter()
            .map(|c| c.reason.as_str())
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The message of the condition `Conflict`; empty if there is none.
    #[must_use]
    pub fn message(&self) -> String {
        self.0
            .iter()
            .map(|c| c.message.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Finds the conflicts among exports that are sorted by age.
    pub(super) fn among(by_age: &[&ClusterExportSpec]) -> Self {
        use ConflictReason as R;
        // An import that is headless ignores session affinity: nobody can disagree about it.
        let has_affinity = by_age
            .first()
            .is_some_and(|e| e.type_ == ServiceImportType::ClusterSetIP);
        let affinities = if has_affinity { by_age } else { &[] };
        let found = [
            compare(R::Port, by_age, port_set, |e| show_ports(&e.ports)),
            compare(
                R::Type,
                by_age,
                |e| e.type_,
                |e| show_type(e.type_).to_owned(),
            ),
            compare(R::SessionAffinity, affinities, affinity, |e| {
                affinity(e).to_owned()
            }),
            compare(
                R::SessionAffinityConfig,
                affinities,
                affinity_seconds,
                show_affinity_seconds,
            ),
            compare(
                R::Labels,
                by_age,
                |e| &e.exported_labels,
                |e| show_map(&e.exported_labels),
            ),
            compare(
                R::Annotations,
                by_age,
                |e| &e.exported_annotations,
                |e| show_map(&e.exported_annotations),
            ),
            compare(R::InternalTrafficPolicy, by_age, policy, |e| {
                policy(e).to_owned()
            }),
            compare(R::TrafficDistribution, by_age, distribution, |e| {
                distribution(e).to_owned()
            }),
            compare(R::IpFamily, by_age, family_set, |e| e.ip_families.join(",")),
        ];
        Self(found.into_iter().flatten().collect())
    }
}

/// Compares one property of all exports with that of the first, the oldest.
fn compare<'a, T: PartialEq>(
    reason: ConflictReason,
    by_age: &[&'a ClusterExportSpec],
    value: impl Fn(&'a ClusterExportSpec) -> T,
    show: impl Fn(&ClusterExportSpec) -> String,
) -> Option<Conflict> {
    let (oldest, others) = by_age.split_first()?;
    let wins = value(oldest);
    let disagree = others.iter().filter(|export| value(export) != wins).count();
    if disagree == 0 {
        return None;
    }
    let also = if reason == ConflictReason::Port {
        " and what only others expose"
    } else {
        ""
    };
    let message = format!(
        "Conflicting {}. Using \"{}\" from oldest service export in \"{}\"{also}. {disagree}/{} \
         clusters disagree.",
        reason.property(),
        shorten(show(oldest)),
        oldest.cluster,
        by_age.len(),
    );
    Some(Conflict { reason, message })
}

fn port_set(export: &ClusterExportSpec) -> BTreeSet<&ServicePort> {
    export.ports.iter().collect()
}

fn family_set(export: &ClusterExportSpec) -> BTreeSet<&str> {
    export.ip_families.iter().map(String::as_str).collect()
}

// Absent fields mean what the API server would have put there.

fn affinity(export: &ClusterExportSpec) -> &str {
    export.session_affinity.as_deref().unwrap_or("None")
}

fn affinity_seconds(export: &ClusterExportSpec) -> Option<i32> {
    let config: &SessionAffinityConfig = export.session_affinity_config.as_ref()?;
    config.client_ip.as_ref()?.timeout_seconds
}

fn policy(export: &ClusterExportSpec) -> &str {
    export
        .internal_traffic_policy
        .as_deref()
        .unwrap_or("Cluster")
}

fn distribution(export: &ClusterExportSpec) -> &str {
    export.traffic_distribution.as_deref().unwrap_or_default()
}

fn show_type(type_: ServiceImportType) -> &'static str {
    match type_ {
        ServiceImportType::ClusterSetIP => "ClusterSetIP",
        ServiceImportType::Headless => "Headless",
    }
}

fn show_affinity_seconds(export: &ClusterExportSpec) -> String {
    affinity_seconds(export).map_or_else(String::new, |seconds| format!("{seconds}s"))
}

fn show_ports(ports: &[ServicePort]) -> String {
    let shown = ports.iter().map(|port| {
        let name = port
            .name
            .as_ref()
            .map(|name| format!("{name}:"))
            .unwrap_or_default();
        let hint = port
            .app_protocol
            .as_ref()
            .map(|app| format!(" ({app})"))
            .unwrap_or_default();
        format!("{name}{}/{}{hint}", port.port, port.protocol)
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn show_map(map: &BTreeMap<String, String>) -> String {
    map.iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// A condition's message has a limit, and annotations can be long.
fn shorten(mut value: String) -> String {
    const MAX_CHARS: usize = 200;
    if let Some((end, _)) = value.char_indices().nth(MAX_CHARS) {
        value.truncate(end);
        value.push('…');
    }
    value
}
