//! A cluster in memory, in which changes are planned as the operator plans them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use tombolo_catalog::{PortAllotter, ServiceName};
use tombolo_crds::mcs::{ServiceImportType, ServicePort};
use tombolo_crds::{ClusterExport, ClusterExportSpec};
use tombolo_operator::index::{Index, Indexed};
use tombolo_operator::mcs::McsVersion;
use tombolo_operator::plan::action::Action;
use tombolo_operator::plan::addresses::Addresses;
use tombolo_operator::plan::{Allotted, Now, plan};

const SYSTEM: &str = "tombolo-system";
pub(crate) const EXPORTERS: [&str; 3] = ["north", "south", "west"];

/// A cluster in memory in which nothing is left to do.
pub(crate) struct Cluster {
    index: Index,
    allotted: Allotted,
    version: u64,
}

// === impl Cluster ===

impl Cluster {
    /// It imports so many `services`, each of which three clusters export.
    pub(crate) fn with(services: usize) -> Self {
        let mut cluster = Self {
            index: Index::new("east", SYSTEM, McsVersion::V1Beta1),
            allotted: Allotted {
                ports: PortAllotter::new(Duration::ZERO),
                addresses: Addresses::new(0, Duration::ZERO),
            },
            version: 0,
        };
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some("demo".to_owned());
        cluster.put(namespace);
        for number in 0..services {
            for exporter in EXPORTERS {
                cluster.store(export(exporter, number, true));
            }
        }
        for name in cluster.index.take_dirty() {
            while cluster.step(&name) > 0 {}
        }
        cluster.index.take_dirty();
        cluster
    }

    /// What `west` exports of one of the services, as its next version.
    pub(crate) fn changed(&mut self, number: usize, ready: bool) -> ClusterExport {
        let spec = export("west", number, ready);
        let mut object = ClusterExport::new(&spec.object_name(), spec);
        object.metadata.namespace = Some(SYSTEM.to_owned());
        self.version += 1;
        object.metadata.resource_version = Some(self.version.to_string());
        object
    }

    /// Applies the change of an export to the index, and plans the one service that it concerns.
    pub(crate) fn take(&mut self, changed: &ClusterExport) -> Vec<Action> {
        self.index.observe(changed);
        let dirty: Vec<_> = self.index.take_dirty().into_iter().collect();
        let [name] = &dirty[..] else {
            unreachable!("a change concerned {} services", dirty.len());
        };
        self.plan(name)
    }

    fn plan(&mut self, name: &ServiceName) -> Vec<Action> {
        let now = Now {
            wall: Timestamp::UNIX_EPOCH,
            monotonic: Instant::now(),
        };
        plan(&self.index.view(name), &mut self.allotted, now, |_| false).actions
    }

    /// Carries out what is planned, as an API server would.
    fn step(&mut self, name: &ServiceName) -> usize {
        let actions = self.plan(name);
        let count = actions.len();
        for action in actions {
            match action {
                Action::ApplyImport(mut import) => {
                    let found = self.index.view(name).import;
                    import.status = found.and_then(|found| found.status.clone());
                    import.metadata.uid = Some(format!("uid of {name}"));
                    self.put(*import);
                }
                Action::ApplyImportStatus(import) => {
                    let found = self.index.view(name).import;
                    let mut found = found.map_or_else(|| (*import).clone(), Arc::unwrap_or_clone);
                    found.status = import.status;
                    self.put(found);
                }
                Action::ApplyDerived(mut service) => {
                    let spec = service.spec.get_or_insert_default();
                    spec.cluster_ips = Some(vec!["10.96.0.7".to_owned()]);
                    spec.ip_families = Some(vec!["IPv4".to_owned()]);
                    self.put(*service);
                }
                Action::ApplySlice(slice) => self.put(*slice),
                Action::ApplyClusterExport(_)
                | Action::Withdraw(_)
                | Action::ApplyEndpoint(_)
                | Action::ApplyExportStatus(_)
                | Action::Delete(_) => {
                    unreachable!("nothing is exported here, and nothing is headless")
                }
            }
        }
        count
    }

    fn store(&mut self, spec: ClusterExportSpec) {
        let mut object = ClusterExport::new(&spec.object_name(), spec);
        object.metadata.namespace = Some(SYSTEM.to_owned());
        self.put(object);
    }

    fn put<T: Indexed + Resource>(&mut self, mut object: T) {
        self.version += 1;
        let metadata = object.meta_mut();
        metadata.resource_version = Some(self.version.to_string());
        metadata.generation.get_or_insert(1);
        self.index.observe(&object);
    }
}

/// Of one of the services, by one of its exporters.
pub(crate) fn export(cluster: &str, number: usize, ready: bool) -> ClusterExportSpec {
    let created_at = Timestamp::from_second(1_700_000_000).unwrap_or(Timestamp::UNIX_EPOCH);
    ClusterExportSpec {
        cluster: cluster.to_owned(),
        namespace: "demo".to_owned(),
        name: format!("service-{number}"),
        created_at: Time(created_at),
        type_: ServiceImportType::ClusterSetIP,
        ports: vec![ServicePort {
            name: Some("http".to_owned()),
            protocol: "TCP".to_owned(),
            app_protocol: None,
            port: 80,
        }],
        session_affinity: Some("None".to_owned()),
        session_affinity_config: None,
        internal_traffic_policy: Some("Cluster".to_owned()),
        traffic_distribution: None,
        ip_families: vec!["IPv4".to_owned()],
        exported_labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
        exported_annotations: BTreeMap::new(),
        ready,
        endpoints: Vec::new(),
        proxy_protocol: None,
    }
}
