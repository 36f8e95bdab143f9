//! Instructions for the change of a peer's export: `bench/instructions.sh`.
//!
//! It is applied to the index, and the service that it concerns is planned, as in `services.rs`.

#![allow(
    missing_docs,
    unused_qualifications,
    reason = "of what gungraun's macros make"
)]

use std::hint::black_box;

use gungraun::prelude::*;
use tombolo_crds::ClusterExport;
use tombolo_operator::plan::action::Action;

#[path = "harness/cluster.rs"]
mod cluster;

use cluster::Cluster;

/// Among so many services, the export of one is about to be no longer ready. Another's has been
/// planned before: the first change pays for tidying up what the set-up has freed.
fn changed(services: usize) -> (Cluster, ClusterExport) {
    let mut cluster = Cluster::with(services);
    let before = cluster.changed(0, false);
    black_box(cluster.take(&before));
    let changed = cluster.changed(services / 2, false);
    (cluster, changed)
}

#[library_benchmark(setup = changed)]
#[bench::among_10(10)]
#[bench::among_1000(1_000)]
fn change(
    (mut cluster, changed): (Cluster, ClusterExport),
) -> (Cluster, ClusterExport, Vec<Action>) {
    let actions = cluster.take(black_box(&changed));
    (cluster, changed, actions)
}

library_benchmark_group!(name = services, benchmarks = [change]);

main!(library_benchmark_groups = [services]);
