//! What a start and one change cost, by how many services there are:
//! `cargo bench --package tombolo-operator --bench services`.
//!
//! The merge from cold is of three exporters each, on one core. One change is that of a peer's
//! copy: it is applied to the index, and the service that it concerns is planned. Its cost must not
//! depend on how many other services there are, so the ratio to the smallest number is printed.

#![allow(clippy::print_stdout, reason = "it is what a benchmark is for")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use tombolo_catalog::{PortAllotter, ServiceName, merge};
use tombolo_crds::mcs::{ServiceImportType, ServicePort};
use tombolo_crds::{ClusterExport, ClusterExportSpec};
use tombolo_operator::index::{Index, Indexed};
use tombolo_operator::mcs::McsVersion;
use tombolo_operator::plan::action::Action;
use tombolo_operator::plan::addresses::Addresses;
use tombolo_operator::plan::{Allotted, Now, plan};

const SYSTEM: &str = "tombolo-system";
const EXPORTERS: [&str; 3] = ["north", "south", "west"];
const SERVICES: usize = 10_000;
const CHANGES: usize = 1_000;

fn main() {
    let exports: Vec<Vec<ClusterExportSpec>> = (0..SERVICES)
        .map(|number| {
            EXPORTERS
                .map(|cluster| export(cluster, number, true))
                .into()
        })
        .collect();
    let began = Instant::now();
    for exports in &exports {
        black_box(merge(&exports.iter().collect::<Vec<_>>()));
    }
    println!(
        "merge of {SERVICES} services of {} exporters from cold: {:?}",
        EXPORTERS.len(),
        began.elapsed()
    );

    let mut smallest = None;
    for services in [10, 100, 1_000, SERVICES] {
        let mut cluster = Cluster::with(services);
        let median = cluster.change();
        let base = *smallest.get_or_insert(median);
        let ratio = median.as_secs_f64() / base.as_secs_f64();
        println!(
            "one change among {services:>6} services: {median:>8.1?}, {ratio:.2} of the first"
        );
    }
}

/// A cluster in memory in which nothing is left to do.
struct Cluster {
    index: Index,
    allotted: Allotted,
    services: usize,
    version: u64,
}

impl Cluster {
    fn with(services: usize) -> Self {
        let mut cluster = Self {
            index: Index::new("east", SYSTEM, McsVersion::V1Beta1),
            allotted: Allotted {
                ports: PortAllotter::new(Duration::ZERO),
                addresses: Addresses::new(0, Duration::ZERO),
            },
            services,
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

    /// The median of what it takes to plan a change of one of the exports.
    fn change(&mut self) -> Duration {
        let mut taken: Vec<Duration> = (0..CHANGES)
            .map(|change| {
                let changed = export(
                    "west",
                    change % self.services,
                    change / self.services % 2 == 1,
                );
                let mut object = ClusterExport::new(&changed.object_name(), changed);
                object.metadata.namespace = Some(SYSTEM.to_owned());
                self.version += 1;
                object.metadata.resource_version = Some(self.version.to_string());
                let began = Instant::now();
                self.index.observe(&object);
                let dirty = self.index.take_dirty();
                assert_eq!(dirty.len(), 1);
                for name in &dirty {
                    black_box(self.plan(name));
                }
                began.elapsed()
            })
            .collect();
        taken.sort_unstable();
        taken[taken.len() / 2]
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

fn export(cluster: &str, number: usize, ready: bool) -> ClusterExportSpec {
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
