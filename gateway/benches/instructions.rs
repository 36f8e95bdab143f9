//! Instructions for what a gateway decides for each connection: `bench/instructions.sh`.

#![allow(
    missing_docs,
    unused_qualifications,
    reason = "of what gungraun's macros make"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gungraun::prelude::*;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tombolo_catalog::{Headcount, Headcounts, Place, ServiceName, TrafficRules};
use tombolo_crds::ClusterExportSpec;
use tombolo_crds::mcs::{ServiceImportType, ServicePort};
use tombolo_crds::traffic_policy::Preference;
use tombolo_gateway::choice::{Attempt, Candidate, Client, Draw, choose};
use tombolo_gateway::endpoints::{Endpoints, Guard, NoEndpoint, Picked, Slice, SlicePort, Wish};
use tombolo_gateway::limiter::{Allowance, Limited, Limiter, Permit};
use tombolo_gateway::places::{NodeRecord, Places};
use tombolo_gateway::pods::{PodRecord, Pods};
use tombolo_gateway::routes::{DerivedPort, DerivedService, Routes};
use tombolo_gateway::service::Protocol;
use tombolo_gateway::{affinity, proxy_protocol};
use tombolo_link::{Connect, Source};

const CLUSTERS: [&str; 3] = ["north", "south", "west"];
const ZONES: [&str; 3] = ["a", "b", "c"];
const IMPORTS: u16 = 1_000;
/// The first of the ports at which gateways listen.
const GATEWAY_PORT: u16 = 10_000;

struct Choice {
    rules: TrafficRules,
    client: Client,
    candidates: Vec<Candidate>,
}

/// Among three clusters with endpoints in three zones each, which are preferred by `prefer`.
fn choice(prefer: &[Preference]) -> Choice {
    let count = Headcount { ready: 3, total: 4 };
    let headcounts: Headcounts = ZONES.iter().map(|zone| (place(zone), count)).collect();
    let headcounts = Arc::new(headcounts);
    let candidates = CLUSTERS.iter().zip(1..).map(|(cluster, nth)| Candidate {
        cluster: Arc::from(*cluster),
        own: false,
        round_trip: Some(Duration::from_millis(nth * 10)),
        endpoints: Some(Arc::clone(&headcounts)),
    });
    Choice {
        rules: TrafficRules {
            prefer: prefer.to_vec(),
            ..TrafficRules::default()
        },
        client: Client {
            place: place("b"),
            draw: Draw::new(42),
        },
        candidates: candidates.collect(),
    }
}

fn place(zone: &str) -> Place {
    Place {
        region: Arc::from("r"),
        zone: Arc::from(zone),
    }
}

/// Of a thousand imports with one port each.
fn routes() -> Routes {
    let services: Vec<_> = (0..IMPORTS).map(derived_service).collect();
    let names = services.iter().map(|service| service.import.name.clone());
    let exports: Vec<_> = names
        .flat_map(|name| CLUSTERS.map(|cluster| export(cluster, &name)))
        .collect();
    Routes::build("east", &services, &exports)
}

fn derived_service(number: u16) -> DerivedService {
    DerivedService {
        import: ServiceName::new("demo", format!("service-{number}")),
        endpoint: None,
        addresses: vec![Ipv4Addr::new(10, 96, 0, 7).into()],
        affinity: false,
        ports: vec![DerivedPort {
            protocol: Protocol::Tcp,
            port: 80,
            gateway_port: GATEWAY_PORT + number,
        }],
    }
}

fn export(cluster: &str, name: &str) -> ClusterExportSpec {
    ClusterExportSpec {
        cluster: cluster.to_owned(),
        namespace: "demo".to_owned(),
        name: name.to_owned(),
        created_at: Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH),
        type_: ServiceImportType::ClusterSetIP,
        ports: vec![ServicePort {
            name: Some("http".to_owned()),
            protocol: "TCP".to_owned(),
            app_protocol: None,
            port: 80,
        }],
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
    }
}

struct Pick {
    endpoints: Endpoints,
    service: ServiceName,
    client: affinity::Client,
    affinity: bool,
    zone: &'static str,
    now: Instant,
}

