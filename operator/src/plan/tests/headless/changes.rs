//! What others do to our objects, and any order of changes.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use proptest::prelude::*;

use super::*;

/// Only Tombolo's own namespace is looked at: a user's Service must not become the address of an
/// endpoint of somebody else's service.
#[test]
fn a_users_service_is_no_endpoint_whatever_its_labels() {
    let mut world = importing(&["web-0"]);
    world.settle();
    let ours = world.view().endpoints[0].service.clone();
    let mut liar = (*ours).clone();
    liar.metadata.namespace = Some("mallory".to_owned());
    liar.metadata.uid = None;

    world.put(liar);

    assert_eq!(world.settle(), [] as [&str; 0]);
    assert_eq!(world.view().endpoints.len(), 1);
}

#[test]
fn what_is_deleted_by_hand_is_made_again() {
    let mut world = importing(&["web-0", "web-1"]);
    world.settle();
    let name = world.view().endpoints[0].service.metadata.name.clone();

    world.remove::<Service>(SYSTEM, &name.unwrap());
    world.settle();
    assert_eq!(listed(&world, "west").len(), 2);
    assert!(listed(&world, "west").values().all(is_ready));

    let slice = world.view().endpoint_slices[0].metadata.name.clone();
    world.remove::<EndpointSlice>(SYSTEM, &slice.unwrap());
    world.settle();
    assert_eq!(world.view().endpoint_slices.len(), 2);
    assert_eq!(listed(&world, "west").len(), 2);
}

#[derive(Clone, Debug)]
enum Change {
    /// `west` exports `web` as headless with these endpoints, each ready or not.
    Headless(BTreeMap<&'static str, bool>),
    /// `west` exports it with a clusterset IP.
    Whole,
    Unexported,
    Gateways(u8),
    /// Somebody deletes the first Service of an endpoint.
    Vandal,
    Wait(u64),
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Every change comes to rest, a second look writes nothing, and once all has rested there is
    /// what the last state asks for, and nothing else.
    #[test]
    fn history_does_not_matter(changes in prop::collection::vec(change(), 1..12)) {
        let mut world = importing(&[]);
        for change in &changes {
            make(&mut world, change);
            world.settle();
            prop_assert_eq!(world.settle(), Vec::<String>::new());
        }
        let mut fresh = importing(&[]);
        for change in changes.iter().filter(|change| !matches!(change, Change::Vandal)) {
            make(&mut fresh, change);
        }
        for world in [&mut world, &mut fresh] {
            world.monotonic += ADDRESS_REST;
            world.settle();
        }

        prop_assert_eq!(outcome(&world), outcome(&fresh));
    }
}

fn change() -> impl Strategy<Value = Change> {
    let endpoints = prop::collection::btree_map(
        prop::sample::select(vec!["web-0", "web-1", "web-2", "10-0-0-1"]),
        any::<bool>(),
        0..4,
    );
    prop_oneof![
        4 => endpoints.prop_map(Change::Headless),
        1 => Just(Change::Whole),
        1 => Just(Change::Unexported),
        2 => (0..4_u8).prop_map(Change::Gateways),
        1 => Just(Change::Vandal),
        1 => (0..400_u64).prop_map(Change::Wait),
    ]
}

fn make(world: &mut World, change: &Change) {
    match change {
        Change::Headless(endpoints) => {
            let ids: Vec<&str> = endpoints.keys().copied().collect();
            let mut export = headless("west", &ids);
            for (endpoint, ready) in export.spec.endpoints.iter_mut().zip(endpoints.values()) {
                endpoint.ready = *ready;
            }
            world.put(export);
        }
        Change::Whole => world.put(copy("west", &[("http", 80)])),
        Change::Unexported => world.remove::<ClusterExport>(SYSTEM, "web.demo.west"),
        Change::Gateways(count) => world.index.set_gateways(gateways(*count), &BTreeSet::new()),
        Change::Vandal => {
            if let Some(found) = world.view().endpoints.first() {
                let name = found.service.metadata.name.clone().unwrap_or_default();
                world.remove::<Service>(SYSTEM, &name);
            }
        }
        Change::Wait(seconds) => world.monotonic += Duration::from_secs(*seconds),
    }
}

/// What there is, but for the addresses, which are the API server's to choose.
fn outcome(world: &World) -> impl PartialEq + std::fmt::Debug {
    let view = world.view();
    let ready = |slice: &EndpointSlice| {
        let endpoints = slice.endpoints.iter();
        let ready = endpoints.map(|endpoint| (endpoint.hostname.clone(), is_ready(endpoint)));
        ready.collect::<Vec<_>>()
    };
    let services = view.endpoints.iter();
    (
        view.slices
            .iter()
            .map(|slice| ready(slice))
            .collect::<Vec<_>>(),
        services
            .map(|found| found.service.metadata.name.clone())
            .collect::<BTreeSet<_>>(),
        view.endpoint_slices
            .iter()
            .map(|slice| (slice.metadata.name.clone(), slice.endpoints.clone()))
            .collect::<Vec<_>>(),
        world.allotted.ports.len(),
        world.import_condition("Ready"),
        world.look_again,
    )
}
