//! What an export that was written elsewhere must satisfy before anything is done with it.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_crds::mcs::ServicePort;
use tombolo_crds::{ClusterExportSpec, ExportedEndpoint};

use crate::syntax::{is_dns_label, is_label_value, is_qualified_name};

#[cfg(test)]
mod tests;

/// Most ports that an export may have. Kubernetes sets no limit to the ports of a Service; this
/// one keeps a single export below 2 % of the gateway ports of an importing cluster.
pub const MAX_PORTS: usize = 256;

/// Most endpoints that a headless export may name: more would neither fit well into one object nor
/// into the addresses that an importing cluster has for them.
pub const MAX_ENDPOINTS: usize = 1000;

/// Most bytes that the keys and values of exported labels and annotations may take together: a
/// quarter of what Kubernetes allows the annotations of one object, so that the ServiceImport has
/// room for its own.
pub const MAX_METADATA_BYTES: usize = 64 * 1024;

const MAX_AFFINITY_SECONDS: i32 = 86_400;

/// Domains whose labels and annotations tell Tombolo and other MCS implementations what an object
/// is: an export cannot bring them to an import.
const RESERVED_DOMAINS: [&str; 2] = ["tombolo.io", "multicluster.kubernetes.io"];

/// Why an export cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The cluster ID, namespace or name is no DNS label.
    #[error("{field} {value:?} is not a DNS label")]
    Name {
        /// `cluster`, `namespace` or `name`.
        field: &'static str,
        /// What was found, cut to a printable length.
        value: String,
    },
    /// The creation time does not fit into a Kubernetes object.
    #[error("createdAt is before 1970")]
    CreatedAt,
    /// The export has no port.
    #[error("there is no port")]
    NoPorts,
    /// The export has more than [`MAX_PORTS`].
    #[error("there are {0} ports, more than {MAX_PORTS}")]
    TooManyPorts(usize),
    /// A port's name, protocol, application protocol or number is none.
    #[error("port {index}: {field} {value:?} is not allowed")]
    Port {
        /// Position of the port in the list.
        index: usize,
        /// `name`, `protocol`, `appProtocol` or `port`.
        field: &'static str,
        /// What was found, cut to a printable length.
        value: String,
    },
    /// Two ports have one name, or one protocol and number.
    #[error("port {index} has the {field} of another port")]
    DuplicatePort {
        /// Position of the second of the two.
        index: usize,
        /// `name`, or `protocol and number`.
        field: &'static str,
    },
    /// A field has a value that the Service API does not know.
    #[error("{field} {value:?} is not allowed")]
    Field {
        /// `sessionAffinity`, `sessionAffinityConfig`, `internalTrafficPolicy`,
        /// `trafficDistribution`, `ipFamilies` or `proxyProtocol`.
        field: &'static str,
        /// What was found, cut to a printable length.
        value: String,
    },
    /// The key or value of an exported label is none.
    #[error("exported label {0:?} has no valid key or value")]
    Label(String),
    /// The key of an exported annotation is none.
    #[error("exported annotation {0:?} has no valid key")]
    Annotation(String),
    /// The key of an exported label or annotation belongs to Tombolo or the MCS-API.
    #[error("exported label or annotation {0:?} is in a reserved domain")]
    ReservedKey(String),
    /// The export names more than [`MAX_ENDPOINTS`].
    #[error("there are {0} endpoints, more than {MAX_ENDPOINTS}")]
    TooManyEndpoints(usize),
    /// An endpoint's ID is no DNS label.
    #[error("endpoint {0:?} is not a DNS label")]
    Endpoint(String),
    /// Two endpoints have one ID.
    #[error("there are two endpoints {0:?}")]
    DuplicateEndpoint(String),
    /// Labels and annotations take more than [`MAX_METADATA_BYTES`].
    #[error("exported labels and annotations take {0} bytes, more than {MAX_METADATA_BYTES}")]
    MetadataTooLarge(usize),
}

impl Malformed {
    /// A stable word for it: a metric label, or the reason of a condition.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Name { .. } => "InvalidName",
            Self::CreatedAt => "InvalidCreationTime",
            Self::NoPorts => "NoPorts",
            Self::TooManyPorts(_) => "TooManyPorts",
            Self::Port { .. } => "InvalidPort",
            Self::DuplicatePort { .. } => "DuplicatePort",
            Self::Field { .. } => "InvalidField",
            Self::Label(_) => "InvalidExportedLabel",
            Self::Annotation(_) => "InvalidExportedAnnotation",
            Self::ReservedKey(_) => "ReservedKey",
            Self::TooManyEndpoints(_) => "TooManyEndpoints",
            Self::Endpoint(_) => "InvalidEndpoint",
            Self::DuplicateEndpoint(_) => "DuplicateEndpoint",
            Self::MetadataTooLarge(_) => "ExportedMetadataTooLarge",
        }
    }
}

/// Checks an export that came from outside: after it, every field can be written into a
/// ServiceImport and a Service without the API server's refusing it.
///
/// # Errors
/// The first rule that it breaks.
pub fn validate(export: &ClusterExportSpec) -> Result<(), Malformed> {
    validate_name("cluster", &export.cluster)?;
    validate_name("namespace", &export.namespace)?;
    validate_name("name", &export.name)?;
    // A negative year is a valid timestamp here, but not in RFC 3339.
    if export.created_at.0.as_second() < 0 {
        return Err(Malformed::CreatedAt);
    }
    validate_ports(&export.ports)?;
    validate_traffic(export)?;
    validate_endpoints(&export.endpoints)?;
    validate_proxy_protocol(export.proxy_protocol.as_deref())?;
    validate_metadata(&export.exported_labels, &export.exported_annotations)?;
    Ok(())
}

