//! When addresses or gateway ports run out.

use super::*;

#[test]
fn beyond_the_cap_endpoints_have_no_address_and_a_condition_says_so() {
    let names = names(ADDRESS_CAP + 20);
    let mut world = importing(&names);

    world.settle();

    assert_eq!(listed(&world, "west").len(), ADDRESS_CAP);
    assert_eq!(world.import_condition("Ready"), told("False", "Pending"));
    assert!(
        message(&world).starts_with("20 endpoints"),
        "{}",
        message(&world)
    );
    assert!(world.notices.contains(&"EndpointAddressesExhausted"));
    assert!(world.look_again.is_some());

    world.put(headless("west", &names[..ADDRESS_CAP]));
    world.settle();
    assert_eq!(world.import_condition("Ready"), told("True", "Ready"));
}

#[test]
fn addresses_that_rest_are_given_up_when_others_need_one() {
    let all: Vec<String> = (0..2 * ADDRESS_CAP)
        .map(|n| format!("web-{n:03}"))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut world = importing(&all[..ADDRESS_CAP]);
    world.settle();

    world.put(headless("west", &all[ADDRESS_CAP..]));
    world.settle();
    world.settle();

    let listed = listed(&world, "west");
    assert_eq!(listed.len(), ADDRESS_CAP);
    assert!(listed.contains_key(all[ADDRESS_CAP]));
    assert_eq!(world.import_condition("Ready"), told("True", "Ready"));
}

#[test]
fn a_full_service_range_is_a_condition_and_the_others_go_on() {
    let mut world = importing(&["web-0", "web-1", "web-2"]);
    world.addresses = 2;

    world.settle();

    assert_eq!(listed(&world, "west").len(), 2);
    assert!(listed(&world, "west").values().all(is_ready));
    assert_eq!(world.import_condition("Ready"), told("False", "Pending"));
    assert!(
        message(&world).contains("range is full"),
        "{}",
        message(&world)
    );

    world.addresses = 1;
    world.settle();
    assert_eq!(listed(&world, "west").len(), 3);
    assert_eq!(world.import_condition("Ready"), told("True", "Ready"));
}

#[test]
fn running_out_of_gateway_ports_leaves_the_other_endpoints_alone() {
    let mut world = importing(&["web-0"]);
    world.settle();
    super::super::exhaust(&mut world);

    world.put(headless("west", &["web-0", "web-1"]));
    world.settle();

    assert_eq!(listed(&world, "west").len(), 1);
    assert_eq!(world.import_condition("Ready"), told("False", "Pending"));
    assert!(world.notices.contains(&"GatewayPortsExhausted"));
}
