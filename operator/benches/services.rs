//! What a start and one change cost, by how many services there are:
//! `cargo bench --package tombolo-operator --bench services`.
//!
//! The merge from cold is of three exporters each, on one core. One change is that of a peer's
//! copy: it is applied to the index, and the service that it concerns is planned. Its cost must not
//! depend on how many other services there are, so the ratio to the smallest number is printed.

#![allow(clippy::print_stdout, reason = "it is what a benchmark is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use tombolo_catalog::merge;
use tombolo_crds::ClusterExportSpec;

#[path = "harness/cluster.rs"]
mod cluster;

use cluster::{Cluster, EXPORTERS, export};

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
        let median = change(&mut cluster, services);
        let base = *smallest.get_or_insert(median);
        let ratio = median.as_secs_f64() / base.as_secs_f64();
        println!(
            "one change among {services:>6} services: {median:>8.1?}, {ratio:.2} of the first"
        );
    }
}

/// The median of what it takes to plan a change of one of the exports.
fn change(cluster: &mut Cluster, services: usize) -> Duration {
    let mut taken: Vec<Duration> = (0..CHANGES)
        .map(|change| {
            let changed = cluster.changed(change % services, change / services % 2 == 1);
            let began = Instant::now();
            black_box(cluster.take(&changed));
            began.elapsed()
        })
        .collect();
    taken.sort_unstable();
    taken[taken.len() / 2]
}
