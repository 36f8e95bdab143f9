//! What is told of this cluster's own endpoints.

use super::*;

#[test]
fn a_headless_service_tells_its_endpoints() {
    let mut world = exporting();

    world.settle();

    let own = world.own_export().unwrap();
    assert_eq!(own.type_, ServiceImportType::Headless);
    let told: Vec<_> = own.endpoints.iter().map(|e| (&*e.id, e.ready)).collect();
    assert_eq!(
        told,
        [("10-0-0-9", true), ("web-0", true), ("web-1", false)]
    );
}

#[test]
fn pods_of_one_hostname_are_one_endpoint() {
    let mut world = exporting();
    let mut leaving = slice("web-2", &[("http", 8080)], &[]);
    leaving.endpoints = vec![named("web-1", "10.0.0.7", true)];
    world.put(leaving);

    world.settle();

    let own = world.own_export().unwrap();
    assert_eq!(own.endpoints.len(), 3);
    assert!(own.endpoints[2].ready, "one of the two is");
}

#[test]
fn a_dual_stack_pod_is_one_endpoint_with_the_name_of_its_first_family() {
    let mut world = exporting();
    let mut second = slice("web-6", &[("http", 8080)], &["fd00::9"]);
    second.address_type = "IPv6".to_owned();
    world.put(second);

    world.settle();

    assert_eq!(ids(&world), ["10-0-0-9", "web-0", "web-1"]);
}

#[test]
fn more_endpoints_than_fit_are_not_told_and_a_condition_says_so() {
    let mut world = exporting();
    let mut many = slice("web-2", &[("http", 8080)], &[]);
    many.endpoints = (0..MAX_ENDPOINTS)
        .map(|n| named(&format!("web-{n}"), "10.0.0.7", true))
        .collect();
    world.put(many);

    world.settle();

    assert_eq!(world.own_export().unwrap().endpoints.len(), MAX_ENDPOINTS);
    let export = world.view().export.unwrap();
    let conditions = &export.status.as_ref().unwrap().conditions;
    let ready = conditions.iter().find(|c| c.type_ == "Ready").unwrap();
    assert_eq!(ready.status, "True");
    assert!(ready.message.contains("1000"), "{}", ready.message);
}
