//! Instructions for what a Corefile has done to each name, and for reading one:
//! `bench/instructions.sh`.

#![allow(
    missing_docs,
    unused_qualifications,
    reason = "of what gungraun's macros make"
)]

use std::hint::black_box;

use gungraun::prelude::*;
use hickory_proto::rr::Name;
use tombolo_dns_corefile::plugins::Rewrite;
use tombolo_dns_corefile::{Config, Error, parse};

const COREFILE: &str = ".:53 {
    errors
    health {
        lameduck 5s
    }
    ready
    multicluster clusterset.local
    forward . 192.0.2.1
    prometheus :9153
    cache 30
    loop
    reload
    loadbalance
}
";

struct Rewritten {
    rule: Rewrite,
    name: Name,
}

/// The first rule of `rewrite`, and a name that it fits.
fn rewritten(rewrite: &str) -> Rewritten {
    let corefile = format!(". {{\n rewrite name {rewrite}\n forward . 192.0.2.1\n}}\n");
    let config = parse("Corefile", &corefile, &()).expect("a Corefile");
    let rule = config.servers[0].plugins.rewrite[0].clone();
    let name = Name::from_ascii("checkout.shop.example.com.").expect("a name");
    assert!(rule.name.rewrite(&name).is_some(), "{rewrite} does not fit");
    Rewritten { rule, name }
}

#[library_benchmark(setup = rewritten)]
#[bench::exact("checkout.shop.example.com checkout.shop.svc.clusterset.local")]
#[bench::suffix("suffix .example.com .svc.clusterset.local")]
#[bench::regex(r"regex (.*)\.(.*)\.example\.com {1}.{2}.svc.clusterset.local")]
fn rewrite(rewritten: Rewritten) -> (Rewritten, Option<Name>) {
    let Rewritten { rule, name } = black_box(&rewritten);
    let name = rule.name.rewrite(name);
    (rewritten, name)
}

#[library_benchmark]
#[bench::usual(COREFILE)]
fn read(corefile: &str) -> Result<Config, Error> {
    parse("Corefile", black_box(corefile), &())
}

library_benchmark_group!(name = names, benchmarks = [rewrite]);
library_benchmark_group!(name = corefiles, benchmarks = [read]);

main!(library_benchmark_groups = [names, corefiles]);
