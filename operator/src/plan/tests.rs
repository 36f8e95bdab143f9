use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tombolo_catalog::{PortKey, ServiceName};
use tombolo_crds::ClusterExport;
use tombolo_crds::mcs::{ServiceExport, ServiceImport};
use tombolo_crds::well_known::{
    DERIVED_SERVICE_ANNOTATION, FIRST_IMPORT_PORT, IMPORT_LABEL, LAST_IMPORT_PORT, MANAGER,
    MANAGER_LABEL, PROXY_PROTOCOL_ANNOTATION,
};

use super::view::NamespaceState;
use crate::gateways::Change;

mod families;
mod gateways;
mod headless;
mod hints;
mod properties;
mod traffic;
mod world;

use world::{
    CLUSTER_IP, World, copy, derived_name, endpoint, export, foreign_import, gateway, namespace,
    service, slice, web,
};

#[test]
fn an_export_becomes_an_import_in_its_own_cluster() {
    let mut world = exporting();

    let written = world.settle();

    assert_eq!(
        written,
        [
            "ClusterExport",
            "ServiceImport",
            "Service",
            "ServiceImport",
            "EndpointSlice",
            "ServiceExport/status",
            "ServiceImport/status",
        ]
    );
    let own = world.own_export().unwrap();
    assert!(own.ready);
    assert_eq!(own.created_at.0.as_second(), 5_000);
    assert_eq!(world.export_condition("Valid"), told("True", "Valid"));
    assert_eq!(world.export_condition("Ready"), told("True", "Exported"));
    assert_eq!(
        world.export_condition("Conflict"),
        told("False", "NoConflicts")
    );
    let import = world.import().unwrap();
    assert_eq!(import.spec.ips, [CLUSTER_IP]);
    assert_eq!(import.spec.ip_families, ["IPv4"]);
    assert_eq!(
        import.metadata.annotations.as_ref().unwrap()[DERIVED_SERVICE_ANNOTATION],
        derived_name()
    );
    let status = import.status.clone().unwrap();
    assert_eq!(status.clusters.len(), 1);
    assert_eq!(status.endpoint_slice_objects.as_deref(), Some("Present"));
    assert_eq!(world.import_condition("Ready"), told("True", "Ready"));
    assert_eq!(
        world.endpoints("east")["http"],
        set(&["10.0.0.1:8080", "10.0.0.2:8080"])
    );
}

#[test]
fn a_settled_service_costs_no_write() {
    let mut world = exporting();
    world.put(copy("west", &[("http", 80)]));
    world.settle();

    assert_eq!(world.settle(), [] as [&str; 0]);
    world.wall = Timestamp::from_second(2_000_000).unwrap();
    assert_eq!(world.settle(), [] as [&str; 0], "time changes nothing");
}

#[test]
fn what_other_clusters_cannot_use_is_told_where_it_is_exported() {
    let mut world = exporting();
    let mut mixed = service(&[("http", 80), ("signals", 2905)]);
    mixed.spec.as_mut().unwrap().ports.as_mut().unwrap()[1].protocol = Some("SCTP".to_owned());
    world.put(mixed.clone());
    world.settle();
    assert_eq!(
        world.export_condition("tombolo.io/Carried"),
        told("False", "ProtocolNotCarried")
    );
    assert_eq!(world.export_condition("Valid"), told("True", "Valid"));
    assert!(world.notices.contains(&"NotCarried"));

    mixed.spec.as_mut().unwrap().ports.as_mut().unwrap().pop();
    world.put(mixed);
    world.settle();
    assert_eq!(
        world.export_condition("tombolo.io/Carried"),
        told("True", "Carried")
    );
}

