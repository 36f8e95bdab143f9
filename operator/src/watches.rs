//! Feeds the index from the API server.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ObjectMeta;
use parking_lot::RwLock;
use tokio::sync::Notify;
use tombolo_catalog::ServiceName;
use tombolo_crds::mcs::{ServiceExport, ServiceImport, v1alpha1};
use tombolo_crds::well_known::{EXPORTS_STALE_CONDITION, PROXY_PROTOCOL_ANNOTATION};
use tombolo_crds::{ClusterExport, Peer};
use tombolo_runtime::watch::{self, Key, Watches};

use crate::index::{Index, Indexed};
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

impl<T: Indexed + Send + Sync + 'static> watch::Index<T> for SharedIndex {
    fn apply(&mut self, _key: &Key, value: &Arc<T>) {
        self.index.write().apply(Arc::clone(value));
        self.changed.notify_one();
    }

    fn delete(&mut self, key: &Key) {
        self.index
            .write()
            .delete::<T>(&ServiceName::new(&key.namespace, &key.name));
        self.changed.notify_one();
    }

    fn reset(&mut self, all: &BTreeMap<Key, Arc<T>>) {
        self.index.write().reset(all.values().cloned());
        self.changed.notify_one();
    }
}

/// Begins to watch all that decides what is written, except for the gateways.
pub fn spawn(watches: &Watches, namespace: &str, mcs: McsVersion, index: &SharedIndex) {
    let feed = || index.clone();
    drop(
        watches
            .all::<Namespace>("namespaces")
            .feed(project_namespace, feed()),
    );
    drop(
        watches
            .all::<Service>("services")
            .feed(project_service, feed()),
    );
    drop(
        watches
            .all::<EndpointSlice>("endpointslices")
            .feed(project_slice, feed()),
    );
    drop(
        watches
            .namespaced::<ClusterExport>("clusterexports", namespace)
            .feed(
                |mut export| trimmed(&mut export.metadata).then_some(export),
                feed(),
            ),
    );
    spawn_peers(watches, index);
    match mcs {
        McsVersion::V1Beta1 => {
            drop(watches.all("serviceexports").feed(project_export, feed()));
            drop(watches.all("serviceimports").feed(project_import, feed()));
        }
        McsVersion::V1Alpha1 => {
            let exports = watches.all::<v1alpha1::ServiceExport>("serviceexports");
            drop(exports.feed(|export| project_export(export.into()), feed()));
            let imports = watches.all::<v1alpha1::ServiceImport>("serviceimports");
            drop(imports.feed(|import| project_import(import.into()), feed()));
        }
    }
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

fn trimmed(metadata: &mut ObjectMeta) -> bool {
    trim(metadata);
    true
}

fn project_namespace(mut namespace: Namespace) -> Option<Namespace> {
    let metadata = namespace.metadata;
    namespace = Namespace::default();
    namespace.metadata.name = metadata.name;
    namespace.metadata.deletion_timestamp = metadata.deletion_timestamp;
    namespace.metadata.resource_version = metadata.resource_version;
    Some(namespace)
}

fn project_service(mut service: Service) -> Option<Service> {
    trim(&mut service.metadata);
    if let Some(annotations) = &mut service.metadata.annotations {
        annotations.retain(|key, _| key == PROXY_PROTOCOL_ANNOTATION);
    }
    service.status = None;
    Some(service)
}

fn project_slice(mut slice: EndpointSlice) -> Option<EndpointSlice> {
    trim(&mut slice.metadata);
    slice.metadata.annotations = None;
    Some(slice)
}

fn project_export(mut export: ServiceExport) -> Option<ServiceExport> {
    trim(&mut export.metadata);
    export.metadata.annotations = None;
    Some(export)
}

fn project_import(mut import: ServiceImport) -> Option<ServiceImport> {
    trim(&mut import.metadata);
    Some(import)
}
