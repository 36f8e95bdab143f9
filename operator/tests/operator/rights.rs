//! An operator that loses its rights.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use tombolo_crds::mcs::{ServiceExport, ServiceImport};

use crate::api_server::Cluster;
use crate::program::{Start, prepare, user};
use crate::scene::{Scene, eventually};

#[tokio::test]
async fn an_operator_without_rights_withdraws_nothing() {
    let cluster = Cluster::start();
    let scene = Scene::of(&cluster, "demo").await;
    prepare(&scene.client, &["operator-0"]).await;
    scene.make_namespace().await;
    scene.make_service(&["10.0.0.1"]).await;
    let operator = Start::new(&cluster, "operator-0").go();
    scene.await_crds().await;
    scene.make_export().await;
    let import = scene.import().await;

    let bindings: Api<ClusterRoleBinding> = Api::all(scene.client.clone());
    bindings
        .delete("tombolo-operator", &DeleteParams::default())
        .await
        .unwrap();
    drop(operator);
    let _operator = Start::new(&cluster, "operator-0").go();
    was_refused(&cluster, "customresourcedefinitions").await;
    unharmed(&scene, &import).await;

    prepare(&scene.client, &["operator-0"]).await;
    scene.delete::<ServiceExport>("web").await;
    scene.nothing_is_left().await;
}

#[tokio::test]
async fn an_operator_that_sees_no_exports_any_more_withdraws_none() {
    let cluster = Cluster::start();
    let scene = Scene::of(&cluster, "demo").await;
    prepare(&scene.client, &["operator-0"]).await;
    scene.make_namespace().await;
    scene.make_service(&["10.0.0.1"]).await;
    let operator = Start::new(&cluster, "operator-0").go();
    scene.await_crds().await;
    scene.make_export().await;
    let import = scene.import().await;

    // All but ServiceExports can be seen: what is not listed must not be taken for gone.
    let roles: Api<ClusterRole> = Api::all(scene.client.clone());
    let mut role = roles.get("tombolo-operator").await.unwrap();
    for rule in role.rules.iter_mut().flatten() {
        rule.resources.iter_mut().flatten().for_each(|resource| {
            if resource == "serviceexports" {
                *resource = "nothing".to_owned();
            }
        });
    }
    let rules = Patch::Merge(json!({"rules": role.rules}));
    roles
        .patch("tombolo-operator", &PatchParams::default(), &rules)
        .await
        .unwrap();
    drop(operator);
    let _operator = Start::new(&cluster, "operator-0").go();
    was_refused(&cluster, "serviceexports").await;

    unharmed(&scene, &import).await;
}

/// Waits until the operator was refused something several times.
async fn was_refused(cluster: &Cluster, resource: &str) {
    eventually(&format!("{resource} are refused"), async || {
        let requests = cluster.requests();
        let refused = requests.iter().filter(|request| {
            request.user == user("operator-0")
                && request.resource == resource
                && request.code == 403
        });
        match refused.count() {
            3.. => Ok(()),
            count => Err(format!("{count} times")),
        }
    })
    .await;
}

async fn unharmed(scene: &Scene, import: &ServiceImport) {
    let found: ServiceImport = scene.api().get("web").await.unwrap();
    assert_eq!(found.spec, import.spec);
    assert!(
        scene
            .cluster_exports()
            .get_opt("web.demo.east")
            .await
            .unwrap()
            .is_some()
    );
    scene.lists("east", &["10.0.0.1"]).await;
}