#[test]
fn a_proxy_protocol_that_does_not_exist_is_told_and_not_exported() {
    for (asked, reason, exported) in [
        ("v2", "Carried", Some("v2")),
        ("v9", "InvalidAnnotation", None),
    ] {
        let mut world = exporting();
        let mut annotated = service(&[("http", 80)]);
        let annotation = (PROXY_PROTOCOL_ANNOTATION.to_owned(), asked.to_owned());
        annotated.metadata.annotations = Some([annotation].into_iter().collect());
        world.put(annotated);

        world.settle();

        let (_, told) = world.export_condition("tombolo.io/Carried").unwrap();
        assert_eq!(told, reason);
        let own = world.own_export().unwrap();
        assert_eq!(own.proxy_protocol.as_deref(), exported);
    }
}

#[test]
fn an_export_without_a_service_waits_for_it() {
    let mut world = World::new();
    world.put(export());
    assert_eq!(world.settle(), ["ServiceExport/status"]);
    assert_eq!(world.export_condition("Valid"), told("False", "NoService"));
    assert_eq!(world.export_condition("Ready"), told("False", "Pending"));
    assert_eq!(world.notices, ["InvalidExport"]);

    world.put(service(&[("http", 80)]));
    world.settle();

    assert_eq!(world.export_condition("Valid"), told("True", "Valid"));
    assert!(!world.own_export().unwrap().ready, "it has no endpoints");
}

#[test]
fn services_that_cannot_be_exported_are_refused() {
    let mut external = service(&[("http", 80)]);
    external.spec.as_mut().unwrap().type_ = Some("ExternalName".to_owned());
    let mut derived = service(&[("http", 80)]);
    let label = (IMPORT_LABEL.to_owned(), "other".to_owned());
    derived.metadata.labels = Some([label].into_iter().collect());
    for refused in [external, derived] {
        let mut world = World::new();
        world.put(export());
        world.put(refused);

        assert_eq!(world.settle(), ["ServiceExport/status"]);

        assert_eq!(
            world.export_condition("Valid"),
            told("False", "InvalidServiceType")
        );
        assert_eq!(world.export_condition("Ready"), told("False", "Failed"));
        assert!(world.import().is_none());
    }
}

#[test]
fn a_service_that_becomes_invalid_is_withdrawn() {
    let mut world = exporting();
    world.settle();
    let mut external = service(&[("http", 80)]);
    external.spec.as_mut().unwrap().type_ = Some("ExternalName".to_owned());

    world.put(external);
    world.settle();

    assert!(world.own_export().is_none());
    assert!(world.import().is_none());
    assert_eq!(
        world.export_condition("Valid"),
        told("False", "InvalidServiceType")
    );
}

#[test]
fn unexport_removes_everything_in_order() {
    let mut world = exporting();
    world.settle();
    world.remove::<ServiceExport>("demo", "web");

    let written = world.settle();

    assert_eq!(
        written,
        [
            "-ClusterExport",
            "-EndpointSlice",
            "-Service",
            "-ServiceImport"
        ]
    );
    assert_eq!(world.allotted.ports.len(), 0);
}

#[test]
fn what_the_api_server_does_not_confirm_is_not_withdrawn() {
    let mut world = exporting();
    world.put(copy("west", &[("http", 80)]));
    world.settle();
    world.confirms = false;

    world.remove::<ServiceExport>("demo", "web");
    assert_eq!(world.settle(), [] as [&str; 0]);

    assert!(world.own_export().is_some());
    assert_eq!(world.import().unwrap().spec.ips, [CLUSTER_IP]);
}

#[test]
fn what_nobody_confirms_is_unknown() {
    let mut world = exporting();
    world.settle();
    world.confirms = false;

    world.remove::<Service>("demo", "web");
    world.settle();

    assert_eq!(world.export_condition("Valid"), told("False", "NoService"));
    assert_eq!(world.export_condition("Ready"), told("Unknown", "Pending"));
    assert!(world.own_export().is_some());

    world.confirms = true;
    world.settle();
    assert_eq!(world.export_condition("Ready"), told("False", "Pending"));
}