fn validate_name(field: &'static str, value: &str) -> Result<(), Malformed> {
    if !is_dns_label(value) {
        return Err(Malformed::Name {
            field,
            value: excerpt(value),
        });
    }
    Ok(())
}

fn validate_ports(ports: &[ServicePort]) -> Result<(), Malformed> {
    if ports.is_empty() {
        return Err(Malformed::NoPorts);
    }
    if ports.len() > MAX_PORTS {
        return Err(Malformed::TooManyPorts(ports.len()));
    }
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let wrong = |field, value: &str| Malformed::Port {
            index,
            field,
            value: excerpt(value),
        };
        if let Some(name) = &port.name
            && !is_dns_label(name)
        {
            return Err(wrong("name", name));
        }
        if !matches!(port.protocol.as_str(), "TCP" | "UDP" | "SCTP") {
            return Err(wrong("protocol", &port.protocol));
        }
        if let Some(app_protocol) = &port.app_protocol
            && !is_qualified_name(app_protocol)
        {
            return Err(wrong("appProtocol", app_protocol));
        }
        if !(1..=i32::from(u16::MAX)).contains(&port.port) {
            return Err(wrong("port", &port.port.to_string()));
        }
        if !names.insert(port.name.as_deref()) {
            return Err(Malformed::DuplicatePort {
                index,
                field: "name",
            });
        }
        if !numbers.insert((&port.protocol, port.port)) {
            return Err(Malformed::DuplicatePort {
                index,
                field: "protocol and number",
            });
        }
    }
    Ok(())
}

fn validate_traffic(export: &ClusterExportSpec) -> Result<(), Malformed> {
    let wrong = |field, value: &str| Malformed::Field {
        field,
        value: excerpt(value),
    };
    if let Some(affinity) = &export.session_affinity
        && !matches!(affinity.as_str(), "None" | "ClientIP")
    {
        return Err(wrong("sessionAffinity", affinity));
    }
    let timeout = export
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref())
        .and_then(|client_ip| client_ip.timeout_seconds);
    if let Some(seconds) = timeout
        && !(1..=MAX_AFFINITY_SECONDS).contains(&seconds)
    {
        return Err(wrong("sessionAffinityConfig", &seconds.to_string()));
    }
    if let Some(policy) = &export.internal_traffic_policy
        && !matches!(policy.as_str(), "Cluster" | "Local")
    {
        return Err(wrong("internalTrafficPolicy", policy));
    }
    // Newer Kubernetes versions add values; an unknown one is a hint that nobody here takes.
    if let Some(distribution) = &export.traffic_distribution
        && !is_qualified_name(distribution)
    {
        return Err(wrong("trafficDistribution", distribution));
    }
    let families: Vec<&str> = export
        .ip_families
        .iter()
        .take(3)
        .map(String::as_str)
        .collect();
    if !matches!(
        families[..],
        [] | ["IPv4" | "IPv6"] | ["IPv4", "IPv6"] | ["IPv6", "IPv4"]
    ) {
        return Err(wrong("ipFamilies", &families.join(",")));
    }
    Ok(())
}

// Which versions there are is for the exporting cluster alone to know.
fn validate_proxy_protocol(version: Option<&str>) -> Result<(), Malformed> {
    let version = version.unwrap_or("v2");
    if version.len() > 8 || !version.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Malformed::Field {
            field: "proxyProtocol",
            value: excerpt(version),
        });
    }
    Ok(())
}

fn validate_endpoints(endpoints: &[ExportedEndpoint]) -> Result<(), Malformed> {
    if endpoints.len() > MAX_ENDPOINTS {
        return Err(Malformed::TooManyEndpoints(endpoints.len()));
    }
    let mut ids = BTreeSet::new();
    for ExportedEndpoint { id, .. } in endpoints {
        if !is_dns_label(id) {
            return Err(Malformed::Endpoint(excerpt(id)));
        }
        if !ids.insert(id) {
            return Err(Malformed::DuplicateEndpoint(excerpt(id)));
        }
    }
    Ok(())
}

fn validate_metadata(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> Result<(), Malformed> {
    let size = labels
        .iter()
        .chain(annotations)
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if size > MAX_METADATA_BYTES {
        return Err(Malformed::MetadataTooLarge(size));
    }
    for (key, value) in labels {
        if !is_qualified_name(key) || !is_label_value(value) {
            return Err(Malformed::Label(excerpt(key)));
        }
    }
    for key in annotations.keys() {
        if !is_qualified_name(key) {
            return Err(Malformed::Annotation(excerpt(key)));
        }
    }
    match labels
        .keys()
        .chain(annotations.keys())
        .find(|key| is_reserved(key))
    {
        Some(key) => Err(Malformed::ReservedKey(excerpt(key))),
        None => Ok(()),
    }
}

fn is_reserved(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else {
        return false;
    };
    RESERVED_DOMAINS.iter().any(|reserved| {
        domain
            .strip_suffix(reserved)
            .is_some_and(|sub| sub.is_empty() || sub.ends_with('.'))
    })
}

/// The beginning of a value that may be long: these errors end in logs and conditions.
fn excerpt(value: &str) -> String {
    const MAX_CHARS: usize = 80;
    match value.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}
