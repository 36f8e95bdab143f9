//! Instructions for a merge: `bench/instructions.sh`.

#![allow(
    missing_docs,
    unused_qualifications,
    reason = "of what gungraun's macros make"
)]

use std::collections::BTreeMap;
use std::hint::black_box;

use gungraun::prelude::*;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tombolo_catalog::{Import, merge};
use tombolo_crds::ClusterExportSpec;
use tombolo_crds::mcs::{ServiceImportType, ServicePort};

const EXPORTERS: [&str; 3] = ["north", "south", "west"];

/// Of one service by three clusters, which agree.
fn agreeing() -> Vec<ClusterExportSpec> {
    let exporters = EXPORTERS.into_iter().zip(1_700_000_000..);
    exporters
        .map(|(cluster, second)| export(cluster, second))
        .collect()
}

/// Of one service by three clusters, of which the youngest has another type, port, and affinity.
fn conflicting() -> Vec<ClusterExportSpec> {
    let mut exports = agreeing();
    if let Some(youngest) = exports.last_mut() {
        youngest.type_ = ServiceImportType::Headless;
        youngest.ports[0].port = 81;
        youngest.session_affinity = Some("ClientIP".to_owned());
    }
    exports
}

fn export(cluster: &str, second: i64) -> ClusterExportSpec {
    let port = |name: &str, port| ServicePort {
        name: Some(name.to_owned()),
        protocol: "TCP".to_owned(),
        app_protocol: None,
        port,
    };
    ClusterExportSpec {
        cluster: cluster.to_owned(),
        namespace: "shop".to_owned(),
        name: "checkout".to_owned(),
        created_at: Time(Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH)),
        type_: ServiceImportType::ClusterSetIP,
        ports: vec![port("http", 80), port("metrics", 9_090)],
        session_affinity: Some("None".to_owned()),
        session_affinity_config: None,
        internal_traffic_policy: Some("Cluster".to_owned()),
        traffic_distribution: None,
        ip_families: vec!["IPv4".to_owned()],
        exported_labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
        exported_annotations: BTreeMap::new(),
        ready: true,
        endpoints: Vec::new(),
        proxy_protocol: None,
    }
}

#[library_benchmark]
#[bench::agreeing(setup = agreeing)]
#[bench::conflicting(setup = conflicting)]
fn three_exporters(exports: Vec<ClusterExportSpec>) -> (Vec<ClusterExportSpec>, Option<Import>) {
    let import = merge(&black_box(&exports).iter().collect::<Vec<_>>());
    (exports, import)
}

library_benchmark_group!(name = merges, benchmarks = [three_exporters]);

main!(library_benchmark_groups = [merges]);