#[test]
fn unexport_here_leaves_the_import_of_others() {
    let mut world = exporting();
    world.put(copy("west", &[("http", 80)]));
    world
        .index
        .set_gateways([gateway("10.1.0.1", &["west"])], &BTreeSet::new());
    world.settle();
    world.remove::<ServiceExport>("demo", "web");

    world.settle();

    let status = world.import().unwrap().status.clone().unwrap();
    assert_eq!(
        status
            .clusters
            .iter()
            .map(|c| c.cluster.as_str())
            .collect::<Vec<_>>(),
        ["west"]
    );
    assert!(world.endpoints("east").is_empty());
    assert_eq!(world.endpoints("west")["http"].len(), 1);
}

#[test]
fn conflicts_are_told_to_the_user_of_this_cluster() {
    let mut world = exporting();
    world.settle();
    world.notices.clear();
    let mut other = copy("west", &[("http", 81)]);
    other.spec.session_affinity = Some("ClientIP".to_owned());

    world.put(other);
    world.settle();

    let reasons = "PortConflict,SessionAffinityConflict";
    assert_eq!(world.export_condition("Conflict"), told("True", reasons));
    assert_eq!(world.notices, ["ExportConflict"]);

    world.remove::<ClusterExport>("tombolo-system", "web.demo.west");
    world.settle();
    assert_eq!(
        world.export_condition("Conflict"),
        told("False", "NoConflicts")
    );
}

#[test]
fn a_condition_keeps_its_time_until_its_status_changes() {
    let mut world = exporting();
    world.settle();
    let since = |world: &World, type_: &str| {
        let status = world.view().export.unwrap().status.clone().unwrap();
        let found = status
            .conditions
            .into_iter()
            .find(|c| c.type_ == type_)
            .unwrap();
        (
            found.last_transition_time.0.as_second(),
            found.observed_generation,
        )
    };
    assert_eq!(since(&world, "Valid"), (1_000_000, Some(1)));

    world.wall = Timestamp::from_second(2_000_000).unwrap();
    let mut edited = (*world.view().export.unwrap()).clone();
    edited.metadata.generation = Some(2);
    world.put(edited);
    world.put(copy("west", &[("http", 81)]));
    world.settle();

    assert_eq!(since(&world, "Valid"), (1_000_000, Some(2)));
    assert_eq!(since(&world, "Conflict"), (2_000_000, Some(2)));
}

#[test]
fn readiness_is_that_of_any_endpoint_of_the_services_own() {
    let mut world = exporting();
    world.settle();
    let mut unready = slice("web-1", &[("http", 8080)], &[]);
    unready.endpoints = vec![endpoint("10.0.0.1", false), endpoint("10.0.0.2", false)];
    world.put(unready.clone());
    world.settle();
    assert!(
        world.own_export().unwrap().ready,
        "endpoints that end but serve take traffic if no other does"
    );

    for endpoint in &mut unready.endpoints {
        endpoint.conditions.get_or_insert_default().serving = Some(false);
    }
    world.put(unready);
    world.settle();
    assert!(!world.own_export().unwrap().ready);
    assert_eq!(
        world.endpoints("east")["http"].len(),
        2,
        "conditions are copied, not judged"
    );

    let mut unsaid = slice("web-1", &[("http", 8080)], &["10.0.0.1"]);
    unsaid.endpoints[0].conditions = None;
    world.put(unsaid);
    world.settle();

    assert!(
        world.own_export().unwrap().ready,
        "an endpoint that does not say is ready"
    );
}

