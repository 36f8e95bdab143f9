//! A cluster in memory: what is planned is carried out at once, as an API server would.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use tombolo_catalog::{Policies, PortAllotter, ServiceName, derived_service_name};
use tombolo_crds::mcs::{
    self, ServiceExport, ServiceExportSpec, ServiceImport, ServiceImportSpec, ServiceImportType,
};
use tombolo_crds::well_known::{KUBE_SERVICE_NAME_LABEL, SOURCE_CLUSTER_LABEL};
use tombolo_crds::{ClusterExport, ClusterExportSpec};

use crate::gateways::Listing;
use crate::index::{Index, Indexed};
use crate::mcs::McsVersion;
use crate::plan::action::{Action, DeletedKind};
use crate::plan::addresses::Addresses;
use crate::plan::view::View;
use crate::plan::{Allotted, Now, Plan, plan};

pub(super) const CLUSTER_IP: &str = "10.96.0.7";
pub(super) const ADDRESS_CAP: usize = 500;
pub(super) const ADDRESS_REST: Duration = Duration::from_secs(300);
pub(super) const SYSTEM: &str = "tombolo-system";

pub(super) struct World {
    pub(super) index: Index,
    pub(super) allotted: Allotted,
    /// For what rests.
    pub(super) monotonic: Instant,
    /// How many addresses the API server still has for endpoints.
    pub(super) addresses: usize,
    /// When the last plan wants to be made again.
    pub(super) look_again: Option<Instant>,
    pub(super) wall: Timestamp,
    pub(super) notices: Vec<&'static str>,
    /// Writes that the API server refuses.
    pub(super) refuse: Option<&'static str>,
    /// The families of its Services, the default first.
    pub(super) families: &'static [&'static str],
    /// Whether it says that what seems to be gone is gone.
    pub(super) confirms: bool,
    version: u64,
}

impl World {
    /// The cluster `east` with the namespace `demo`, all of whose objects are known.
    pub(super) fn new() -> Self {
        let mut index = Index::new("east", SYSTEM, McsVersion::V1Beta1);
        index.set_gateways([], &BTreeSet::new());
        index.set_policies(Policies::default());
        let mut world = Self {
            index,
            allotted: Allotted {
                ports: PortAllotter::new(Duration::ZERO),
                addresses: Addresses::new(ADDRESS_CAP, ADDRESS_REST),
            },
            monotonic: Instant::now(),
            addresses: usize::MAX,
            look_again: None,
            wall: Timestamp::from_second(1_000_000).unwrap(),
            notices: Vec::new(),
            refuse: None,
            families: &["IPv4"],
            confirms: true,
            version: 100,
        };
        world.put(namespace("demo"));
        world
    }

    pub(super) fn put<T: Indexed>(&mut self, mut object: T) {
        self.version += 1;
        let version = self.version;
        let metadata = object.meta_mut();
        metadata.resource_version = Some(version.to_string());
        metadata.generation.get_or_insert(1);
        metadata.uid.get_or_insert_with(|| format!("uid-{version}"));
        self.index.observe(&object);
    }

    pub(super) fn remove<T: Indexed>(&mut self, namespace: &str, name: &str) {
        self.index.delete::<T>(&ServiceName::new(namespace, name));
    }

    /// Writes until nothing is planned any more; the kinds that were written.
    pub(super) fn settle(&mut self) -> Vec<String> {
        let mut written = Vec::new();
        let (mut failure, mut unconfirmed, mut addresses_exhausted) = (None, false, None);
        for _ in 0..8 {
            let mut view = self.view();
            view.failure.clone_from(&failure);
            view.withdrawal_unconfirmed = unconfirmed;
            view.addresses_exhausted.clone_from(&addresses_exhausted);
            let now = Now {
                wall: self.wall,
                monotonic: self.monotonic,
            };
            let Plan {
                actions,
                notices,
                look_again,
            } = plan(&view, &mut self.allotted, now, |_| false);
            self.look_again = look_again;
            self.notices
                .extend(notices.iter().map(|(_, notice)| notice.reason));
            if actions.is_empty() {
                return written;
            }
            for action in actions {
                if self.refuse == Some(action.kind()) {
                    failure = Some("quota exceeded".to_owned());
                } else if matches!(action, Action::Withdraw(_)) && !self.confirms {
                    unconfirmed = true;
                } else if self.is_without_address(&action) {
                    addresses_exhausted = Some("range is full".to_owned());
                } else {
                    let sign = if action.is_removal() { "-" } else { "" };
                    written.push(format!("{sign}{}", action.kind()));
                    self.carry_out(action);
                }
            }
        }
        panic!("does not come to rest: {written:?}");
    }

    pub(super) fn view(&self) -> View {
        self.index.view(&web())
    }

    pub(super) fn import(&self) -> Option<Arc<ServiceImport>> {
        self.view().import
    }