/// Of one service with so many `endpoints`, a third of them in each zone.
fn pick(endpoints: u8, affinity: bool, zone: &'static str) -> Pick {
    let service = ServiceName::new("demo", "web");
    let addresses: Vec<_> = (0..endpoints).map(pod_address).collect();
    let pods = (0..endpoints).map(|number| Arc::new(pod(number)));
    let nodes = ZONES.map(|zone| {
        Arc::new(NodeRecord {
            name: format!("node-{zone}"),
            region: "r".to_owned(),
            zone: zone.to_owned(),
        })
    });
    let pods = Pods::build(pods).with_places(Arc::new(Places::build(nodes)));
    let slice = Slice {
        service: service.clone(),
        ports: vec![SlicePort {
            name: "http".to_owned(),
            protocol: Protocol::Tcp,
            port: Some(8_080),
        }],
        ready: addresses,
        hostnames: BTreeMap::new(),
        terminating: Vec::new(),
        unready: Vec::new(),
    };
    let export = export("east", "web");
    let guard = Guard::default();
    let none = Endpoints::default();
    Pick {
        endpoints: Endpoints::build([(&export, false)], [&slice], Arc::new(pods), guard, &none),
        service,
        client: affinity::Client::new("west", Ipv4Addr::new(10, 244, 1, 17).into()),
        affinity,
        zone,
        now: Instant::now(),
    }
}

fn pod(number: u8) -> PodRecord {
    PodRecord {
        namespace: "demo".to_owned(),
        name: format!("web-{number}"),
        service_account: "web".to_owned(),
        addresses: vec![pod_address(number)],
        node_addresses: vec![Ipv4Addr::new(192, 0, 2, 1).into()],
        host_network: false,
        gateway: false,
        node: format!("node-{}", ZONES[usize::from(number) % ZONES.len()]),
        labels: BTreeMap::new(),
    }
}

fn pod_address(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 244, 0, number).into()
}

struct Admission {
    limiter: Arc<Limiter>,
    allowance: Allowance,
    now: Instant,
}

fn admission(allowance: Allowance) -> Admission {
    let admission = Admission {
        limiter: Arc::default(),
        allowance,
        now: Instant::now(),
    };
    assert!(admission.limiter.admit(admission.now, allowance).is_ok());
    admission
}

fn connect() -> Connect {
    let client = SocketAddr::new(Ipv4Addr::new(10, 244, 1, 17).into(), 41_234);
    Connect {
        service: ServiceName::new("demo", "web"),
        protocol: tombolo_link::Protocol::Tcp,
        port: 80,
        endpoint: None,
        source: Source {
            cluster: "west".to_owned(),
            namespace: "shop".to_owned(),
            pod: "frontend-7c9d6b5f4-x2vqp".to_owned(),
            service_account: "frontend".to_owned(),
            address: Some(client),
        },
        path: Vec::new(),
        traceparent: String::new(),
        selector: BTreeMap::new(),
        zone: String::new(),
        affinity: None,
    }
}

#[library_benchmark(setup = routes)]
#[bench::of_1000()]
fn route(routes: Routes) -> (Routes, usize) {
    let route = routes.get(Protocol::Tcp, black_box(GATEWAY_PORT + 77));
    let clusters = route.map_or(0, |route| route.clusters().len());
    (routes, clusters)
}

#[library_benchmark(setup = choice)]
#[bench::without_policy(&[])]
#[bench::by_zone(&[Preference::Zone, Preference::Region, Preference::RoundTripTime])]
fn choose_cluster(choice: Choice) -> (Choice, Vec<Attempt>) {
    let Choice {
        rules,
        client,
        candidates,
    } = black_box(&choice);
    let attempts = choose(rules, client, candidates);
    (choice, attempts)
}

#[library_benchmark(setup = pick)]
#[bench::in_turn_of_10(10, false, "")]
#[bench::in_turn_of_200(200, false, "")]
#[bench::with_affinity_of_10(10, true, "")]
#[bench::in_zone_of_10(10, false, "b")]
fn pick_endpoint(pick: Pick) -> (Pick, Result<Vec<Picked>, NoEndpoint>) {
    let Pick {
        endpoints,
        service,
        client,
        affinity,
        zone,
        now,
    } = black_box(&pick);
    let wish = Wish {
        client: Some(*client),
        affinity: Some(*affinity),
        selector: &BTreeMap::new(),
        zone,
    };
    let picked = endpoints.pick(service, Protocol::Tcp, 80, &wish, *now);
    (pick, picked)
}

#[library_benchmark(setup = admission)]
#[bench::unlimited(Allowance::default())]
#[bench::limited(Allowance { connections: Some(100), per_second: Some(100) })]
fn admit(admission: Admission) -> (Admission, Result<Permit, Limited>) {
    let Admission {
        limiter,
        allowance,
        now,
    } = black_box(&admission);
    let permit = limiter.admit(*now, *allowance);
    (admission, permit)
}

#[library_benchmark(setup = connect)]
#[bench::of_a_pod()]
fn proxy_header(connect: Connect) -> (Connect, io::Result<Vec<u8>>) {
    let endpoint = SocketAddr::new(pod_address(7), 8_080);
    let header = proxy_protocol::header("west", black_box(&connect), black_box(endpoint));
    (connect, header)
}

library_benchmark_group!(
    name = connections,
    benchmarks = [route, choose_cluster, pick_endpoint, admit, proxy_header]
);

main!(library_benchmark_groups = [connections]);