#[test]
fn who_exports_endpoints_that_gateways_refuse_is_told() {
    let mut world = exporting();
    world.settle();
    let mut refusing = gateway("10.1.0.1", &[]);
    let address = "192.0.2.7".parse().unwrap();
    refusing.refused_endpoints.insert(web(), address);
    let ready_message = |world: &World| {
        let status = world.view().export.unwrap().status.clone().unwrap();
        let mut conditions = status.conditions.into_iter();
        conditions.find(|c| c.type_ == "Ready").unwrap().message
    };

    let refused = [Change::RefusedEndpoints].into();
    world.index.set_gateways([refusing], &refused);
    assert!(world.index.take_dirty().contains(&web()));
    world.settle();

    assert_eq!(world.export_condition("Ready"), told("True", "Exported"));
    assert!(ready_message(&world).contains("192.0.2.7"));
    assert_eq!(world.notices.last(), Some(&"EndpointsRefused"));

    world.index.take_dirty();
    let dialling = gateway("10.1.0.1", &[]);
    world.index.set_gateways([dialling], &refused);
    assert!(world.index.take_dirty().contains(&web()));
    world.settle();

    assert!(!ready_message(&world).contains("192.0.2.7"));
    assert_eq!(world.notices.last(), Some(&"Exported"));
}

#[test]
fn pods_whose_named_target_ports_differ_keep_them() {
    let mut world = exporting();
    world.put(slice("web-2", &[("http", 9090)], &["10.0.0.3"]));

    world.settle();

    let expected = set(&["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:9090"]);
    assert_eq!(world.endpoints("east")["http"], expected);
}

#[test]
fn endpoints_are_copied_with_zone_and_conditions() {
    let mut world = exporting();
    world.settle();

    let slices = world.view().slices;
    let expected = vec![endpoint("10.0.0.1", true), endpoint("10.0.0.2", true)];
    assert_eq!(
        slices
            .iter()
            .map(|slice| &slice.endpoints)
            .collect::<Vec<_>>(),
        [&expected]
    );
}

#[test]
fn a_namespace_that_is_absent_gets_no_import_until_it_is_there() {
    let mut world = World::new();
    world.remove::<k8s_openapi::api::core::v1::Namespace>("", "demo");
    world.put(copy("west", &[("http", 80)]));
    assert_eq!(world.view().namespace, NamespaceState::Absent);
    assert_eq!(world.settle(), [] as [&str; 0]);

    world.put(namespace("demo"));
    world.settle();

    assert_eq!(world.import().unwrap().spec.ips, [CLUSTER_IP]);
}

#[test]
fn nothing_is_made_in_a_namespace_that_is_leaving() {
    let mut world = World::new();
    let mut leaving = namespace("demo");
    leaving.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    world.put(leaving);
    world.put(copy("west", &[("http", 80)]));

    assert_eq!(world.settle(), [] as [&str; 0]);
}

#[test]
fn a_foreign_import_is_left_alone_and_an_event_says_so() {
    let mut world = exporting();
    world.put(foreign_import());

    let written = world.settle();

    assert_eq!(written, ["ClusterExport", "ServiceExport/status"]);
    assert!(world.notices.contains(&"NameTaken"));
    assert_eq!(world.import().unwrap().spec, foreign_import().spec);
    let imported = "tombolo.io/Imported";
    assert_eq!(world.export_condition(imported), told("False", "NameTaken"));
    assert_eq!(world.settle(), [] as [&str; 0]);

    world.remove::<ServiceImport>("demo", "web");
    world.settle();
    assert_eq!(world.export_condition("Ready"), told("True", "Exported"));
}

#[test]
fn a_foreign_service_in_the_derived_place_blocks_the_import() {
    let mut world = exporting();
    let mut foreign = service(&[("http", 80)]);
    foreign.metadata.name = Some(derived_name());
    world.put(foreign);

    let written = world.settle();

    assert!(!written.contains(&"Service".to_owned()), "{written:?}");
    assert_eq!(world.import_condition("Ready"), told("False", "Pending"));
    assert!(world.import().unwrap().spec.ips.is_empty());
    assert!(world.notices.contains(&"NameTaken"));

    world.remove::<Service>("demo", &derived_name());
    world.settle();
    assert_eq!(world.import_condition("Ready"), told("True", "Ready"));
}

