use proptest::collection::btree_set;
use proptest::prelude::*;
use tombolo_crds::mcs::ServicePort;

use super::*;
use crate::testing::{client, export_of};

#[test]
fn takes_linked_clusters_in_turn_and_the_others_as_retries() {
    let routes = build(
        &[web(10_000)],
        &[export("east"), export("south"), export("north")],
    );
    let route = routes.get(Protocol::Tcp, 10_000).unwrap();

    let rounds: Vec<_> = (0..4)
        .map(|_| names(route.candidates(client(1), |c| c != "south")))
        .collect();

    assert_eq!(
        rounds,
        [
            ["east", "north"],
            ["north", "east"],
            ["east", "north"],
            ["north", "east"]
        ]
    );
}

#[test]
fn a_change_of_exports_does_not_start_the_round_again() {
    let first = build(&[web(10_000)], &[export("east"), export("north")]);
    assert_eq!(
        names(
            first
                .get(Protocol::Tcp, 10_000)
                .unwrap()
                .candidates(client(1), |_| true)
        )[0],
        "east"
    );

    let exports = [export("east"), export("north"), other_export()];
    let second = Routes::build("west", &[web(10_000)], &exports, &first);

    assert_eq!(
        names(
            second
                .get(Protocol::Tcp, 10_000)
                .unwrap()
                .candidates(client(1), |_| true)
        )[0],
        "north"
    );
}

#[test]
fn never_sends_to_its_own_cluster() {
    let routes = build(&[web(10_000)], &[export("west")]);

    let candidates = routes
        .get(Protocol::Tcp, 10_000)
        .unwrap()
        .candidates(client(1), |_| true);

    assert_eq!(candidates, Err(NoRoute::NoCluster));
}

#[test]
fn a_cluster_without_that_very_port_is_no_candidate() {
    let mut other_port = export("north");
    other_port.ports[0].port = 81;
    let mut other_protocol = export("south");
    other_protocol.ports[0].protocol = "UDP".to_owned();
    let mut absurd_port = export("centre");
    absurd_port.ports[0].port = 65_536 + 80;
    let routes = build(
        &[web(10_000)],
        &[export("east"), other_port, other_protocol, absurd_port],
    );

    assert_eq!(
        names(
            routes
                .get(Protocol::Tcp, 10_000)
                .unwrap()
                .candidates(client(1), |_| true)
        ),
        ["east"]
    );
}

#[test]
fn a_cluster_without_a_ready_endpoint_is_no_candidate() {
    let mut unready = export("north");
    unready.ready = false;
    let routes = build(&[web(10_000)], &[export("east"), unready]);

    assert_eq!(
        names(
            routes
                .get(Protocol::Tcp, 10_000)
                .unwrap()
                .candidates(client(1), |_| true)
        ),
        ["east"]
    );
}

#[test]
fn tells_an_unlinked_cluster_from_a_missing_one() {
    let routes = build(&[web(10_000), db(10_001)], &[export("east")]);

    let unlinked = routes
        .get(Protocol::Tcp, 10_000)
        .unwrap()
        .candidates(client(1), |_| false);
    let missing = routes
        .get(Protocol::Tcp, 10_001)
        .unwrap()
        .candidates(client(1), |_| true);

    assert_eq!(unlinked, Err(NoRoute::NotLinked));
    assert_eq!(missing, Err(NoRoute::NoCluster));
}

#[test]
fn a_port_claimed_by_two_imports_serves_neither() {
    let routes = build(&[web(10_000), db(10_000), web(10_001)], &[export("east")]);

    assert_eq!(
        routes.get(Protocol::Tcp, 10_000).unwrap_err(),
        NoRoute::UnknownPort
    );
    assert_eq!(
        routes.contested(),
        &BTreeSet::from([(Protocol::Tcp, 10_000)])
    );
    assert_eq!(routes.ports(), BTreeSet::from([(Protocol::Tcp, 10_001)]));
}

#[test]
fn one_number_for_tcp_and_udp_is_no_conflict() {
    let mut dns = db(10_000);
    dns.ports.push(udp(53, 10_000));
    let mut both = ClusterExportSpec {
        name: "db".to_owned(),
        ..export("east")
    };
    both.ports[0].port = 53;
    both.ports[0].protocol = "UDP".to_owned();

    let routes = build(&[dns], &[both]);

    let ports = [(Protocol::Tcp, 10_000), (Protocol::Udp, 10_000)];
    assert_eq!(routes.ports(), ports.into());
    assert!(routes.contested().is_empty());
    let over = |protocol| {
        let route = routes.get(protocol, 10_000).unwrap();
        route.candidates(client(1), |_| true)
    };
    assert_eq!(names(over(Protocol::Udp)), ["east"]);
    assert_eq!(over(Protocol::Tcp), Err(NoRoute::NoCluster));
}

#[test]
fn sctp_is_not_carried_and_said_to_be_so() {
    let mut db = db(10_000);
    db.ports[0].protocol = Protocol::Sctp;

    let routes = build(&[db.clone()], &[]);

    assert!(routes.ports().is_empty());
    assert_eq!(
        routes.not_carried()[&db.import],
        BTreeSet::from([(Protocol::Sctp, 5432)])
    );
}

