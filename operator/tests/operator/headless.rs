//! Headless Services: what is told of one's own, and what becomes of others'.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use tombolo_crds::mcs::{ServiceImport, ServiceImportType};
use tombolo_crds::well_known::{IMPORT_LABEL, SOURCE_CLUSTER_LABEL};

use crate::api_server::Cluster;
use crate::gateways::Gateway;
use crate::program::{SYSTEM, Start, prepare};
use crate::scene::{Scene, eventually};

#[tokio::test]
async fn a_headless_service_is_exported_with_its_endpoints() {
    let scene = Scene::shared("headless-export").await;
    scene.make_namespace().await;
    scene
        .make::<Service>(json!({
            "metadata": {"name": "web"},
            "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]},
        }))
        .await;
    let endpoint = |address: &str, ready: bool| json!({"addresses": [address], "conditions": {"ready": ready}});
    let mut named = endpoint("10.0.0.1", true);
    named["hostname"] = json!("web-0");
    scene
        .make::<EndpointSlice>(json!({
            "metadata": {"name": "web-abcde", "labels": {
                "kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            }},
            "addressType": "IPv4",
            "endpoints": [named, endpoint("10.0.0.2", false)],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }))
        .await;
    scene.make_export().await;

    scene.export_says("Ready", "True", "Exported").await;
    scene.import_says("Ready", "True", "Ready").await;

    let name = "web.headless-export.east";
    let told = scene.cluster_exports().get(name).await.unwrap().spec;
    let endpoints: Vec<_> = told.endpoints.iter().map(|e| (&*e.id, e.ready)).collect();
    assert_eq!(endpoints, [("10-0-0-2", false), ("web-0", true)]);
    let import: ServiceImport = scene.api().get("web").await.unwrap();
    assert_eq!(import.spec.type_, ServiceImportType::Headless);
    assert!(import.spec.ips.is_empty());
    assert_eq!(import.spec.ip_families, ["IPv4"]);
    assert!(scene.endpoint_services().await.is_empty());
    let slices = scene.lists("east", &["10.0.0.1", "10.0.0.2"]).await;
    assert_eq!(slices[0].endpoints[0].hostname.as_deref(), Some("web-0"));
}

#[tokio::test]
async fn a_headless_export_without_ports_is_refused_with_a_reason() {
    let scene = Scene::shared("headless-portless").await;
    scene.make_namespace().await;
    scene
        .make::<Service>(json!({
            "metadata": {"name": "web"},
            "spec": {"clusterIP": "None", "selector": {"app": "web"}},
        }))
        .await;
    scene.make_export().await;

    let condition = scene
        .export_says("Valid", "False", "InvalidServiceType")
        .await;

    assert!(condition.message.contains("ports"), "{}", condition.message);
    assert!(
        scene
            .api::<ServiceImport>()
            .get_opt("web")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn each_endpoint_of_another_cluster_has_an_address_of_its_own_here() {
    let scene = Scene::shared("headless-import").await;
    scene.make_namespace().await;
    let _gateway = Gateway::start(&scene.client, "gw-atoll", "10.1.0.9", "atoll").await;
    scene
        .make_headless_copy("atoll", &["web-0", "web-1", "10-0-0-7"])
        .await;

    let listed = ready(&scene, 3).await;
    let services = scene.endpoint_services().await;

    assert_eq!(services.len(), 3);
    for (id, service) in &services {
        let spec = service.spec.as_ref().unwrap();
        assert_eq!(spec.cluster_ip.as_ref(), listed[id].addresses.first());
        assert!(spec.selector.is_none());
        let labels = service.metadata.labels.as_ref().unwrap();
        assert!(!labels.contains_key(IMPORT_LABEL));
    }
    let behind = scene.endpoint_slices().await;
    assert_eq!(behind.len(), 3);
    for slice in behind {
        assert_eq!(slice.endpoints[0].addresses, ["10.1.0.9"]);
    }
    // Quotas and the environment of pods count what is in the user's namespace.
    let in_sight = scene.api::<Service>().list(&ListParams::default()).await;
    assert!(in_sight.unwrap().items.is_empty());

    scene
        .cluster_exports()
        .delete("web.headless-import.atoll", &Default::default())
        .await
        .unwrap();
    scene.nothing_is_left().await;
}

#[tokio::test]
async fn scaling_to_300_and_back_leaves_nothing_behind() {
    let cluster = Cluster::start();
    let scene = Scene::of(&cluster, "demo").await;
    prepare(&scene.client, &["operator-0"]).await;
    scene.make_namespace().await;
    let _operator = Start::new(&cluster, "operator-0")
        .env("TOMBOLO_ENDPOINT_ADDRESS_REST", "1")
        .go();
    scene.await_crds().await;
    let _gateway = Gateway::start(&scene.client, "gw-a", "10.1.0.1", "west").await;
    let names: Vec<String> = (0..300).map(|n| format!("web-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    scene.make_headless_copy("west", &names[..3]).await;
    let before = ready(&scene, 3).await;

    scene.tell_endpoints("west", &names).await;
    ready(&scene, 300).await;
    eventually(
        "the slice that the first three were in is gone",
        async || match listed(&scene).await?.len() {
            300 => Ok(()),
            listed => Err(format!("{listed} are listed")),
        },
    )
    .await;
    let written = writes(&cluster);
    let mut endpoints: Vec<_> = names
        .iter()
        .map(|id| json!({"id": id, "ready": true}))
        .collect();
    endpoints[7]["ready"] = json!(false);
    scene
        .patch_copy("west", json!({ "endpoints": endpoints }))
        .await;
    ready(&scene, 299).await;
    assert_eq!(
        writes(&cluster) - written,
        1,
        "one endpoint's change is one slice's"
    );

    scene.tell_endpoints("west", &names[..3]).await;
    eventually("what is not needed is gone", async || {
        let left = (
            scene.endpoint_services().await.len(),
            scene.endpoint_slices().await.len(),
        );
        match left {
            (3, 3) => Ok(()),
            left => Err(format!("{left:?} are left")),
        }
    })
    .await;
    assert_eq!(ready(&scene, 3).await, before, "they have kept theirs");

    scene
        .cluster_exports()
        .delete("web.demo.west", &Default::default())
        .await
        .unwrap();
    scene.nothing_is_left().await;
}

#[tokio::test]
async fn a_full_service_range_is_a_condition_and_the_others_go_on() {
    // Fourteen addresses, of which one is the API server's.
    let cluster = Cluster::with_service_range("10.96.0.0/28");
    let scene = Scene::of(&cluster, "demo").await;
    prepare(&scene.client, &["operator-0"]).await;
    scene.make_namespace().await;
    let _operator = Start::new(&cluster, "operator-0").go();
    scene.await_crds().await;
    let _gateway = Gateway::start(&scene.client, "gw-a", "10.1.0.1", "west").await;
    let names: Vec<String> = (0..20).map(|n| format!("web-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();

    scene.make_headless_copy("west", &names).await;

    let condition = scene.import_says("Ready", "False", "Pending").await;
    eventually("the condition says why", async || {
        let condition = scene.import_says("Ready", "False", "Pending").await;
        match condition.message.contains("range is full") {
            true => Ok(()),
            false => Err(condition.message),
        }
    })
    .await;
    drop(condition);
    let had = scene.endpoint_services().await.len();
    assert!((10..=14).contains(&had), "{had}");
    ready(&scene, had).await;

    scene.tell_endpoints("west", &names[..4]).await;
    scene.import_says("Ready", "True", "Ready").await;
    ready(&scene, 4).await;
}

#[tokio::test]
async fn beyond_the_cap_endpoints_have_no_address_and_the_condition_says_so() {
    let cluster = Cluster::start();
    let scene = Scene::of(&cluster, "demo").await;
    prepare(&scene.client, &["operator-0"]).await;
    scene.make_namespace().await;
    let operator = Start::new(&cluster, "operator-0").env("TOMBOLO_MAX_ENDPOINT_ADDRESSES", "2");
    let running = operator.clone().go();
    scene.await_crds().await;
    let _gateway = Gateway::start(&scene.client, "gw-a", "10.1.0.1", "west").await;

    scene
        .make_headless_copy("west", &["web-0", "web-1", "web-2"])
        .await;

    let condition = scene.import_says("Ready", "False", "Pending").await;
    assert!(
        condition.message.starts_with("1 endpoint"),
        "{}",
        condition.message
    );
    let before = ready(&scene, 2).await;

    // What it does not remember it must find.
    running.kill();
    let _again = operator.go();
    scene
        .patch_copy("west", json!({"exportedLabels": {"seen": "yes"}}))
        .await;
    eventually("the operator is at work again", async || {
        let import: ServiceImport = scene.api().get("web").await.map_err(|e| e.to_string())?;
        let labels = import.metadata.labels.unwrap_or_default();
        match labels.contains_key("seen") {
            true => Ok(()),
            false => Err(format!("{labels:?}")),
        }
    })
    .await;
    assert_eq!(ready(&scene, 2).await, before);
}

/// Services in Tombolo's namespace are its own; a label on one does not make another want it gone.
#[tokio::test]
async fn what_somebody_does_to_an_endpoints_service_is_put_right() {
    let scene = Scene::shared("headless-by-hand").await;
    scene.make_namespace().await;
    let _gateway = Gateway::start(&scene.client, "gw-reef", "10.1.0.8", "reef").await;
    scene.make_headless_copy("reef", &["web-0"]).await;
    ready(&scene, 1).await;
    let services = kube::Api::<Service>::namespaced(scene.client.clone(), SYSTEM);
    let name = |service: &Service| service.metadata.name.clone().unwrap();

    let service = scene.endpoint_services().await.remove("web-0").unwrap();
    let bent = Patch::Merge(json!({"spec": {"sessionAffinity": "ClientIP"}}));
    services
        .patch(&name(&service), &PatchParams::default(), &bent)
        .await
        .unwrap();
    eventually("the Service is as it was", async || {
        let found = services.get(&name(&service)).await;
        let found = found
            .map_err(|e| e.to_string())?
            .spec
            .unwrap()
            .session_affinity;
        match found.as_deref() {
            Some("None") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    services
        .delete(&name(&service), &Default::default())
        .await
        .unwrap();
    eventually("there is another Service", async || {
        let found = scene.endpoint_services().await;
        match found.get("web-0") {
            Some(found) if found.metadata.uid != service.metadata.uid => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    ready(&scene, 1).await;
}

/// Waits until so many endpoints of other clusters are ready in the import's slices; these, by
/// hostname.
async fn ready(scene: &Scene, count: usize) -> BTreeMap<String, Endpoint> {
    eventually(&format!("{count} endpoints are ready"), async || {
        let listed = listed(scene).await?.into_iter();
        let ready: BTreeMap<String, Endpoint> = listed
            .filter(|endpoint| endpoint.conditions.as_ref().and_then(|c| c.ready) == Some(true))
            .filter_map(|endpoint| Some((endpoint.hostname.clone()?, endpoint)))
            .collect();
        match ready.len() == count {
            true => Ok(ready),
            false => Err(format!("{} are", ready.len())),
        }
    })
    .await
}

/// The endpoints of all slices of the import: one that is in two of them, twice.
async fn listed(scene: &Scene) -> Result<Vec<Endpoint>, String> {
    let params = ListParams::default().labels(SOURCE_CLUSTER_LABEL);
    let slices = scene.api::<EndpointSlice>().list(&params).await;
    let slices = slices.map_err(|error| error.to_string())?;
    Ok(slices.items.into_iter().flat_map(|s| s.endpoints).collect())
}

/// What was written so far of what the import consists of.
fn writes(cluster: &Cluster) -> usize {
    let writes = cluster.writes().into_iter();
    let of_import =
        writes.filter(|write| write.contains("endpointslices") || write.contains(" services"));
    of_import.count()
}
