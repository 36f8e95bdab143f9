//! Gateway replicas in the slices of other clusters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tombolo_crds::mcs::{ServiceExport, ServiceImport};
use tombolo_crds::well_known::{
    LINKED_CLUSTERS_ANNOTATION, LISTENING_ANNOTATION, REFUSED_ENDPOINTS_ANNOTATION,
};

use crate::program::SYSTEM;
use crate::scene::{Scene, eventually};

#[tokio::test]
async fn replicas_come_when_they_listen_and_leave_when_they_fall_silent() {
    let scene = Scene::shared("replicas").await;
    scene.make_namespace().await;
    let http = json!([{"name": "http", "protocol": "TCP", "port": 80}]);
    scene.make_copy("island", http).await;
    let import = scene.import().await;
    scene.lists("island", &[]).await;

    let first = Gateway::start(&scene.client, "gw-a", "10.1.0.1", "island").await;
    let second = Gateway::start(&scene.client, "gw-b", "10.1.0.2", "island").await;
    let _elsewhere = Gateway::start(&scene.client, "gw-c", "10.1.0.3", "mainland").await;
    let slices = scene.lists("island", &["10.1.0.1", "10.1.0.2"]).await;
    let spec = scene.derived().await.spec.unwrap();
    let target = spec.ports.unwrap()[0].target_port.clone();
    let listed = slices[0].ports.as_ref().unwrap()[0].port;
    assert_eq!(
        target,
        listed.map(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int)
    );

    first.fall_silent();
    scene.lists("island", &["10.1.0.2"]).await;

    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), SYSTEM);
    pods.delete("gw-b", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    scene.lists("island", &[]).await;
    drop(second);
    let after: ServiceImport = scene.api().get("web").await.unwrap();
    assert_eq!(after.spec, import.spec);
}

#[tokio::test]
async fn an_endpoint_that_a_gateway_refuses_is_told_in_the_export() {
    let scene = Scene::shared("refused").await;
    scene.make_namespace().await;
    scene.make_service(&["192.0.2.7"]).await;
    scene.make_export().await;
    scene.export_says("Ready", "True", "Exported").await;
    let _gateway = Gateway::start(&scene.client, "gw-r", "10.1.0.4", "nowhere").await;

    let leases: Api<Lease> = Api::namespaced(scene.client.clone(), SYSTEM);
    let refuse = async |endpoints: &str| {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": "gw-r",
                "annotations": {REFUSED_ENDPOINTS_ANNOTATION: endpoints},
            },
        });
        let params = PatchParams::apply("refusal").force();
        let patch = Patch::Apply(lease);
        leases.patch("gw-r", &params, &patch).await.unwrap();
    };
    let tells = async |address: bool| {
        eventually("what the export tells of the endpoint", async || {
            let export = scene.api::<ServiceExport>().get("web").await;
            let conditions = export
                .map_err(|e| e.to_string())?
                .status
                .unwrap_or_default();
            let ready = conditions
                .conditions
                .into_iter()
                .find(|c| c.type_ == "Ready");
            let ready = ready.ok_or("no condition Ready")?;
            if ready.status == "True" && ready.message.contains("192.0.2.7") == address {
                Ok(())
            } else {
                Err(format!("{ready:?}"))
            }
        })
        .await;
    };
    refuse("refused/web=192.0.2.7").await;
    tells(true).await;
    refuse("").await;
    tells(false).await;
}

/// A gateway as far as the operator sees one.
pub(crate) struct Gateway {
    beats: Arc<AtomicBool>,
}

impl Gateway {
    pub(crate) async fn start(client: &Client, name: &str, address: &str, linked: &str) -> Self {
        let pods: Api<Pod> = Api::namespaced(client.clone(), SYSTEM);
        let pod = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"tombolo.io/component": "gateway"}},
            "spec": {"containers": [{"name": "gateway", "image": "gateway"}]},
        }));
        pods.create(&PostParams::default(), &pod.unwrap())
            .await
            .unwrap();
        let status = json!({"status": {"phase": "Running", "podIP": address,
            "podIPs": [{"ip": address}]}});
        let params = PatchParams::default();
        pods.patch_status(name, &params, &Patch::Merge(status))
            .await
            .unwrap();

        let beats = Arc::new(AtomicBool::new(true));
        let leases: Api<Lease> = Api::namespaced(client.clone(), SYSTEM);
        let (name, linked) = (name.to_owned(), linked.to_owned());
        let going_on = Arc::clone(&beats);
        tokio::spawn(async move {
            while going_on.load(Ordering::Relaxed) {
                beat(&leases, &name, &linked).await;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        Self { beats }
    }

    fn fall_silent(&self) {
        self.beats.store(false, Ordering::Relaxed);
    }
}

async fn beat(leases: &Api<Lease>, name: &str, linked: &str) {
    let now = Timestamp::now();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": name,
            "labels": {"tombolo.io/component": "gateway"},
            "annotations": {
                LINKED_CLUSTERS_ANNOTATION: linked,
                LISTENING_ANNOTATION: u64::MAX.to_string(),
            },
        },
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 3,
            "renewTime": format!("{now:.6}")},
    });
    let params = PatchParams::apply("gateway").force();
    // A heartbeat that is lost is one of many.
    let _ = leases.patch(name, &params, &Patch::Apply(lease)).await;
}
