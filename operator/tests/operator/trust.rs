//! The CA, the gateways' certificate, and which cluster this is.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tombolo_crds::about::{ClusterProperty, ClusterPropertySpec};
use tombolo_crds::well_known::{
    CA_CONFIG_MAP, CA_SECRET, CLUSTER_ID_PROPERTY, GATEWAY_IDENTITY_SECRET,
};
use tombolo_link::ca;

use crate::api_server::Cluster;
use crate::program::{SYSTEM, Start, prepare};
use crate::scene::{Scene, eventually};

#[tokio::test]
async fn the_ca_is_made_once_and_certificates_are_renewed() {
    let cluster = Cluster::start();
    let scene = Scene::of(&cluster, "demo").await;
    prepare(&scene.client, &["operator-0"]).await;
    let start = || {
        // The half of it is over soon.
        Start::new(&cluster, "operator-0")
            .env("TOMBOLO_GATEWAY_IDENTITY_LIFETIME", "10")
            .go()
    };
    let operator = start();
    let secrets: Api<Secret> = Api::namespaced(scene.client.clone(), SYSTEM);
    let first = identity(&secrets, None).await;
    let ca_secret = secrets.get(CA_SECRET).await.unwrap();
    let ca_pem = text(&ca_secret, "tls.crt");
    assert!(ca::issued_by(&first, &ca_pem));
    let maps: Api<ConfigMap> = Api::namespaced(scene.client.clone(), SYSTEM);
    let data = maps.get(CA_CONFIG_MAP).await.unwrap().data.unwrap();
    assert_eq!(data["ca.crt"], ca_pem);
    assert_eq!(
        (data["cluster-id"].as_str(), data["clusterset"].as_str()),
        ("east", "prod")
    );

    let second = identity(&secrets, Some(&first)).await;
    assert!(ca::issued_by(&second, &ca_pem));
    drop(operator);
    let params = DeleteParams::default();
    secrets
        .delete(GATEWAY_IDENTITY_SECRET, &params)
        .await
        .unwrap();
    maps.delete(CA_CONFIG_MAP, &params).await.unwrap();
    let _operator = start();
    let third = identity(&secrets, Some(&second)).await;

    assert!(ca::issued_by(&third, &ca_pem));
    let found = secrets.get(CA_SECRET).await.unwrap();
    assert_eq!(
        found.metadata.resource_version,
        ca_secret.metadata.resource_version
    );
    assert_eq!(
        maps.get(CA_CONFIG_MAP).await.unwrap().data.unwrap()["ca.crt"],
        ca_pem
    );
}

#[tokio::test]
async fn a_ca_that_cannot_be_used_is_not_written_over() {
    let cluster = Cluster::start();
    let scene = Scene::of(&cluster, "demo").await;
    prepare(&scene.client, &["operator-0"]).await;
    let secrets: Api<Secret> = Api::namespaced(scene.client.clone(), SYSTEM);
    let precious = serde_json::from_value(json!({
        "metadata": {"name": CA_SECRET},
        "stringData": {"tls.crt": "somebody's", "tls.key": "only copy"},
    }));
    secrets
        .create(&PostParams::default(), &precious.unwrap())
        .await
        .unwrap();

    let _operator = Start::new(&cluster, "operator-0").go();
    says(&scene, "UnusableCA").await;

    assert_eq!(
        text(&secrets.get(CA_SECRET).await.unwrap(), "tls.key"),
        "only copy"
    );
    assert!(
        secrets
            .get_opt(GATEWAY_IDENTITY_SECRET)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn nothing_is_published_until_it_is_clear_which_cluster_this_is() {
    let cluster = Cluster::start();
    let scene = Scene::of(&cluster, "demo").await;
    prepare(&scene.client, &["operator-0"]).await;
    scene.make_namespace().await;
    scene.make_service(&["10.0.0.1"]).await;
    let operator = Start::new(&cluster, "operator-0").go();
    scene.await_crds().await;
    drop(operator);
    let properties: Api<ClusterProperty> = Api::all(scene.client.clone());
    let value = "island".to_owned();
    let property = ClusterProperty::new(CLUSTER_ID_PROPERTY, ClusterPropertySpec { value });
    properties
        .create(&PostParams::default(), &property)
        .await
        .unwrap();

    let _operator = Start::new(&cluster, "operator-0").go();
    scene.make_export().await;
    says(&scene, "ClusterIdentityDisagreement").await;
    assert!(
        scene
            .cluster_exports()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );

    let agrees = Patch::Merge(json!({"spec": {"value": "east"}}));
    let params = PatchParams::default();
    properties
        .patch(CLUSTER_ID_PROPERTY, &params, &agrees)
        .await
        .unwrap();
    scene.import().await;
}

/// Waits for a certificate of the gateways other than this one.
async fn identity(secrets: &Api<Secret>, not: Option<&str>) -> String {
    eventually("the gateways have a new certificate", async || {
        let secret = secrets
            .get(GATEWAY_IDENTITY_SECRET)
            .await
            .map_err(|e| e.to_string())?;
        let certificate = text(&secret, "tls.crt");
        if Some(certificate.as_str()) == not {
            return Err("the old one".to_owned());
        }
        Ok(certificate)
    })
    .await
}

async fn says(scene: &Scene, reason: &str) {
    let events: Api<Event> = Api::namespaced(scene.client.clone(), SYSTEM);
    eventually(&format!("there is an Event {reason}"), async || {
        let found = events
            .list(&ListParams::default())
            .await
            .map_err(|e| e.to_string())?;
        let reasons: Vec<_> = found
            .items
            .into_iter()
            .filter_map(|event| event.reason)
            .collect();
        if reasons.iter().any(|found| found == reason) {
            Ok(())
        } else {
            Err(format!("{reasons:?}"))
        }
    })
    .await;
}

fn text(secret: &Secret, key: &str) -> String {
    String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap()
}
