//! IP families of the clusterset IPs and of headless imports, on an API server that has both and prefers IPv4.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tombolo_crds::mcs::ServiceImport;

use crate::scene::{Scene, eventually};

#[tokio::test]
async fn an_import_has_as_many_families_as_the_oldest_export_in_the_order_of_this_cluster() {
    let scene = Scene::shared("families").await;
    scene.make_namespace().await;
    copy_of(&scene, &["IPv6", "IPv4"]).await;

    let import = has_families(&scene, &["IPv4", "IPv6"]).await;
    let derived = scene.derived().await.spec.unwrap();
    assert_eq!(Some(&import.spec.ips), derived.cluster_ips.as_ref());

    let spec = json!({"spec": {"ipFamilies": ["IPv6"]}});
    let name = "web.families.west";
    let exports = scene.cluster_exports();
    let params = PatchParams::default();
    exports
        .patch(name, &params, &Patch::Merge(spec))
        .await
        .unwrap();

    let single = has_families(&scene, &["IPv4"]).await;
    assert_eq!(single.spec.ips[0], import.spec.ips[0]);
}

#[tokio::test]
async fn an_own_service_of_ipv6_alone_is_imported_by_ipv6() {
    let scene = Scene::shared("ipv6").await;
    scene.make_namespace().await;
    make_ipv6_service(&scene).await;
    scene.make_export().await;

    has_families(&scene, &["IPv6"]).await;

    scene.lists("east", &["fd00::5"]).await;
}

#[tokio::test]
async fn an_import_keeps_its_first_address_when_an_own_service_of_ipv6_is_exported() {
    let scene = Scene::shared("second").await;
    scene.make_namespace().await;
    copy_of(&scene, &["IPv4"]).await;
    let before = has_families(&scene, &["IPv4"]).await;

    make_ipv6_service(&scene).await;
    scene.make_export().await;

    let after = has_families(&scene, &["IPv4", "IPv6"]).await;
    assert_eq!(after.spec.ips[0], before.spec.ips[0]);
    scene.lists("east", &["fd00::5"]).await;
}

#[tokio::test]
async fn a_headless_import_has_no_address_and_the_families_of_its_endpoints_here() {
    let scene = Scene::shared("headless-families").await;
    scene.make_namespace().await;
    scene.make_headless_copy("west", &["web-0"]).await;
    has_families_and_no_address(&scene, &["IPv4"]).await;

    let both = json!({"ipFamilies": ["IPv6", "IPv4"]});
    scene.patch_copy("west", both).await;

    has_families_and_no_address(&scene, &["IPv4", "IPv6"]).await;
}

async fn has_families_and_no_address(scene: &Scene, families: &[&str]) {
    eventually(&format!("the import is of {families:?}"), async || {
        let import = scene.api::<ServiceImport>().get("web").await;
        let spec = import.map_err(|error| error.to_string())?.spec;
        if spec.ip_families == families && spec.ips.is_empty() {
            Ok(())
        } else {
            Err(format!("{:?} {:?}", spec.ip_families, spec.ips))
        }
    })
    .await;
}

async fn copy_of(scene: &Scene, families: &[&str]) {
    let http = json!([{"name": "http", "protocol": "TCP", "port": 80}]);
    scene.make_copy("west", http).await;
    let name = format!("web.{}.west", scene.namespace);
    let patch = Patch::Merge(json!({"spec": {"ipFamilies": families}}));
    let params = PatchParams::default();
    scene
        .cluster_exports()
        .patch(&name, &params, &patch)
        .await
        .unwrap();
}

async fn make_ipv6_service(scene: &Scene) {
    scene
        .make::<Service>(json!({
            "metadata": {"name": "web"},
            "spec": {
                "ipFamilies": ["IPv6"],
                "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
            },
        }))
        .await;
    scene
        .make::<EndpointSlice>(json!({
            "metadata": {"name": "web-six", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv6",
            "endpoints": [{"addresses": ["fd00::5"], "conditions": {"ready": true}}],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }))
        .await;
}

/// Waits until the import has an address of each of these families, in this order.
async fn has_families(scene: &Scene, families: &[&str]) -> ServiceImport {
    eventually(&format!("the import is of {families:?}"), async || {
        let import = scene.api::<ServiceImport>().get("web").await;
        let import = import.map_err(|error| error.to_string())?;
        let spec = &import.spec;
        let of_ips = spec.ips.iter().map(|ip| match ip.contains(':') {
            true => "IPv6",
            false => "IPv4",
        });
        let of_ips: Vec<_> = of_ips.collect();
        if spec.ip_families == families && of_ips == families {
            Ok(import)
        } else {
            Err(format!("{:?} {:?}", spec.ip_families, spec.ips))
        }
    })
    .await
}
