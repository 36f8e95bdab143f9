//! Feeds the index from the API server.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use kube::api::ObjectMeta;
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tombolo_catalog::ServiceName;
use tombolo_crds::mcs::{ServiceExport, ServiceImport, v1alpha1};
use tombolo_crds::well_known::{EXPORTS_STALE_CONDITION, PROXY_PROTOCOL_ANNOTATION};
use tombolo_crds::{ClusterExport, Peer};
use tombolo_runtime::watch::{self, Key, Watch, Watches};

use crate::index::{Index, Indexed, Packed};
use crate::mcs::McsVersion;

/// An index that tells when it changed.
#[derive(Clone)]
pub struct SharedIndex {
    /// What is known.
    pub index: Arc<RwLock<Index>>,
    /// Told after each change.
    pub changed: Arc<Notify>,
}

// === impl SharedIndex ===

impl<T: Indexed + 'static> watch::Index<Packed<T>> for SharedIndex {
    fn apply(&mut self, key: &Key, value: &Arc<Packed<T>>) {
        self.index.write().apply(name_of(key), Arc::clone(value));
        self.changed.notify_one();
    }

    fn delete(&mut self, key: &Key) {
        self.index.write().delete::<T>(&name_of(key));
        self.changed.notify_one();
    }

    fn reset(&mut self, all: &BTreeMap<Key, Arc<Packed<T>>>) {
        let all = all.iter();
        let all = all.map(|(key, object)| (name_of(key), Arc::clone(object)));
        self.index.write().reset(all.collect());
        self.changed.notify_one();
    }
}

/// Begins to watch all that decides what is written, except for the gateways.
pub fn spawn(watches: &Watches, namespace: &str, mcs: McsVersion, index: &SharedIndex) {
    keep(watches.all("namespaces"), project_namespace, index);
    keep(watches.all("services"), project_service, index);
    keep(watches.all("endpointslices"), project_slice, index);
    let exports = watches.namespaced("clusterexports", namespace);
    keep(exports, project_cluster_export, index);
    spawn_peers(watches, index);
    match mcs {
        McsVersion::V1Beta1 => {
            keep(watches.all("serviceexports"), project_export, index);
            keep(watches.all("serviceimports"), project_import, index);
        }
        McsVersion::V1Alpha1 => {
            let exports = watches.all::<v1alpha1::ServiceExport>("serviceexports");
            keep(exports, |export| project_export(export.into()), index);
            let imports = watches.all::<v1alpha1::ServiceImport>("serviceimports");
            keep(imports, |import| project_import(import.into()), index);
        }
    }
}

/// Feeds what a watch shows, as far as it says something here, to the index.
fn keep<K, T>(watch: Watch<K>, project: impl Fn(K) -> T + Send + 'static, index: &SharedIndex)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    T: Indexed + 'static,
{
    let pack = move |object| Packed::new(&project(object));
    drop(watch.feed(pack, index.clone()));
}

/// Follows which Peers say that they are stale: of each a word, the index holds no more.
fn spawn_peers(watches: &Watches, index: &SharedIndex) {
    let index = index.clone();
    let mut stale = BTreeMap::new();
    let tell = move |event: watch::Event<'_, (String, Option<String>)>| {
        match event {
            watch::Event::Apply(key, peer) => {
                stale.insert(key.name.clone(), (**peer).clone());
            }
            watch::Event::Delete(key) => {
                stale.remove(&key.name);
            }
            watch::Event::Reset(all) => {
                let all = all.iter();
                stale = all
                    .map(|(key, peer)| (key.name.clone(), (**peer).clone()))
                    .collect();
            }
        }
        let said = stale.values().cloned();
        let said = said.filter_map(|(cluster, message)| Some((cluster, message?)));
        index.index.write().set_stale(said.collect());
        index.changed.notify_one();
    };
    drop(
        watches
            .all::<Peer>("peers")
            .feed(project_peer, watch::from_fn(tell)),
    );
}

/// The cluster, and what is said if it is stale.
fn project_peer(peer: Peer) -> Option<(String, Option<String>)> {
    let conditions = peer.status.unwrap_or_default().conditions;
    let stale = conditions
        .into_iter()
        .find(|c| c.type_ == EXPORTS_STALE_CONDITION && c.status == "True");
    Some((
        peer.spec.cluster_id,
        stale.map(|condition| condition.message),
    ))
}

/// Takes out of an object's metadata what is large and says nothing here.
pub(crate) fn trim(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
}

fn name_of(key: &Key) -> ServiceName {
    ServiceName::new(&key.namespace, &key.name)
}

fn project_namespace(mut namespace: Namespace) -> Namespace {
    let metadata = namespace.metadata;
    namespace = Namespace::default();
    namespace.metadata.name = metadata.name;
    namespace.metadata.deletion_timestamp = metadata.deletion_timestamp;
    namespace.metadata.resource_version = metadata.resource_version;
    namespace
}

fn project_service(mut service: Service) -> Service {
    trim(&mut service.metadata);
    if let Some(annotations) = &mut service.metadata.annotations {
        annotations.retain(|key, _| key == PROXY_PROTOCOL_ANNOTATION);
    }
    service.status = None;
    service
}

fn project_slice(mut slice: EndpointSlice) -> EndpointSlice {
    trim(&mut slice.metadata);
    slice.metadata.annotations = None;
    slice
}

fn project_cluster_export(mut export: ClusterExport) -> ClusterExport {
    trim(&mut export.metadata);
    export
}

fn project_export(mut export: ServiceExport) -> ServiceExport {
    trim(&mut export.metadata);
    export.metadata.annotations = None;
    export
}

fn project_import(mut import: ServiceImport) -> ServiceImport {
    trim(&mut import.metadata);
    import
}
