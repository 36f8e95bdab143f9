use super::*;
use crate::places::{NodeRecord, Places};

#[test]
fn a_busy_endpoint_and_one_that_failed_come_after_the_next_of_the_round() {
    let endpoints = World::default()
        .pods(["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        .build();
    let now = Instant::now();
    let first = pick_wished(&endpoints, &BTreeMap::new(), "", now).unwrap();
    first[1].load.failed(now);
    let _in_use = [first[2].load.hold(), first[2].load.hold()];

    // The round is at the second, and then at the third.
    for _ in 0..2 {
        let picked = pick_wished(&endpoints, &BTreeMap::new(), "", now).unwrap();
        assert_ne!(picked[0].address, first[1].address);
    }
    let picked = pick_wished(&endpoints, &BTreeMap::new(), "", now).unwrap();
    assert_eq!(picked[0].address, first[0].address);
    assert_eq!(picked[1].address, first[2].address);
}

#[test]
fn only_pods_with_the_wished_labels_are_picked() {
    let mut world = World::default().pods(["10.0.0.1", "10.0.0.2"]);
    world.pods[1].labels = labels("v2");
    let endpoints = world.build();
    let wished = |version| pick_wished(&endpoints, &labels(version), "", Instant::now());

    for _ in 0..4 {
        let picked = wished("v2").unwrap();
        assert_eq!(addresses_of(&picked), ["10.0.0.2:8080"]);
    }
    assert_eq!(wished("v3").unwrap_err(), NoEndpoint::NoReadyEndpoint);
}

#[test]
fn endpoints_of_the_wished_zone_come_first_and_others_after_them() {
    let mut world = World::default().pods(["10.0.0.1", "10.0.0.2"]);
    world.pods[1].node = "node-b".to_owned();
    let node = NodeRecord {
        name: "node-b".to_owned(),
        region: String::new(),
        zone: "b".to_owned(),
    };
    let places = Arc::new(Places::build([Arc::new(node)]));
    let pods = Pods::build(world.pods.iter().cloned().map(Arc::new)).with_places(places);
    let endpoints = world.build_of(pods, &Endpoints::default());

    for _ in 0..4 {
        let picked = pick_wished(&endpoints, &BTreeMap::new(), "b", Instant::now()).unwrap();
        assert_eq!(addresses_of(&picked), ["10.0.0.2:8080", "10.0.0.1:8080"]);
    }
}

fn pick_wished(
    endpoints: &Endpoints,
    selector: &BTreeMap<String, String>,
    zone: &str,
    now: Instant,
) -> Result<Vec<Picked>, NoEndpoint> {
    let wish = Wish {
        client: None,
        affinity: None,
        selector,
        zone,
    };
    let web = ServiceName::new("demo", "web");
    endpoints.pick(&web, Protocol::Tcp, 80, &wish, now)
}

fn addresses_of(picked: &[Picked]) -> Vec<String> {
    let addresses = picked.iter().map(|picked| picked.address.to_string());
    addresses.collect()
}

fn labels(version: &str) -> BTreeMap<String, String> {
    [("version".to_owned(), version.to_owned())].into()
}
