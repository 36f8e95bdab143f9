//! Conflict resolution: the oldest wins, and every exporter is told.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tombolo_crds::mcs::{ServiceExport, ServiceImport, ServiceImportType};

use crate::scene::{Scene, eventually};
use crate::site::{Stage, export, http, imported_from, is_outlived};

#[tokio::test]
async fn type_conflict_and_the_oldest_decides_headlessness() {
    let mut other = http(80);
    other["clusterIP"] = json!("None");
    // Without a selector a headless Service is of both families everywhere.
    other["selector"] = json!({"app": "web"});
    let case = Case::new("conflict-type", http(80), other);
    let message = "Conflicting type. Using \"ClusterSetIP\" from oldest service export in \"west\". \
                   2/3 clusters disagree.";

    let import = case.raises("TypeConflict", message).await;

    assert_eq!(import.spec.type_, ServiceImportType::ClusterSetIP);
    assert_eq!(import.spec.ips.len(), 1);
}

#[tokio::test]
async fn session_affinity_conflict_and_the_oldest_decides() {
    let case = Case::new("conflict-affinity", affinity(70), http(80));
    let message = "Conflicting session affinity. Using \"ClientIP\" from oldest service export in \
                   \"west\". 2/3 clusters disagree. Conflicting session affinity config. Using \
                   \"70s\" from oldest service export in \"west\". 2/3 clusters disagree.";
    let reasons = "SessionAffinityConflict,SessionAffinityConfigConflict";

    let import = case.raises(reasons, message).await;

    assert_eq!(import.spec.session_affinity.as_deref(), Some("ClientIP"));
}

#[tokio::test]
async fn session_affinity_config_conflict_and_the_oldest_decides() {
    let case = Case::new("conflict-timeout", affinity(70), affinity(90));
    let message = "Conflicting session affinity config. Using \"70s\" from oldest service export \
                   in \"west\". 2/3 clusters disagree.";

    let import = case.raises("SessionAffinityConfigConflict", message).await;

    let config = import.spec.session_affinity_config.unwrap();
    assert_eq!(config.client_ip.unwrap().timeout_seconds, Some(70));
}

#[tokio::test]
async fn internal_traffic_policy_conflict_and_the_oldest_decides() {
    let mut local = http(80);
    local["internalTrafficPolicy"] = json!("Local");
    let case = Case::new("conflict-policy", local, http(80));
    let message = "Conflicting internal traffic policy. Using \"Local\" from oldest service export \
                   in \"west\". 2/3 clusters disagree.";

    let import = case.raises("InternalTrafficPolicyConflict", message).await;

    assert_eq!(
        import.spec.internal_traffic_policy.as_deref(),
        Some("Local")
    );
}

#[tokio::test]
async fn traffic_distribution_conflict_and_the_oldest_decides() {
    let mut near = http(80);
    near["trafficDistribution"] = json!("PreferSameZone");
    let case = Case::new("conflict-distribution", near, http(80));
    let message = "Conflicting traffic distribution. Using \"PreferSameZone\" from oldest service \
                   export in \"west\". 2/3 clusters disagree.";

    let import = case.raises("TrafficDistributionConflict", message).await;

    assert_eq!(
        import.spec.traffic_distribution.as_deref(),
        Some("PreferSameZone")
    );
}

#[tokio::test]
async fn labels_conflict_and_the_oldest_decides() {
    let mut case = Case::new("conflict-labels", http(80), http(80));
    case.exports = [
        json!({"exportedLabels": {"team": "a"}}),
        json!({"exportedLabels": {"team": "b"}}),
    ];
    let message = "Conflicting labels. Using \"team=a\" from oldest service export in \"west\". 2/3 \
                   clusters disagree.";

    let import = case.raises("LabelsConflict", message).await;

    assert_eq!(import.metadata.labels.unwrap()["team"], "a");
}

#[tokio::test]
async fn annotations_conflict_and_the_oldest_decides() {
    let mut case = Case::new("conflict-annotations", http(80), http(80));
    case.exports = [
        json!({"exportedAnnotations": {"note": "a"}}),
        json!({"exportedAnnotations": {}}),
    ];
    let message = "Conflicting annotations. Using \"note=a\" from oldest service export in \
                   \"west\". 2/3 clusters disagree.";

    let import = case.raises("AnnotationsConflict", message).await;

    assert_eq!(import.metadata.annotations.unwrap()["note"], "a");
}

#[tokio::test]
async fn port_conflict_and_the_oldest_decides() {
    let case = Case::new("conflict-ports", http(80), http(81));
    let message = "Conflicting ports. Using \"http:80/TCP\" from oldest service export in \"west\" \
                   and what only others expose. 2/3 clusters disagree.";

    let import = case.raises("PortConflict", message).await;

    assert_eq!(import.spec.ports.len(), 1);
    assert_eq!(import.spec.ports[0].port, 80);
}

#[tokio::test]
async fn an_application_protocol_is_a_part_of_the_port() {
    let web = |protocol: &str| {
        json!({"ports": [
            {"name": "http", "port": 80, "appProtocol": protocol},
        ]})
    };
    let case = Case::new("conflict-protocol", web("http"), web("kubernetes.io/h2c"));
    let message = "Conflicting ports. Using \"http:80/TCP (http)\" from oldest service export in \
                   \"west\" and what only others expose. 2/3 clusters disagree.";

    let import = case.raises("PortConflict", message).await;

    assert_eq!(import.spec.ports[0].app_protocol.as_deref(), Some("http"));
}