#[test]
fn with_session_affinity_a_client_stays_with_its_cluster() {
    let routes = build(&[affine_web()], &clusters(["east", "north", "south"]));
    let route = routes.get(Protocol::Tcp, 10_000).unwrap();

    let orders: BTreeSet<_> = (0..4)
        .map(|_| names(route.candidates(client(7), |_| true)))
        .collect();

    assert_eq!(orders.len(), 1);
}

#[test]
fn with_session_affinity_a_lost_link_moves_the_clients_of_that_cluster_only() {
    let routes = build(&[affine_web()], &clusters(["east", "north", "south"]));
    let route = routes.get(Protocol::Tcp, 10_000).unwrap();

    let mut of_east = 0;
    for number in 0..300 {
        let before = names(route.candidates(client(number), |_| true));
        let after = names(route.candidates(client(number), |cluster| cluster != "east"));

        let expected: Vec<_> = before.iter().filter(|c| *c != "east").cloned().collect();
        assert_eq!(after, expected);
        of_east += u32::from(before[0] == "east");
    }

    assert!((60..140).contains(&of_east), "{of_east} of 300");
}

#[test]
fn with_session_affinity_both_ports_of_an_import_go_to_one_cluster() {
    let mut two_ports = affine_web();
    two_ports.ports.push(DerivedPort {
        port: 81,
        gateway_port: 10_001,
        ..two_ports.ports[0]
    });
    let exports: Vec<_> = clusters(["east", "north", "south"])
        .into_iter()
        .map(|mut export| {
            let second = ServicePort {
                name: Some("admin".to_owned()),
                port: 81,
                ..export.ports[0].clone()
            };
            export.ports.push(second);
            export
        })
        .collect();
    let routes = build(&[two_ports], &exports);

    for number in 0..20 {
        let of = |port| {
            names(
                routes
                    .get(Protocol::Tcp, port)
                    .unwrap()
                    .candidates(client(number), |_| true),
            )
        };

        assert_eq!(of(10_000), of(10_001));
    }
}

proptest! {
    #[test]
    fn each_linked_exporter_is_asked_once_and_goes_first_in_its_turn(
        exporters in btree_set("[a-e]", 0..5),
        linked in btree_set("[a-e]", 0..5),
    ) {
        let exports: Vec<_> = exporters.iter().map(|cluster| export(cluster)).collect();
        let routes = build(&[web(10_000)], &exports);
        let route = routes.get(Protocol::Tcp, 10_000).unwrap();
        let expected: BTreeSet<_> = exporters.intersection(&linked).cloned().collect();

        let mut first = BTreeSet::new();
        for _ in 0..expected.len() {
            let asked = names(route.candidates(client(1), |cluster| linked.contains(cluster)));
            first.insert(asked[0].clone());
            prop_assert_eq!(asked.len(), expected.len());
            prop_assert_eq!(asked.into_iter().collect::<BTreeSet<_>>(), expected.clone());
        }

        prop_assert_eq!(&first, &expected);
        let asked = route.candidates(client(1), |cluster| linked.contains(cluster));
        prop_assert_eq!(asked.is_err(), expected.is_empty());
    }
}

fn build(services: &[DerivedService], exports: &[ClusterExportSpec]) -> Routes {
    Routes::build("west", services, exports, &Routes::default())
}

fn names(candidates: Result<Vec<Arc<str>>, NoRoute>) -> Vec<String> {
    candidates
        .unwrap()
        .iter()
        .map(|cluster| cluster.to_string())
        .collect()
}

fn web(gateway_port: u16) -> DerivedService {
    DerivedService {
        import: ServiceName::new("demo", "web"),
        endpoint: None,
        addresses: Vec::new(),
        affinity: false,
        ports: vec![DerivedPort {
            protocol: Protocol::Tcp,
            port: 80,
            gateway_port,
        }],
    }
}

fn affine_web() -> DerivedService {
    DerivedService {
        affinity: true,
        ..web(10_000)
    }
}

fn clusters<const N: usize>(clusters: [&str; N]) -> Vec<ClusterExportSpec> {
    clusters.into_iter().map(export).collect()
}

fn db(gateway_port: u16) -> DerivedService {
    DerivedService {
        import: ServiceName::new("demo", "db"),
        endpoint: None,
        addresses: Vec::new(),
        affinity: false,
        ports: vec![DerivedPort {
            protocol: Protocol::Tcp,
            port: 5432,
            gateway_port,
        }],
    }
}

fn udp(port: u16, gateway_port: u16) -> DerivedPort {
    DerivedPort {
        protocol: Protocol::Udp,
        port,
        gateway_port,
    }
}

fn other_export() -> ClusterExportSpec {
    ClusterExportSpec {
        name: "other".to_owned(),
        ..export("east")
    }
}

fn export(cluster: &str) -> ClusterExportSpec {
    export_of(cluster, "demo", "web")
}
