use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use tombolo_catalog::Policies;
use tombolo_crds::ClusterExportSpec;
use tombolo_crds::mcs::{ServiceExportSpec, ServiceImportSpec};
use tombolo_crds::well_known::{
    ENDPOINT_CLUSTER_LABEL, ENDPOINT_LABEL, ENDPOINT_NAMESPACE_LABEL, ENDPOINT_SERVICE_LABEL,
    KUBE_SERVICE_NAME_LABEL, MANAGED_BY_LABEL, MANAGER, MANAGER_LABEL, SERVICE_NAME_LABEL,
    SLICE_MANAGER,
};

use super::*;

#[test]
fn is_complete_once_every_kind_was_listed() {
    let mut index = Index::new("east", "tombolo-system", McsVersion::V1Beta1);
    index.reset::<ServiceExport>(BTreeMap::new());
    index.reset::<ServiceImport>(BTreeMap::new());
    index.reset::<Service>(BTreeMap::new());
    index.reset::<EndpointSlice>(BTreeMap::new());
    index.reset::<ClusterExport>(BTreeMap::new());
    index.reset::<Namespace>(BTreeMap::new());
    index.set_gateways([], &BTreeSet::new());
    assert!(!index.is_complete(), "the policies are unknown");
    index.set_policies(Policies::default());
    assert!(!index.is_complete(), "the Peers are unknown");

    index.set_stale(BTreeMap::new());

    assert!(index.is_complete());
}

#[test]
fn an_older_object_than_the_known_one_says_nothing() {
    let mut index = listed();
    index.observe(&versioned(export(), 7));
    index.take_dirty();

    index.observe(&versioned(export(), 6));
    index.observe(&versioned(export(), 7));

    assert_eq!(index.take_dirty(), BTreeSet::new());
    index.observe(&versioned(export(), 8));
    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
}

#[test]
fn what_a_watch_shows_takes_the_place_of_the_answer_to_a_write() {
    let mut index = listed();
    index.observe(&versioned(export(), 7));
    let watched = Arc::new(Packed::new(&versioned(export(), 7)).unwrap());

    index.apply(web(), Arc::clone(&watched));

    assert_eq!(Arc::strong_count(&watched), 2, "and that is the index's");
}

#[test]
fn a_service_concerns_nobody_unless_it_is_exported() {
    let mut index = listed();
    index.observe(&versioned(service("web"), 1));
    index.observe(&versioned(slice("web-1", "web"), 2));
    assert_eq!(index.take_dirty(), BTreeSet::new());

    index.observe(&versioned(export(), 3));
    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
    index.observe(&versioned(service("web"), 4));
    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
    index.observe(&versioned(slice("web-1", "web"), 5));

    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
    let view = index.view(&web());
    assert!(view.export.is_some() && view.service.is_some());
    assert_eq!(view.service_slices.len(), 1);
}

#[test]
fn a_slice_that_moves_to_another_service_leaves_the_first() {
    let mut index = listed();
    index.observe(&versioned(export(), 1));
    index.observe(&versioned(slice("x", "web"), 2));
    index.take_dirty();

    index.observe(&versioned(slice("x", "other"), 3));

    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
    assert!(index.view(&web()).service_slices.is_empty());
}

#[test]
fn copies_of_exports_make_a_service_known_until_they_are_gone() {
    let mut index = listed();
    index.observe(&versioned(cluster_export("west"), 1));
    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
    assert_eq!(index.all_names(), BTreeSet::from([web()]));
    assert_eq!(index.view(&web()).cluster_exports.len(), 1);

    index.delete::<ClusterExport>(&ServiceName::new("tombolo-system", "web.demo.west"));

    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
    assert_eq!(index.all_names(), BTreeSet::new());
}

#[test]
fn a_namespace_concerns_what_is_exported_into_it_when_it_comes_and_goes() {
    let mut index = listed();
    index.observe(&versioned(cluster_export("west"), 1));
    index.take_dirty();
    assert_eq!(index.view(&web()).namespace, NamespaceState::Absent);

    index.observe(&versioned(namespace("demo"), 2));
    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
    index.observe(&versioned(namespace("demo"), 3));
    assert_eq!(
        index.take_dirty(),
        BTreeSet::new(),
        "nothing that matters changed"
    );

    let mut leaving = versioned(namespace("demo"), 4);
    leaving.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    index.observe(&leaving);

    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
    assert_eq!(index.view(&web()).namespace, NamespaceState::Terminating);
}