#[test]
fn a_foreign_slice_is_neither_overwritten_nor_deleted() {
    let mut world = exporting();
    world.settle();
    let ours = (*world.view().slices[0]).clone();
    let mut foreign = ours.clone();
    foreign.metadata.labels = None;
    world.put(foreign);

    assert_eq!(world.settle(), ["ServiceImport/status"]);
    assert_eq!(world.import_condition("Ready"), told("False", "Pending"));
    world.remove::<ServiceExport>("demo", "web");
    world.settle();

    let left: Vec<_> = world.view().slices;
    assert_eq!(left.len(), 1);
    world.remove::<EndpointSlice>("demo", ours.metadata.name.as_deref().unwrap());
}

#[test]
fn objects_restored_from_a_backup_are_taken_up_again() {
    let mut world = exporting();
    world.settle();
    let mut restored = (*world.view().derived.unwrap()).clone();
    restored.metadata.owner_references.as_mut().unwrap()[0].uid = "of-an-import-long-gone".into();
    world.put(restored);

    assert_eq!(world.settle(), ["Service"]);

    let owners = world
        .view()
        .derived
        .unwrap()
        .metadata
        .owner_references
        .clone()
        .unwrap();
    assert_eq!(
        Some(&owners[0].uid),
        world.import().unwrap().metadata.uid.as_ref()
    );
}

#[test]
fn what_was_changed_by_hand_is_put_back() {
    let mut world = exporting();
    world.settle();
    let mut bent = (*world.view().derived.unwrap()).clone();
    bent.spec.as_mut().unwrap().session_affinity = Some("ClientIP".to_owned());
    world.put(bent);
    assert_eq!(world.settle(), ["Service"]);

    world.remove::<Service>("demo", &derived_name());
    let before = world.import().unwrap().spec.clone();
    assert_eq!(world.settle(), ["Service"]);
    assert_eq!(world.import().unwrap().spec, before);
}

#[test]
fn an_import_being_deleted_is_not_written_to() {
    let mut world = exporting();
    world.settle();
    let mut leaving = (*world.import().unwrap()).clone();
    leaving.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    leaving.spec.ips.clear();
    world.put(leaving);

    let written = world.settle();

    assert!(
        !written.contains(&"ServiceImport".to_owned()),
        "{written:?}"
    );
}

#[test]
fn running_out_of_gateway_ports_is_a_condition() {
    let mut world = exporting();
    exhaust(&mut world);

    world.settle();

    assert_eq!(world.export_condition("Ready"), told("True", "Exported"));
    assert_eq!(world.import_condition("Ready"), told("False", "Pending"));
    assert!(world.view().derived.is_none());
    assert!(world.notices.contains(&"GatewayPortsExhausted"));

    world
        .allotted
        .ports
        .retain(&ServiceName::new("hog", "hog"), &[], Instant::now());
    world.settle();
    assert_eq!(world.import_condition("Ready"), told("True", "Ready"));
}

#[test]
fn a_port_for_which_no_gateway_port_is_left_leaves_the_others_alone() {
    let mut world = exporting();
    world.settle();
    exhaust(&mut world);

    world.put(service(&[("http", 80), ("metrics", 9090)]));
    world.settle();

    assert_eq!(world.import().unwrap().spec.ips, [CLUSTER_IP]);
    assert_eq!(world.endpoints("east").keys().collect::<Vec<_>>(), ["http"]);
    assert_eq!(world.import_condition("Ready"), told("False", "Pending"));
}

#[test]
fn a_refused_write_is_told_and_tried_again() {
    let mut world = exporting();
    world.refuse = Some("Service");
    world.settle();
    let status = world.import().unwrap().status.clone().unwrap();
    assert_eq!(world.import_condition("Ready"), told("False", "Pending"));
    assert_eq!(status.conditions[0].message, "quota exceeded");

    world.refuse = None;
    world.settle();

    assert_eq!(world.import_condition("Ready"), told("True", "Ready"));
}

#[test]
fn an_export_that_is_refused_has_failed() {
    let mut world = exporting();
    world.refuse = Some("ClusterExport");

    world.settle();

    assert_eq!(world.export_condition("Valid"), told("True", "Valid"));
    assert_eq!(world.export_condition("Ready"), told("False", "Failed"));
    world.refuse = None;
    world.settle();
    assert_eq!(world.export_condition("Ready"), told("True", "Exported"));
}

