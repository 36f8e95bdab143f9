//! All that is known about one service at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tombolo_catalog::ServiceName;
use tombolo_crds::ClusterExport;
use tombolo_crds::mcs::{ServiceExport, ServiceImport};

use crate::gateways::Listing;
use crate::mcs::McsVersion;

/// All that is known about one service at one moment: what the plan is made from.
#[derive(Clone, Debug)]
pub struct View {
    /// ID of this cluster.
    pub cluster: Arc<str>,
    /// The version of the MCS-API that this cluster is spoken to in.
    pub mcs: McsVersion,
    /// The service.
    pub name: ServiceName,
    /// Its namespace in this cluster.
    pub namespace: NamespaceState,
    /// Its ServiceExport in this cluster.
    pub export: Option<Arc<ServiceExport>>,
    /// The Service of its name in this cluster.
    pub service: Option<Arc<Service>>,
    /// That Service's EndpointSlices.
    pub service_slices: Vec<Arc<EndpointSlice>>,
    /// This cluster's ClusterExport of it, and the copies of others'.
    pub cluster_exports: Vec<Arc<ClusterExport>>,
    /// The ServiceImport of its name, ours or not.
    pub import: Option<Arc<ServiceImport>>,
    /// The Service with the name of its derived Service, ours or not.
    pub derived: Option<Arc<Service>>,
    /// EndpointSlices whose names begin with that name, ours or not.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// The gateway replicas that are alive.
    pub gateways: Arc<[Listing]>,
    /// Clusters that cannot be reached, and since when and until when their exports stand.
    pub stale: Arc<BTreeMap<String, String>>,
    /// The resourceVersion with which the derived Service got its gateway ports.
    pub ports_since: Option<u64>,
    /// Whether gateways split all of its traffic, and so the slices hold no others.
    pub exact: bool,
    /// Tombolo's own namespace.
    pub system: Arc<str>,
    /// The Services that stand for endpoints of other clusters, if it is headless.
    pub endpoints: Vec<EndpointService>,
    /// EndpointSlices of those.
    pub endpoint_slices: Vec<Arc<EndpointSlice>>,
    /// The API server had no address left for the Service of an endpoint; what it said.
    pub addresses_exhausted: Option<String>,
    /// The API server did not confirm that an export is to be withdrawn: it stays.
    pub withdrawal_unconfirmed: bool,
    /// A write has failed, so no further ones are planned; the statuses say so.
    pub failure: Option<String>,
}

/// A Service that stands for an endpoint of another cluster.
#[derive(Clone, Debug)]
pub struct EndpointService {
    /// The Service.
    pub service: Arc<Service>,
    /// The resourceVersion with which it got its gateway ports.
    pub ports_since: Option<u64>,
}

/// Whether objects can be made in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceState {
    /// There is none of this name.
    Absent,
    /// They can.
    Present,
    /// It is being deleted with all that is in it.
    Terminating,
}
