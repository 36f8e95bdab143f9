//! The identity of a service within the clusterset.

use std::fmt;

use serde::{Deserialize, Serialize};
use tombolo_crds::ClusterExportSpec;

/// Namespace and name of a service: the same in every cluster of a clusterset (KEP-1645,
/// namespace sameness).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceName {
    /// Namespace of the service.
    pub namespace: String,
    /// Name of the service.
    pub name: String,
}

impl ServiceName {
    /// The service `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl From<&ClusterExportSpec> for ServiceName {
    fn from(export: &ClusterExportSpec) -> Self {
        Self::new(&export.namespace, &export.name)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