#[tokio::test]
async fn of_exports_of_one_second_the_lesser_cluster_id_wins() {
    let stage = Stage::new("conflict-tie").await;
    for (scene, port) in stage.scenes().into_iter().zip([80, 81, 82]) {
        let service = json!({"metadata": {"name": "web"}, "spec": http(port)});
        scene.make::<Service>(service).await;
    }

    eventually("two exports are of one second", async || {
        let made = [&stage.north, &stage.west]
            .map(|scene| scene.make::<ServiceExport>(json!({"metadata": {"name": "web"}})));
        let made = futures::future::join_all(made).await;
        let at = |export: &ServiceExport| export.metadata.creation_timestamp.clone();
        if at(&made[0]) == at(&made[1]) {
            return Ok(());
        }
        stage.north.delete::<ServiceExport>("web").await;
        stage.west.delete::<ServiceExport>("web").await;
        Err(format!("{:?}", at(&made[0])))
    })
    .await;

    for import in stage.is_exported_by(&["north", "west"]).await {
        assert_eq!(import.spec.ports[0].port, 81);
    }
}

#[tokio::test]
async fn a_conflict_that_appears_disturbs_nobody_and_goes_with_its_cause() {
    let stage = Stage::new("conflict-appears").await;
    stage.west.make_service(&["10.0.0.1"]).await;
    let oldest = stage
        .west
        .make::<ServiceExport>(json!({"metadata": {"name": "web"}}))
        .await;
    let gateway = stage.gateways()[0];
    let slices = stage.east.lists("west", &[gateway]).await;
    let import = stage.east.import().await;
    let valid = stage.west.export_says("Valid", "True", "Valid").await;
    let none = stage
        .west
        .export_says("Conflict", "False", "NoConflicts")
        .await;
    is_outlived(&oldest).await;

    export(&stage.north, affinity(70), json!({})).await;

    let reasons = "SessionAffinityConflict,SessionAffinityConfigConflict";
    let raised = stage.west.export_says("Conflict", "True", reasons).await;
    imported_from(&stage.east, &["north", "west"]).await;
    let after = stage.east.import().await;
    assert_eq!(after.metadata.uid, import.metadata.uid);
    assert_eq!(after.spec, import.spec);
    let still = stage.east.lists("west", &[gateway]).await;
    assert_eq!(identities(&still), identities(&slices));
    assert!(raised.last_transition_time.0 >= none.last_transition_time.0);
    let since = stage.west.export_says("Valid", "True", "Valid").await;
    assert_eq!(since.last_transition_time, valid.last_transition_time);

    stage.north.delete::<ServiceExport>("web").await;
    let over = stage.west.export_says("Conflict", "False", "NoConflicts");
    assert_eq!(over.await.message, "");
}

/// The oldest export is that of the greatest cluster ID, so that only its age can make it win.
struct Case {
    namespace: &'static str,
    services: [Value; 2],
    exports: [Value; 2],
}

impl Case {
    fn new(namespace: &'static str, oldest: Value, others: Value) -> Self {
        Self {
            namespace,
            services: [oldest, others],
            exports: [json!({}), json!({})],
        }
    }

    /// The import, which is the same in all clusters.
    async fn raises(self, reasons: &str, message: &str) -> ServiceImport {
        let Self {
            namespace,
            services: [service, other],
            exports: [spec, other_spec],
        } = self;
        let stage = Stage::new(namespace).await;
        let oldest = export(&stage.west, service, spec).await;
        let undisputed = stage.west.export_says("Conflict", "False", "NoConflicts");
        undisputed.await;
        is_outlived(&oldest).await;
        export(&stage.north, other.clone(), other_spec.clone()).await;
        export(&stage.east, other, other_spec).await;

        let imports = stage.is_exported_by(&["east", "north", "west"]).await;

        for scene in stage.scenes() {
            let told = eventually("all three are counted", async || {
                let told = scene.export_says("Conflict", "True", reasons).await;
                if told.message == message {
                    Ok(told)
                } else {
                    Err(told.message)
                }
            })
            .await;
            assert_eq!(told.observed_generation, Some(1));
        }
        let [east, north, west] = imports;
        assert_eq!(apart_from_ips(&east), apart_from_ips(&west));
        assert_eq!(apart_from_ips(&north), apart_from_ips(&west));
        east
    }
}

fn affinity(seconds: u32) -> Value {
    json!({
        "ports": [{"name": "http", "port": 80}],
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}},
    })
}

fn apart_from_ips(import: &ServiceImport) -> Value {
    let mut spec = import.spec.clone();
    spec.ips = Vec::new();
    serde_json::to_value(spec).unwrap()
}

fn identities(slices: &[EndpointSlice]) -> Vec<Option<String>> {
    slices.iter().map(|s| s.metadata.uid.clone()).collect()
}

/// An export whose own spec changes is looked at again, and says so.
#[tokio::test]
async fn observed_generation_follows_the_export_and_transition_times_only_the_status() {
    let stage = Stage::new("generations").await;
    export(&stage.east, http(80), json!({})).await;
    let before = stage.east.export_says("Ready", "True", "Exported").await;
    let patch = json!({"spec": {"exportedLabels": {"team": "a"}}});
    patch_export(&stage.east, patch).await;

    let after = eventually("the new generation is observed", async || {
        let ready = stage.east.export_says("Ready", "True", "Exported").await;
        if ready.observed_generation == Some(2) {
            Ok(ready)
        } else {
            Err(format!("{ready:?}"))
        }
    })
    .await;

    assert_eq!(after.last_transition_time, before.last_transition_time);
}

async fn patch_export(scene: &Scene, patch: Value) {
    scene
        .api::<ServiceExport>()
        .patch("web", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}