#[test]
fn somebody_elses_object_in_a_derived_place_is_noticed() {
    let mut index = listed();
    index.observe(&versioned(cluster_export("west"), 1));
    index.take_dirty();
    let derived = derived_service_name("demo", "web");

    index.observe(&versioned(service(&derived), 2));
    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
    assert!(index.view(&web()).derived.is_some());
    index.observe(&(versioned(slice(&format!("{derived}-west-ipv4"), "other"), 3)));

    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
    assert_eq!(index.view(&web()).slices.len(), 1);
}

#[test]
fn our_own_slice_concerns_its_import() {
    let mut index = listed();
    let mut own = slice("anything", "derived-x");
    let labels = own.metadata.labels.get_or_insert_default();
    labels.insert(MANAGED_BY_LABEL.to_owned(), SLICE_MANAGER.to_owned());
    labels.insert(SERVICE_NAME_LABEL.to_owned(), "web".to_owned());

    index.observe(&versioned(own, 1));

    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
}

#[test]
fn a_reset_forgets_what_it_does_not_name() {
    let mut index = listed();
    index.observe(&versioned(export(), 1));
    index.take_dirty();

    index.reset::<ServiceExport>(BTreeMap::new());

    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
    assert!(index.view(&web()).export.is_none());
}

#[test]
fn ports_are_as_old_as_their_last_change_and_not_as_the_service() {
    let mut index = listed();
    index.observe(&versioned(derived(10_001), 5));
    assert_eq!(index.view(&web()).ports_since, Some(5));

    index.observe(&versioned(derived(10_001), 8));
    assert_eq!(index.view(&web()).ports_since, Some(5));
    index.observe(&versioned(derived(10_002), 9));
    assert_eq!(index.view(&web()).ports_since, Some(9));

    index.delete::<Service>(&derived_name(&web()));
    assert_eq!(index.view(&web()).ports_since, None);
}

#[test]
fn a_replica_that_caught_up_concerns_only_imports_with_new_ports() {
    let mut index = listed();
    index.observe(&versioned(cluster_export("west"), 1));
    index.observe(&versioned(derived(10_001), 5));
    index.take_dirty();

    index.set_gateways(
        [],
        &BTreeSet::from([Change::Listening { after: 5, upto: 9 }]),
    );
    assert_eq!(index.take_dirty(), BTreeSet::new());
    index.set_gateways(
        [],
        &BTreeSet::from([Change::Listening { after: 4, upto: 5 }]),
    );

    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
}

#[test]
fn gateways_concern_imports_from_other_clusters_only() {
    let mut index = listed();
    index.observe(&versioned(cluster_export("east"), 1));
    index.take_dirty();
    index.set_gateways([], &BTreeSet::from([Change::Replicas]));
    assert_eq!(index.take_dirty(), BTreeSet::new());

    index.observe(&versioned(cluster_export("west"), 2));
    index.take_dirty();
    index.set_gateways([], &BTreeSet::from([Change::Replicas]));

    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
}

#[test]
fn a_cluster_that_cannot_be_reached_concerns_its_own_exports_only() {
    let mut index = listed();
    index.observe(&versioned(cluster_export("west"), 1));
    index.take_dirty();
    let away =
        |cluster: &str, since: &str| BTreeMap::from([(cluster.to_owned(), since.to_owned())]);

    index.set_stale(away("north", "since ten"));
    assert_eq!(index.take_dirty(), BTreeSet::new());
    index.set_stale(away("west", "since ten"));
    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
    index.set_stale(away("west", "since ten"));
    assert_eq!(index.take_dirty(), BTreeSet::new(), "nothing is new");

    index.set_stale(BTreeMap::new());

    assert_eq!(index.take_dirty(), BTreeSet::from([web()]));
    assert!(index.view(&web()).stale.is_empty());
}

#[test]
fn our_slices_of_a_derived_service_are_found_by_whatever_name() {
    let mut index = listed();
    let mut older = slice("older-name", &derived_service_name("demo", "web"));
    let labels = older.metadata.labels.get_or_insert_default();
    labels.insert(MANAGED_BY_LABEL.to_owned(), SLICE_MANAGER.to_owned());

    index.observe(&versioned(older, 1));

    assert_eq!(index.view(&web()).slices.len(), 1);
}