    pub(super) fn export_condition(&self, type_: &str) -> Option<(String, String)> {
        let export = self.view().export?;
        condition(&export.status.as_ref()?.conditions, type_)
    }

    pub(super) fn import_condition(&self, type_: &str) -> Option<(String, String)> {
        let import = self.view().import?;
        condition(&import.status.as_ref()?.conditions, type_)
    }

    /// The own ClusterExport.
    pub(super) fn own_export(&self) -> Option<ClusterExportSpec> {
        let exports = self.view().cluster_exports;
        exports
            .iter()
            .find(|export| export.spec.cluster == "east")
            .map(|e| e.spec.clone())
    }

    /// What a client can reach behind each port name: `address:port`, of one source cluster.
    pub(super) fn endpoints(&self, cluster: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for slice in &self.view().slices {
            let labels = slice.metadata.labels.clone().unwrap_or_default();
            if labels.get(SOURCE_CLUSTER_LABEL).map(String::as_str) != Some(cluster) {
                continue;
            }
            for port in slice.ports.iter().flatten() {
                let reached = slice
                    .endpoints
                    .iter()
                    .flat_map(|endpoint| &endpoint.addresses);
                let reached = reached.map(|address| format!("{address}:{}", port.port.unwrap()));
                all.entry(port.name.clone().unwrap_or_default())
                    .or_default()
                    .extend(reached);
            }
        }
        all
    }

    pub(super) fn gateway_port(&self, port: i32) -> i32 {
        use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
        let derived = self.view().derived.unwrap();
        let ports = derived.spec.clone().unwrap().ports.unwrap();
        let found = ports.into_iter().find(|found| found.port == port).unwrap();
        match found.target_port {
            Some(IntOrString::Int(number)) => number,
            other => panic!("{other:?}"),
        }
    }

    fn is_without_address(&self, action: &Action) -> bool {
        let Action::ApplyEndpoint(service) = action else {
            return false;
        };
        self.addresses == 0 && self.endpoint_service(service).is_none()
    }

    fn endpoint_service(&self, service: &Service) -> Option<Arc<Service>> {
        let mut found = self.view().endpoints.into_iter().map(|found| found.service);
        found.find(|found| found.metadata.name == service.metadata.name)
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::ApplyClusterExport(mut export) => {
                export.metadata.namespace = Some(SYSTEM.to_owned());
                self.put(*export);
            }
            Action::Withdraw(withdrawal) => {
                self.remove::<ClusterExport>(SYSTEM, &withdrawal.object);
            }
            Action::ApplyImport(mut import) => {
                let found = self.view().import;
                import.status = found.as_ref().and_then(|found| found.status.clone());
                import.metadata.uid = found.and_then(|found| found.metadata.uid.clone());
                self.put(*import);
            }
            Action::ApplyImportStatus(import) => {
                let mut found = (*self.view().import.expect("a status is of something")).clone();
                found.status = import.status;
                self.put(found);
            }
            Action::ApplyExportStatus(export) => {
                let mut found = (*self.view().export.expect("a status is of something")).clone();
                found.status = export.status;
                self.put(found);
            }
            Action::ApplyDerived(mut service) => {
                let spec = service.spec.as_mut().unwrap();
                let asked = spec.ip_families.take().unwrap_or_default();
                let others = self.families.iter().map(|family| (*family).to_owned());
                let mut families = asked.clone();
                families.extend(others.filter(|family| !asked.contains(family)));
                if spec.ip_family_policy.as_deref() == Some("SingleStack") {
                    families.truncate(1);
                }
                let ips = families.iter().map(|family| match family.as_str() {
                    "IPv6" => "fd00:96::7".to_owned(),
                    _ => CLUSTER_IP.to_owned(),
                });
                spec.cluster_ips = Some(ips.collect());
                spec.ip_families = Some(families);
                self.put(*service);
            }
            Action::ApplyEndpoint(mut service) => {
                let address = match self.endpoint_service(&service) {
                    // Those of IPv6 end with that of IPv4.
                    Some(found) => {
                        let first = found.spec.clone().unwrap().cluster_ip.unwrap();
                        first.rsplit(':').next().unwrap().to_owned()
                    }
                    None => {
                        self.addresses -= 1;
                        self.version += 1;
                        let [high, low] = u16::try_from(self.version).unwrap().to_be_bytes();
                        format!("10.97.{high}.{low}")
                    }
                };
                let spec = service.spec.as_mut().unwrap();
                let mut families = self.families.to_vec();
                if spec.ip_family_policy.as_deref() == Some("SingleStack") {
                    families.truncate(1);
                }
                let addresses = families.iter().map(|family| match *family {
                    "IPv6" => format!("fd00:97::{address}"),
                    _ => address.clone(),
                });
                let addresses: Vec<String> = addresses.collect();
                spec.cluster_ip = addresses.first().cloned();
                spec.cluster_ips = Some(addresses);
                spec.ip_families = Some(families.into_iter().map(str::to_owned).collect());
                self.put(*service);
            }
            Action::ApplySlice(slice) => self.put(*slice),
            Action::Delete(deletion) => match deletion.kind {
                DeletedKind::EndpointSlice => self.index.delete::<EndpointSlice>(&deletion.name),
                DeletedKind::Service => self.index.delete::<Service>(&deletion.name),
                DeletedKind::ServiceImport => self.index.delete::<ServiceImport>(&deletion.name),
            },
        }
    }
}

