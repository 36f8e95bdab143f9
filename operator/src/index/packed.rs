//! Objects at rest.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use kube::Resource;
use kube::api::ObjectMeta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// An object as JSON, which takes a fifth to a half of what the object itself does: a Kubernetes
/// type has room for every field that there is, and each of its maps for eleven entries. Most
/// objects are looked at when they change, and then never again.
pub struct Packed<T> {
    version: Option<u64>,
    json: Box<[u8]>,
    object: PhantomData<fn() -> T>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    metadata: ObjectMeta,
}

// === impl Packed ===

impl<T: Resource + Serialize + DeserializeOwned> Packed<T> {
    /// Packs an object. Nothing, if it could not be unpacked again.
    #[must_use]
    pub fn new(object: &T) -> Option<Self> {
        let json = serde_json::to_vec(object);
        let json = json.and_then(|json| serde_json::from_slice::<T>(&json).map(|_| json));
        let json = json.inspect_err(|error| {
            let (namespace, name) = (&object.meta().namespace, &object.meta().name);
            tracing::warn!(namespace, name, %error, "object refused: it cannot be kept as JSON");
        });
        // Kubernetes' resourceVersions of one kind may be compared as numbers (KEP-5504).
        let version = object.meta().resource_version.as_deref();
        Some(Self {
            version: version.and_then(|version| version.parse().ok()),
            json: json.ok()?.into_boxed_slice(),
            object: PhantomData,
        })
    }

    /// The object.
    #[must_use]
    pub fn unpack(&self) -> Arc<T> {
        Arc::new(self.read())
    }

    /// The object's metadata alone.
    #[must_use]
    pub fn metadata(&self) -> ObjectMeta {
        self.read::<Head>().metadata
    }

    /// Its resourceVersion.
    pub(super) fn version(&self) -> Option<u64> {
        self.version
    }

    fn read<D: DeserializeOwned>(&self) -> D {
        match serde_json::from_slice(&self.json) {
            Ok(read) => read,
            Err(error) => unreachable!("{error} in what was read when it was packed"),
        }
    }
}

impl<T> PartialEq for Packed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl<T> fmt::Debug for Packed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.json))
    }
}

#[cfg(test)]
mod tests;