#[test]
fn only_derived_services_claim_gateway_ports() {
    let mut index = listed();
    index.observe(&versioned(derived(10_001), 5));
    let mut foreign = versioned(derived(10_002), 6);
    foreign.metadata.name = Some("derived-by-hand".to_owned());
    foreign
        .metadata
        .labels
        .as_mut()
        .unwrap()
        .remove(MANAGER_LABEL);
    index.observe(&foreign);

    let claims = index.port_claims();

    assert_eq!(claims.len(), 1);
    assert_eq!((claims[0].key.port, claims[0].gateway_port), (80, 10_001));
}

#[test]
fn services_of_endpoints_claim_gateway_ports_in_our_own_namespace_only() {
    let mut index = listed();
    let mut ours = derived(10_003);
    let labels = ours.metadata.labels.get_or_insert_default();
    labels.remove(IMPORT_LABEL);
    for (key, value) in [
        (ENDPOINT_LABEL, "web-0"),
        (ENDPOINT_CLUSTER_LABEL, "west"),
        (ENDPOINT_NAMESPACE_LABEL, "demo"),
        (ENDPOINT_SERVICE_LABEL, "web"),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    let users = ours.clone();
    ours.metadata.namespace = Some("tombolo-system".to_owned());

    index.observe(&versioned(users, 5));
    index.observe(&versioned(ours, 6));

    let claims = index.port_claims();
    assert_eq!(claims.len(), 1);
    assert_eq!(claims[0].gateway_port, 10_003);
    assert_eq!(claims[0].key.service, web());
    let endpoint = claims[0].key.endpoint.as_ref().unwrap();
    assert_eq!(endpoint.to_string(), "west/web-0");
    assert_eq!(index.view(&web()).endpoints.len(), 1);
    assert!(
        index.all_names().contains(&web()),
        "what is left of it is found"
    );
}

fn listed() -> Index {
    Index::new("east", "tombolo-system", McsVersion::V1Beta1)
}

fn web() -> ServiceName {
    ServiceName::new("demo", "web")
}

fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some("demo".to_owned()),
        ..ObjectMeta::default()
    }
}

fn versioned<T: kube::Resource>(mut object: T, version: u64) -> T {
    object.meta_mut().resource_version = Some(version.to_string());
    object
}

fn export() -> ServiceExport {
    let mut export = ServiceExport::new("web", ServiceExportSpec::default());
    export.metadata.namespace = Some("demo".to_owned());
    export
}

fn service(name: &str) -> Service {
    Service {
        metadata: metadata(name),
        ..Service::default()
    }
}

fn namespace(name: &str) -> Namespace {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    };
    Namespace {
        metadata,
        ..Namespace::default()
    }
}

fn slice(name: &str, service: &str) -> EndpointSlice {
    let mut slice = EndpointSlice {
        metadata: metadata(name),
        ..EndpointSlice::default()
    };
    let labels = slice.metadata.labels.get_or_insert_default();
    labels.insert(KUBE_SERVICE_NAME_LABEL.to_owned(), service.to_owned());
    slice
}

fn cluster_export(cluster: &str) -> ClusterExport {
    let spec = ClusterExportSpec {
        cluster: cluster.to_owned(),
        namespace: "demo".to_owned(),
        name: "web".to_owned(),
        created_at: Time(Timestamp::UNIX_EPOCH),
        type_: ServiceImportSpec::default().type_,
        ports: Vec::new(),
        session_affinity: None,
        session_affinity_config: None,
        internal_traffic_policy: None,
        traffic_distribution: None,
        ip_families: Vec::new(),
        exported_labels: BTreeMap::new(),
        exported_annotations: BTreeMap::new(),
        ready: true,
        endpoints: Vec::new(),
        proxy_protocol: None,
    };
    let mut export = ClusterExport::new(&spec.object_name(), spec);
    export.metadata.namespace = Some("tombolo-system".to_owned());
    export
}

fn derived(gateway_port: i32) -> Service {
    let mut service = service(&derived_service_name("demo", "web"));
    let labels = service.metadata.labels.get_or_insert_default();
    labels.insert(MANAGER_LABEL.to_owned(), MANAGER.to_owned());
    labels.insert(IMPORT_LABEL.to_owned(), "web".to_owned());
    service.spec = Some(ServiceSpec {
        ports: Some(vec![ServicePort {
            port: 80,
            target_port: Some(IntOrString::Int(gateway_port)),
            ..ServicePort::default()
        }]),
        ..ServiceSpec::default()
    });
    service
}