pub(super) fn web() -> ServiceName {
    ServiceName::new("demo", "web")
}

pub(super) fn derived_name() -> String {
    derived_service_name("demo", "web")
}

pub(super) fn namespace(name: &str) -> Namespace {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    };
    Namespace {
        metadata,
        ..Namespace::default()
    }
}

pub(super) fn export() -> ServiceExport {
    let mut export = ServiceExport::new("web", ServiceExportSpec::default());
    export.metadata.namespace = Some("demo".to_owned());
    export.metadata.creation_timestamp = Some(Time(Timestamp::from_second(5_000).unwrap()));
    export
}

pub(super) fn service(ports: &[(&str, i32)]) -> Service {
    let ports = ports.iter().map(|(name, port)| ServicePort {
        name: Some((*name).to_owned()),
        port: *port,
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    });
    Service {
        metadata: metadata("web"),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            cluster_ip: Some("10.96.0.1".to_owned()),
            ports: Some(ports.collect()),
            ip_families: Some(vec!["IPv4".to_owned()]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// A slice of the Service `web`, as Kubernetes' own controller writes it.
pub(super) fn slice(name: &str, ports: &[(&str, i32)], addresses: &[&str]) -> EndpointSlice {
    let mut slice = EndpointSlice {
        metadata: metadata(name),
        address_type: "IPv4".to_owned(),
        endpoints: addresses
            .iter()
            .map(|address| endpoint(address, true))
            .collect(),
        ports: Some(
            ports
                .iter()
                .map(|(name, port)| endpoint_port(name, *port))
                .collect(),
        ),
    };
    let labels = slice.metadata.labels.get_or_insert_default();
    labels.insert(KUBE_SERVICE_NAME_LABEL.to_owned(), "web".to_owned());
    slice
}

pub(super) fn endpoint(address: &str, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(true),
            terminating: Some(!ready),
        }),
        zone: Some("a".to_owned()),
        ..Endpoint::default()
    }
}

fn endpoint_port(name: &str, port: i32) -> EndpointPort {
    EndpointPort {
        name: Some(name.to_owned()),
        port: Some(port),
        protocol: Some("TCP".to_owned()),
        app_protocol: None,
    }
}

/// Another cluster's export of `web`, younger than ours.
pub(super) fn copy(cluster: &str, ports: &[(&str, i32)]) -> ClusterExport {
    let ports = ports.iter().map(|(name, port)| mcs::ServicePort {
        name: Some((*name).to_owned()),
        protocol: "TCP".to_owned(),
        app_protocol: None,
        port: *port,
    });
    let spec = ClusterExportSpec {
        cluster: cluster.to_owned(),
        namespace: "demo".to_owned(),
        name: "web".to_owned(),
        created_at: Time(Timestamp::from_second(6_000).unwrap()),
        type_: ServiceImportType::ClusterSetIP,
        ports: ports.collect(),
        session_affinity: None,
        session_affinity_config: None,
        internal_traffic_policy: None,
        traffic_distribution: None,
        ip_families: vec!["IPv4".to_owned()],
        exported_labels: BTreeMap::new(),
        exported_annotations: BTreeMap::new(),
        ready: true,
        endpoints: Vec::new(),
        proxy_protocol: None,
    };
    let mut export = ClusterExport::new(&spec.object_name(), spec);
    export.metadata.namespace = Some(SYSTEM.to_owned());
    export
}

pub(super) fn gateway(address: &str, linked: &[&str]) -> Listing {
    Listing {
        addresses: vec![address.parse::<IpAddr>().unwrap()],
        heard: true,
        linked: linked.iter().map(|cluster| (*cluster).to_owned()).collect(),
        listening: Some(u64::MAX),
        refused: BTreeSet::new(),
        refused_endpoints: BTreeMap::new(),
    }
}

/// A ServiceImport of the same name that another implementation made.
pub(super) fn foreign_import() -> ServiceImport {
    let mut import = ServiceImport::new("web", ServiceImportSpec::default());
    import.metadata.namespace = Some("demo".to_owned());
    import
}

pub(super) fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some("demo".to_owned()),
        ..ObjectMeta::default()
    }
}

fn condition(conditions: &[Condition], type_: &str) -> Option<(String, String)> {
    let found = conditions
        .iter()
        .find(|condition| condition.type_ == type_)?;
    Some((found.status.clone(), found.reason.clone()))
}
