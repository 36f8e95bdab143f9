//! In which version of the MCS-API a cluster is spoken to.

/// A version of `multicluster.x-k8s.io`. Both have the same schema; the program speaks v1beta1
/// within itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum McsVersion {
    /// For clusters whose CRDs serve no newer one.
    V1Alpha1,
    /// The version of choice.
    V1Beta1,
}

// === impl McsVersion ===

impl McsVersion {
    /// Best first.
    pub const NAMES: [&'static str; 2] = ["v1beta1", "v1alpha1"];

    /// The version of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "v1alpha1" => Some(Self::V1Alpha1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V1Alpha1 => "v1alpha1",
            Self::V1Beta1 => "v1beta1",
        }
    }

    /// The group and the version.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self {
            Self::V1Alpha1 => "multicluster.x-k8s.io/v1alpha1",
            Self::V1Beta1 => "multicluster.x-k8s.io/v1beta1",
        }
    }
}
