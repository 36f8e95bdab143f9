//! What TrafficPolicies and the traffic fields of an import do to the slices.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use tombolo_catalog::Policies;
use tombolo_crds::mcs;
use tombolo_crds::traffic_policy::{Preference, TargetRef, TrafficPolicy, TrafficPolicySpec};

use super::exporting;
use super::world::{World, copy, gateway, service};

#[test]
fn gateways_alone_are_listed_where_a_policy_splits_all_traffic() {
    let mut world = shared();
    world.settle();
    assert!(world.endpoints("east")["http"].contains("10.0.0.1:8080"));

    prefer_local(&mut world);
    world.settle();

    let port = world.gateway_port(80);
    for cluster in ["east", "west"] {
        let expected = [format!("10.1.0.1:{port}")].into();
        assert_eq!(world.endpoints(cluster)["http"], expected, "{cluster}");
    }

    world.index.set_policies(Policies::default());
    assert!(world.index.take_dirty().contains(&super::world::web()));
    world.settle();
    assert!(world.endpoints("east")["http"].contains("10.0.0.1:8080"));
}

#[test]
fn pods_are_listed_all_the_same_while_no_gateway_listens() {
    let mut world = shared();
    prefer_local(&mut world);
    world.index.set_gateways([], &BTreeSet::new());

    world.settle();

    assert!(world.endpoints("east")["http"].contains("10.0.0.1:8080"));
}

#[test]
fn a_gateway_needs_no_link_to_its_own_cluster() {
    let mut world = shared();
    prefer_local(&mut world);
    world
        .index
        .set_gateways([gateway("10.1.0.1", &[])], &BTreeSet::new());

    world.settle();

    let port = world.gateway_port(80);
    assert_eq!(
        world.endpoints("east")["http"],
        [format!("10.1.0.1:{port}")].into()
    );
    assert!(world.endpoints("west").is_empty());
}

#[test]
fn what_is_to_stay_on_the_node_is_not_sent_to_gateways() {
    let mut world = shared();
    let mut local = service(&[("http", 80)]);
    set_service(&mut local, |spec| {
        spec.internal_traffic_policy = Some("Local".to_owned())
    });
    world.put(local);
    prefer_local(&mut world);

    world.settle();

    assert!(world.endpoints("east")["http"].contains("10.0.0.1:8080"));
}

/// `east` and `west` export `web`, and one gateway is here.
fn shared() -> World {
    let mut world = exporting();
    world.put(copy("west", &[("http", 80)]));
    world
        .index
        .set_gateways([gateway("10.1.0.1", &["west"])], &BTreeSet::new());
    world
}

fn prefer_local(world: &mut World) {
    let spec = TrafficPolicySpec {
        target_ref: Some(TargetRef {
            group: mcs::GROUP.to_owned(),
            kind: "ServiceImport".to_owned(),
            name: "web".to_owned(),
        }),
        prefer: vec![Preference::Local],
        ..TrafficPolicySpec::default()
    };
    let mut policy = TrafficPolicy::new("web", spec);
    policy.metadata.namespace = Some("demo".to_owned());
    let policies = Policies::new("tombolo-system", [Arc::new(policy)]);
    world.index.set_policies(policies);
}

fn set_service(service: &mut Service, set: impl FnOnce(&mut ServiceSpec)) {
    set(service.spec.as_mut().unwrap());
}
