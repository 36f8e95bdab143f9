use super::*;
use crate::pods::PodRecord;
use crate::testing::{client, export_of, pick_at};

mod wishes;

#[test]
fn takes_ready_endpoints_in_turn() {
    let endpoints = World::default()
        .pods(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"])
        .build();

    let first: Vec<_> = (0..5)
        .map(|_| pick(&endpoints).unwrap()[0].to_string())
        .collect();

    let addresses = [
        "10.0.0.1:8080",
        "10.0.0.2:8080",
        "10.0.0.3:8080",
        "10.0.0.4:8080",
        "10.0.0.1:8080",
    ];
    assert_eq!(first, addresses);
}

#[test]
fn offers_a_bounded_number_of_others_for_retries() {
    let endpoints = World::default()
        .pods(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"])
        .build();

    let picked = pick(&endpoints).unwrap();

    assert_eq!(picked.len(), ATTEMPTS);
    assert_eq!(picked.iter().collect::<BTreeSet<_>>().len(), ATTEMPTS);
}

#[test]
fn a_change_of_endpoints_does_not_start_the_round_again() {
    let world = World::default().pods(["10.0.0.1", "10.0.0.2"]);
    let first = world.build();
    pick(&first).unwrap();

    let second = world.build_after(&first);

    assert_eq!(pick(&second).unwrap()[0].to_string(), "10.0.0.2:8080");
}

#[test]
fn a_named_target_port_may_differ_between_slices() {
    let mut world = World::default().pods(["10.0.0.1", "10.0.0.2"]);
    let newer = Slice {
        ports: vec![slice_port("http", Some(9090)), slice_port("admin", Some(1))],
        ready: vec![ip("10.0.0.2")],
        ..world.slices[0].clone()
    };
    world.slices[0].ready = vec![ip("10.0.0.1")];
    world.slices.push(newer);

    let picked = pick(&world.build()).unwrap();

    assert_eq!(strings(&picked), ["10.0.0.1:8080", "10.0.0.2:9090"]);
}

#[test]
fn an_endpoint_in_two_slices_counts_once() {
    let mut world = World::default().pods(["10.0.0.1"]);
    world.slices.push(world.slices[0].clone());

    assert_eq!(strings(&pick(&world.build()).unwrap()), ["10.0.0.1:8080"]);
}

#[test]
fn a_slice_of_every_port_means_the_services_own_number() {
    let mut world = World::default().pods(["10.0.0.1"]);
    world.slices[0].ports = vec![slice_port("http", None)];

    assert_eq!(strings(&pick(&world.build()).unwrap()), ["10.0.0.1:80"]);
}

#[test]
fn both_addresses_of_a_dual_stack_pod_are_one_endpoint() {
    let mut world = World::default().pods(["10.0.0.1", "fd00::1"]);
    assert_eq!(strings(&pick(&world.build()).unwrap()), ["10.0.0.1:8080"]);

    world.exports[0].ip_families = vec!["IPv6".to_owned(), "IPv4".to_owned()];
    assert_eq!(strings(&pick(&world.build()).unwrap()), ["[fd00::1]:8080"]);
}

#[test]
fn refuses_what_is_not_exported() {
    let endpoints = World::default().pods(["10.0.0.1"]).build();
    let web = ServiceName::new("demo", "web");

    let service = pick_at(&endpoints, &ServiceName::new("demo", "secret"), 80, None);
    let port = pick_at(&endpoints, &web, 8080, None);
    let protocol = endpoints.headcounts_of(&web, Protocol::Udp, 80);

    assert_eq!(service, Err(NoEndpoint::NotExported));
    assert_eq!(port, Err(NoEndpoint::PortNotExported));
    assert_eq!(protocol, None);
}

#[test]
fn tells_no_endpoint_from_refused_ones() {
    let mut world = World::default();
    assert_eq!(pick(&world.build()), Err(NoEndpoint::NoReadyEndpoint));

    world.slices[0].ready = vec![ip("10.9.9.9")];
    assert_eq!(pick(&world.build()), Err(NoEndpoint::EndpointRefused));
}

#[test]
fn a_hand_made_slice_opens_no_way_to_others() {
    let mut world = World::default().pods(["10.0.0.1"]);
    world.guard.allowed = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
    world.guard.never = HashSet::from([ip("10.0.0.200"), ip("10.96.0.1"), ip("10.96.7.7")]);
    world.pods.push(pod("10.0.0.2", |pod| pod.gateway = true));
    world
        .pods
        .push(pod("10.0.0.3", |pod| pod.host_network = true));
    let barred = [
        "10.0.0.200",      // this gateway
        "10.96.0.1",       // the API server
        "10.96.7.7",       // a clusterset IP
        "10.0.0.2",        // another gateway
        "10.0.0.3",        // a pod on its node's network
        "192.0.2.1",       // a node
        "127.0.0.1",       // the gateway's own admin port
        "169.254.169.254", // a cloud's metadata service
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "fe80::1",
        "ff02::1",
    ];
    for address in barred {
        world.slices[0].ready = vec![ip(address)];

        assert_eq!(
            pick(&world.build()),
            Err(NoEndpoint::EndpointRefused),
            "{address}"
        );
    }
}

#[test]
fn a_pod_of_another_namespace_is_no_endpoint_but_by_the_administrators_list() {
    let mut world = World::default();
    world
        .pods
        .push(pod("10.0.0.7", |pod| pod.namespace = "bank".to_owned()));
    world.slices[0].ready = vec![ip("10.0.0.7")];
    assert_eq!(pick(&world.build()), Err(NoEndpoint::EndpointRefused));

    world.guard.allowed = vec!["10.0.0.0/24".parse().unwrap()];
    assert_eq!(strings(&pick(&world.build()).unwrap()), ["10.0.0.7:8080"]);
}

#[test]
fn tells_which_services_have_endpoints_that_are_refused() {
    let mut world = World::default().pods(["10.0.0.1"]);
    assert_eq!(world.build().refused(), BTreeMap::new());

    world.slices[0]
        .ready
        .extend([ip("192.0.2.9"), ip("192.0.2.8")]);
    let web = ServiceName::new("demo", "web");
    assert_eq!(
        world.build().refused(),
        BTreeMap::from([(web, ip("192.0.2.8"))])
    );

    world.guard.allowed = vec!["192.0.2.8/31".parse().unwrap()];
    assert_eq!(world.build().refused(), BTreeMap::new());
}

#[test]
fn a_refused_endpoint_does_not_hide_the_good_ones() {
    let mut world = World::default().pods(["10.0.0.1"]);
    world.slices[0].ready.push(ip("192.0.2.1"));
    let endpoints = world.build();

    for _ in 0..4 {
        assert_eq!(strings(&pick(&endpoints).unwrap()), ["10.0.0.1:8080"]);
    }
}

#[test]
fn with_session_affinity_a_client_stays_with_its_pod() {
    let endpoints = ten_pods().build();

    let picked: Vec<_> = (0..4).map(|_| pick_for(&endpoints, 5)).collect();

    assert_eq!(picked[0].len(), ATTEMPTS);
    assert!(picked.iter().all(|again| *again == picked[0]));
}

#[test]
fn with_session_affinity_all_pods_get_clients() {
    let endpoints = ten_pods().build();

    let firsts: BTreeSet<_> = (0..200).map(|n| pick_for(&endpoints, n)[0]).collect();

    assert_eq!(firsts.len(), 10);
}

#[test]
fn with_session_affinity_a_lost_pod_moves_its_own_clients_to_where_they_were_tried_next() {
    let mut world = ten_pods();
    let before = world.build();
    world.slices[0].ready.remove(3);
    let lost = SocketAddr::new(world.pods[3].addresses[0], 8080);
    let after = world.build_after(&before);

    let mut moved = 0;
    for number in 0..200 {
        let ranked = pick_for(&before, number);
        let expected = if ranked[0] == lost {
            ranked[1]
        } else {
            ranked[0]
        };

        assert_eq!(pick_for(&after, number)[0], expected);
        moved += u32::from(ranked[0] == lost);
    }

    assert!((5..40).contains(&moved), "{moved} of 200");
}

#[test]
fn with_session_affinity_a_pod_that_may_not_be_dialled_is_nobodys() {
    let mut world = World::default().pods(["10.0.0.1"]);
    world.affinity = true;
    world.slices[0]
        .ready
        .extend((2..20).map(|n| ip(&format!("10.9.9.{n}"))));
    let endpoints = world.build();

    for number in 0..20 {
        assert_eq!(strings(&pick_for(&endpoints, number)), ["10.0.0.1:8080"]);
    }
}

#[test]
fn with_session_affinity_a_client_without_an_address_is_served_in_turn() {
    let endpoints = ten_pods().build();

    let firsts: BTreeSet<_> = (0..10).map(|_| pick(&endpoints).unwrap()[0]).collect();

    assert_eq!(firsts.len(), 10);
}

#[test]
fn endpoints_that_end_take_traffic_only_if_no_other_does() {
    let mut world = World::default().pods(["10.0.0.1", "10.0.0.2"]);
    world.slices[0].terminating = vec![world.slices[0].ready.remove(0)];
    assert_eq!(strings(&pick(&world.build()).unwrap()), ["10.0.0.2:8080"]);

    world.slices[0].ready.clear();
    assert_eq!(strings(&pick(&world.build()).unwrap()), ["10.0.0.1:8080"]);
}

#[test]
fn an_endpoint_that_is_ready_for_one_port_is_not_missed_at_another() {
    let mut world = World::default().pods(["10.0.0.1", "10.0.0.2"]);
    let mut second = world.exports[0].ports[0].clone();
    second.name = Some("admin".to_owned());
    second.port = 81;
    world.exports[0].ports.push(second);
    // kube-proxy decides for each port by itself.
    let terminating = vec![world.slices[0].ready.remove(1)];
    world.slices.push(Slice {
        ports: vec![slice_port("admin", Some(9090))],
        terminating,
        ready: Vec::new(),
        ..world.slices[0].clone()
    });
    let endpoints = world.build();

    let web = ServiceName::new("demo", "web");
    let admin = pick_at(&endpoints, &web, 81, None);

    assert_eq!(strings(&admin.unwrap()), ["10.0.0.2:9090"]);
    assert_eq!(strings(&pick(&endpoints).unwrap()), ["10.0.0.1:8080"]);
}

#[test]
fn a_udp_flow_stays_while_its_endpoint_serves_and_is_a_pod_of_its_service() {
    let mut world = World::default().pods(["10.0.0.1"]);
    world.exports[0].ports[0].protocol = "UDP".to_owned();
    for address in ["10.0.0.2", "10.0.0.3", "10.0.0.4"] {
        world.pods.push(pod(address, |_| {}));
    }
    let slice = &mut world.slices[0];
    slice.ports[0].protocol = Protocol::Udp;
    slice.terminating = vec![ip("10.0.0.2")];
    slice.unready = vec![ip("10.0.0.3")];
    slice.ready.push(ip("10.0.0.5"));
    let web = ServiceName::new("demo", "web");
    let keeps = |endpoints: &Endpoints, port, endpoint: &str| {
        endpoints.keeps_flow(&web, port, endpoint.parse().unwrap())
    };

    let endpoints = world.build();

    assert!(keeps(&endpoints, 80, "10.0.0.1:8080"));
    assert!(keeps(&endpoints, 80, "10.0.0.2:8080"));
    for left in [
        "10.0.0.3:8080",
        "10.0.0.4:8080",
        "10.0.0.5:8080",
        "10.0.0.1:9090",
    ] {
        assert!(!keeps(&endpoints, 80, left), "{left}");
    }
    assert!(!keeps(&endpoints, 81, "10.0.0.1:8080"));
    world.pods[0].namespace = "other".to_owned();
    assert!(!keeps(&world.build(), 80, "10.0.0.1:8080"));
    world.exports.clear();
    assert!(!keeps(&world.build(), 80, "10.0.0.2:8080"));
}

struct World {
    exports: Vec<ClusterExportSpec>,
    affinity: bool,
    slices: Vec<Slice>,
    pods: Vec<PodRecord>,
    guard: Guard,
}

impl Default for World {
    fn default() -> Self {
        Self {
            exports: vec![export_of("east", "demo", "web")],
            affinity: false,
            slices: vec![Slice {
                service: ServiceName::new("demo", "web"),
                hostnames: BTreeMap::new(),
                ports: vec![slice_port("http", Some(8080))],
                ready: Vec::new(),
                terminating: Vec::new(),
                unready: Vec::new(),
            }],
            pods: Vec::new(),
            guard: Guard::default(),
        }
    }
}

impl World {
    fn pods<const N: usize>(mut self, addresses: [&str; N]) -> Self {
        for address in addresses {
            self.pods.push(pod(address, |_| {}));
            self.slices[0].ready.push(ip(address));
        }
        self
    }

    fn build(&self) -> Endpoints {
        self.build_after(&Endpoints::default())
    }

    fn build_after(&self, previous: &Endpoints) -> Endpoints {
        let pods = Pods::build(self.pods.iter().cloned().map(Arc::new));
        self.build_of(pods, previous)
    }

    fn build_of(&self, pods: Pods, previous: &Endpoints) -> Endpoints {
        Endpoints::build(
            self.exports.iter().map(|export| (export, self.affinity)),
            &self.slices,
            Arc::new(pods),
            self.guard.clone(),
            previous,
        )
    }
}

fn pick(endpoints: &Endpoints) -> Result<Vec<SocketAddr>, NoEndpoint> {
    pick_at(endpoints, &ServiceName::new("demo", "web"), 80, None)
}

fn pick_for(endpoints: &Endpoints, number: u16) -> Vec<SocketAddr> {
    let web = ServiceName::new("demo", "web");
    let picked = pick_at(endpoints, &web, 80, Some(client(number)));
    picked.unwrap()
}

fn ten_pods() -> World {
    World {
        affinity: true,
        ..World::default().pods([
            "10.0.0.1",
            "10.0.0.2",
            "10.0.0.3",
            "10.0.0.4",
            "10.0.0.5",
            "10.0.0.6",
            "10.0.0.7",
            "10.0.0.8",
            "10.0.0.9",
            "10.0.0.10",
        ])
    }
}

fn strings(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

fn pod(address: &str, change: impl FnOnce(&mut PodRecord)) -> PodRecord {
    let mut pod = PodRecord {
        namespace: "demo".to_owned(),
        name: format!("web-{address}"),
        service_account: "default".to_owned(),
        addresses: vec![ip(address)],
        node_addresses: vec![ip("192.0.2.1")],
        host_network: false,
        gateway: false,
        node: String::new(),
        labels: BTreeMap::new(),
    };
    change(&mut pod);
    pod
}

fn slice_port(name: &str, port: Option<u16>) -> SlicePort {
    SlicePort {
        name: name.to_owned(),
        protocol: Protocol::Tcp,
        port,
    }
}

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}
