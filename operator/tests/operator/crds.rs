//! CRDs that are there already, or not yet.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tombolo_crds::mcs::v1alpha1;

use crate::api_server::Cluster;
use crate::program::{SYSTEM, Start, prepare};
use crate::scene::{Scene, eventually};

const OPERATORS_LEASE: &str = "tombolo-operator";
const RELEASE_VERSION: &str = "tombolo.io/release-version";

#[tokio::test]
async fn newer_crds_are_never_downgraded() {
    let cluster = Cluster::start();
    let scene = Scene::of(&cluster, "demo").await;
    prepare(&scene.client, &["operator-0"]).await;
    let crds: Api<CustomResourceDefinition> = Api::all(scene.client.clone());
    for mut crd in mcs_crds() {
        crd.metadata.labels.get_or_insert_default().insert(
            "multicluster.x-k8s.io/release-version".to_owned(),
            "v9.9.9".to_owned(),
        );
        crds.create(&PostParams::default(), &crd).await.unwrap();
    }

    let _operator = Start::new(&cluster, "operator-0").go();
    scene.make_namespace().await;
    scene.make_service(&["10.0.0.1"]).await;
    scene.await_crds().await;
    scene.make_export().await;
    scene.import().await;

    for crd in mcs_crds() {
        let found = crds.get(&crd.name_any()).await.unwrap();
        assert_eq!(
            found.labels()["multicluster.x-k8s.io/release-version"],
            "v9.9.9"
        );
        assert_eq!(found.metadata.generation, Some(1), "{}", crd.name_any());
    }
}

#[tokio::test]
async fn a_cluster_that_serves_only_the_older_version_works() {
    let cluster = Cluster::start();
    let scene = Scene::of(&cluster, "demo").await;
    prepare(&scene.client, &["operator-0"]).await;
    install_older(&scene.client).await;

    let _operator = Start::new(&cluster, "operator-0").go();
    scene.make_namespace().await;
    scene.make_service(&["10.0.0.1"]).await;
    let exports: Api<v1alpha1::ServiceExport> = scene.api();
    let export = serde_json::from_value(json!({"metadata": {"name": "web"}})).unwrap();
    eventually("the older version is served", async || {
        exports
            .create(&PostParams::default(), &export)
            .await
            .map_err(|e| e.to_string())
    })
    .await;

    let imports: Api<v1alpha1::ServiceImport> = scene.api();
    let import = eventually("the import is ready", async || {
        let import = imports.get("web").await.map_err(|e| e.to_string())?;
        let conditions = import.status.clone().unwrap_or_default().conditions;
        let is_ready = conditions
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True");
        if is_ready {
            Ok(import)
        } else {
            Err(format!("{conditions:?}"))
        }
    })
    .await;

    assert_eq!(import.spec.0.ips.len(), 1);
    let owner = &scene.derived().await.metadata.owner_references.unwrap()[0];
    assert_eq!(owner.api_version, "multicluster.x-k8s.io/v1alpha1");
    exports
        .delete("web", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    scene.is_gone(&imports, "web").await;
}

/// A rollout waits for the new replicas, and the old ones, of which one leads, for the rollout.
#[tokio::test]
async fn new_replicas_get_ready_beside_a_leader_that_does_not_know_a_crd_of_theirs() {
    let cluster = Cluster::start();
    let scene = Scene::of(&cluster, "demo").await;
    prepare(&scene.client, &["operator-1", "operator-2"]).await;
    let crds: Api<CustomResourceDefinition> = Api::all(scene.client.clone());
    let (added, upgraded) = ("trafficpolicies.tombolo.io", "peers.tombolo.io");
    install_without(&scene.client, added).await;
    let older = json!({"metadata": {"labels": {RELEASE_VERSION: "v0.0.1"}}});
    let params = PatchParams::default();
    let older = Patch::Merge(older);
    crds.patch(upgraded, &params, &older).await.unwrap();
    let _leader = make_leader(&scene.client, "operator-0").await;

    let replicas = ["operator-1", "operator-2"].map(|pod| Start::new(&cluster, pod).go());

    for replica in &replicas {
        eventually("the new replica is ready", async || replica.is_ready()).await;
    }
    crds.get(added).await.unwrap();
    let found = crds.get(upgraded).await.unwrap();
    assert_ne!(found.labels()[RELEASE_VERSION], "v0.0.1");
    let leads = |log: String| log.contains("leading") || log.contains("held=true");
    assert!(!replicas.iter().any(|replica| leads(replica.log())));
}

/// Installs the CRDs but for one, as a version did that did not have it.
pub(crate) async fn install_without(client: &Client, added: &str) {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in tombolo_crds::all() {
        if crd.name_any() != added {
            crds.create(&PostParams::default(), &crd).await.unwrap();
        }
    }
}

/// The Lease of a leader that does nothing, for longer than any test.
pub(crate) struct Led(Api<Lease>);

pub(crate) async fn make_leader(client: &Client, pod: &str) -> Led {
    let leases: Api<Lease> = Api::namespaced(client.clone(), SYSTEM);
    let lease = json!({
        "metadata": {"name": OPERATORS_LEASE},
        "spec": {"holderIdentity": pod, "leaseDurationSeconds": 86_400},
    });
    let lease = serde_json::from_value(lease).unwrap();
    leases.create(&PostParams::default(), &lease).await.unwrap();
    Led(leases)
}

impl Led {
    /// As a leader does that ends.
    pub(crate) async fn give_up(self) {
        let free = Patch::Merge(json!({"spec": {"holderIdentity": ""}}));
        let params = PatchParams::default();
        self.0.patch(OPERATORS_LEASE, &params, &free).await.unwrap();
    }
}

/// As an implementation of years ago left them: without labels that tell a version.
async fn install_older(client: &Client) {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for mut crd in mcs_crds() {
        crd.metadata.labels = None;
        crd.spec
            .versions
            .retain(|version| version.name == "v1alpha1");
        for version in &mut crd.spec.versions {
            version.storage = true;
        }
        crds.create(&PostParams::default(), &crd).await.unwrap();
    }
}

fn mcs_crds() -> impl Iterator<Item = CustomResourceDefinition> {
    tombolo_crds::all()
        .into_iter()
        .filter(|crd| crd.spec.group == tombolo_crds::mcs::GROUP)
}
