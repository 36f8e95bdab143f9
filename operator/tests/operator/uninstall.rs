//! `tombolo-operator cleanup`.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use tombolo_crds::mcs::ServiceExport;
use tombolo_crds::well_known::CA_SECRET;

use crate::api_server::Cluster;
use crate::program::{CLEANUP, SYSTEM, Start, prepare};
use crate::scene::{Scene, eventually};

#[tokio::test]
async fn cleanup_leaves_what_users_wrote_and_nothing_of_ours() {
    let cluster = Cluster::start();
    let scene = Scene::of(&cluster, "demo").await;
    prepare(&scene.client, &["operator-0"]).await;
    scene.make_namespace().await;
    scene.make_service(&["10.0.0.1"]).await;
    let operator = Start::new(&cluster, "operator-0").go();
    scene.await_crds().await;
    scene.make_export().await;
    scene.import().await;
    let other = Scene::of(&cluster, "other").await;
    other.make_namespace().await;
    other.make_headless_copy("west", &["web-0", "web-1"]).await;
    other.import().await;
    assert_eq!(other.endpoint_services().await.len(), 2);
    let secrets: Api<Secret> = Api::namespaced(scene.client.clone(), SYSTEM);
    eventually("there is a CA", async || {
        secrets
            .get(CA_SECRET)
            .await
            .map(drop)
            .map_err(|e| e.to_string())
    })
    .await;
    drop(operator);

    let cleanup = Start::new(&cluster, CLEANUP).run(&["cleanup"]);
    eventually("the cleanup is done", async || {
        let log = cleanup.log();
        if log.contains("removed what Tombolo made") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;

    scene.nothing_is_left().await;
    other.nothing_is_left().await;
    assert!(
        scene
            .cluster_exports()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(
        secrets
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let export: ServiceExport = scene.api().get("web").await.unwrap();
    assert!(export.status.unwrap_or_default().conditions.is_empty());
    assert!(
        scene
            .api::<k8s_openapi::api::core::v1::Service>()
            .get("web")
            .await
            .is_ok()
    );
}