#[test]
fn an_import_of_which_no_family_can_be_used_says_so() {
    let mut world = World::new();
    world.put(copy("west", &[("http", 80)]));
    world
        .index
        .set_gateways([gateway("fd00::1", &["west"])], &BTreeSet::new());

    world.settle();

    let expected = told("False", "IPFamilyNotSupported");
    assert_eq!(world.import_condition("Ready"), expected);
    let mut both = gateway("fd00::1", &["west"]);
    both.addresses.extend(gateway("10.1.0.1", &[]).addresses);
    world.index.set_gateways([both], &BTreeSet::new());
    world.settle();
    assert_eq!(world.import_condition("Ready"), told("True", "Ready"));
}

#[test]
fn an_import_of_a_cluster_that_is_not_reached_says_so_while_it_is() {
    let mut world = exporting();
    world.put(copy("west", &[("http", 80)]));
    world.settle();
    let spec = world.import().unwrap().spec.clone();
    let away = |cluster: &str| BTreeMap::from([(cluster.to_owned(), "no link".to_owned())]);

    world.index.set_stale(away("north"));
    assert_eq!(world.settle(), [] as [&str; 0], "north exports nothing");
    world.index.set_stale(away("west"));
    assert_eq!(world.settle(), ["ServiceImport/status"]);

    let stale = "tombolo.io/Stale";
    assert_eq!(world.import_condition(stale), told("True", "Unreachable"));
    assert_eq!(world.import_condition("Ready"), told("True", "Ready"));
    assert_eq!(world.import().unwrap().spec, spec);

    world.index.set_stale(BTreeMap::new());
    assert_eq!(world.settle(), ["ServiceImport/status"]);
    assert_eq!(world.import_condition(stale), None);
}

#[test]
fn exported_labels_come_and_go() {
    let mut world = exporting();
    let mut labelled = export();
    labelled.spec.exported_labels = [("team".to_owned(), "a".to_owned())].into();
    world.put(labelled);
    world.settle();
    assert_eq!(
        world.import().unwrap().metadata.labels.as_ref().unwrap()["team"],
        "a"
    );

    world.put(export());
    world.settle();

    let labels = world.import().unwrap().metadata.labels.clone().unwrap();
    assert_eq!(
        labels.into_iter().collect::<Vec<_>>(),
        [(MANAGER_LABEL.to_owned(), MANAGER.to_owned())]
    );
}

#[test]
fn a_copy_under_another_name_or_against_the_rules_takes_no_part() {
    let mut world = World::new();
    let mut misnamed = copy("west", &[("http", 80)]);
    misnamed.metadata.name = Some("something".to_owned());
    world.put(misnamed);
    world.put(copy("north", &[("http", 70_000)]));

    assert_eq!(world.settle(), [] as [&str; 0]);
}

/// `web` is exported here with two ready pods.
fn exporting() -> World {
    let mut world = World::new();
    world.put(export());
    world.put(service(&[("http", 80)]));
    world.put(slice("web-1", &[("http", 8080)], &["10.0.0.1", "10.0.0.2"]));
    world
}

fn exhaust(world: &mut World) {
    let hog = ServiceName::new("hog", "hog");
    for port in 0..=(LAST_IMPORT_PORT - FIRST_IMPORT_PORT) {
        let key = PortKey {
            service: hog.clone(),
            endpoint: None,
            protocol: "TCP".to_owned(),
            port,
        };
        if world.allotted.ports.allot(&key, Instant::now()).is_err() {
            return;
        }
    }
}

fn told(status: &str, reason: &str) -> Option<(String, String)> {
    Some((status.to_owned(), reason.to_owned()))
}

fn set(members: &[&str]) -> BTreeSet<String> {
    members.iter().map(|member| (*member).to_owned()).collect()
}
