use super::*;
use crate::testing::export_of;

#[test]
fn never_sends_to_its_own_cluster() {
    let routes = build(&[web(10_000)], &[export("west")]);

    let clusters = routes.get(Protocol::Tcp, 10_000).unwrap().clusters();

    assert!(clusters.is_empty(), "{clusters:?}");
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

    assert_eq!(names(routes.get(Protocol::Tcp, 10_000)), ["east"]);
}

#[test]
fn a_cluster_without_a_ready_endpoint_is_no_candidate() {
    let mut unready = export("north");
    unready.ready = false;
    let routes = build(&[web(10_000)], &[export("east"), unready]);

    assert_eq!(names(routes.get(Protocol::Tcp, 10_000)), ["east"]);
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
    assert_eq!(names(routes.get(Protocol::Udp, 10_000)), ["east"]);
    let over_tcp = routes.get(Protocol::Tcp, 10_000).unwrap();
    assert!(over_tcp.clusters().is_empty());
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

fn build(services: &[DerivedService], exports: &[ClusterExportSpec]) -> Routes {
    Routes::build("west", services, exports)
}

fn names(route: Result<&Route, NoRoute>) -> Vec<String> {
    let clusters = route.unwrap().clusters().iter();
    clusters.map(|cluster| cluster.to_string()).collect()
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

fn export(cluster: &str) -> ClusterExportSpec {
    export_of(cluster, "demo", "web")
}
