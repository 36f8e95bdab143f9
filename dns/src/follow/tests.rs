use std::pin::pin;

use axum::http::{Request, Response, StatusCode};
use kube::client::Body;
use serde_json::json;
use tombolo_dns_zone::{Endpoint, Import, ImportKind, Service};
use tombolo_runtime::{readiness::Readiness, tasks::Tasks, watch::WatchMetrics};

use super::*;

const PATIENCE: Duration = Duration::from_secs(2);

/// An API server that serves these versions.
fn client(versions: &'static [(&'static str, &'static str)]) -> Client {
    client_with(versions, |_| None)
}

/// An API server that serves these versions and lists, and on whose watches nothing happens.
fn client_with(
    versions: &'static [(&'static str, &'static str)],
    list: impl Fn(&str) -> Option<serde_json::Value> + Send + 'static,
) -> Client {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    tokio::spawn(async move {
        let mut watches = Vec::new();
        while let Some((request, respond)) = handle.next_request().await {
            let path = request.uri().path();
            if request
                .uri()
                .query()
                .is_some_and(|query| query.contains("watch=true"))
            {
                watches.push(respond);
                continue;
            }
            let served = versions.iter().find(|(version, _)| path.ends_with(version));
            let resources = served.map(|(version, resource)| resources(version, resource));
            let (status, body) = match resources.or_else(|| list(path)) {
                Some(body) => (StatusCode::OK, body),
                None => (StatusCode::NOT_FOUND, not_found()),
            };
            let response = Response::builder().status(status);
            respond.send_response(response.body(body.to_string().into_bytes().into()).unwrap());
        }
    });
    Client::new(service, "default")
}

fn resources(version: &str, resource: &str) -> serde_json::Value {
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": format!("{GROUP}/{version}"),
        "resources": [{
            "name": resource,
            "singularName": "",
            "namespaced": true,
            "kind": "Any",
            "verbs": ["list"],
        }],
    })
}

fn not_found() -> serde_json::Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
           "message": "no such thing", "reason": "NotFound"})
}

#[tokio::test]
async fn the_newest_served_version_is_taken() {
    let both = client(&[("v1beta1", RESOURCE), ("v1alpha1", RESOURCE)]);
    assert_eq!(first_served(&both, PATIENCE).await, Version::V1beta1);

    let old = client(&[("v1alpha1", RESOURCE)]);
    assert_eq!(first_served(&old, PATIENCE).await, Version::V1alpha1);

    let partly = client(&[("v1beta1", "clusterprofiles"), ("v1alpha1", RESOURCE)]);
    assert_eq!(first_served(&partly, PATIENCE).await, Version::V1alpha1);
}

#[tokio::test(start_paused = true)]
async fn an_api_that_is_not_there_yet_is_waited_for() {
    let none = client(&[]);

    let waited = time::timeout(Duration::from_secs(600), first_served(&none, PATIENCE)).await;

    assert!(waited.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_say_is_taken_to_serve_the_newest() {
    let (service, mut refused) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    tokio::spawn(async move {
        let (_, respond) = refused.next_request().await.unwrap();
        respond.send_error("connection refused");
    });
    let client = Client::new(service, "default");
    assert_eq!(first_served(&client, PATIENCE).await, Version::V1beta1);

    let (service, _silent) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let client = Client::new(service, "default");
    assert_eq!(first_served(&client, PATIENCE).await, Version::V1beta1);
}

#[tokio::test(start_paused = true)]
async fn a_version_is_left_only_for_another() {
    let old = client(&[("v1alpha1", RESOURCE)]);
    assert_eq!(
        other_served(&old, Version::V1beta1).await,
        Version::V1alpha1
    );

    for versions in [&[][..], &[("v1alpha1", RESOURCE)][..]] {
        let client = client(versions);
        let other = pin!(other_served(&client, Version::V1alpha1));
        assert!(
            time::timeout(Duration::from_secs(600), other)
                .await
                .is_err()
        );
    }
}

/// One import and one slice, whatever the version.
fn lists(path: &str) -> Option<serde_json::Value> {
    let (kind, item) = match path.rsplit_once('/')? {
        ("/apis/multicluster.x-k8s.io/v1alpha1", RESOURCE) => (
            "ServiceImportList",
            json!({
                "apiVersion": "multicluster.x-k8s.io/v1alpha1",
                "kind": "ServiceImport",
                "metadata": {"namespace": "shop", "name": "db", "resourceVersion": "5"},
                "spec": {"type": "Headless", "ports": [{"port": 5432}]},
            }),
        ),
        ("/apis/discovery.k8s.io/v1", "endpointslices") => (
            "EndpointSliceList",
            json!({
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "namespace": "shop",
                    "name": "db-east",
                    "resourceVersion": "6",
                    "labels": {
                        "multicluster.kubernetes.io/service-name": "db",
                        "multicluster.kubernetes.io/source-cluster": "east",
                    },
                },
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["10.0.0.1"]}],
            }),
        ),
        _ => return None,
    };
    Some(json!({
        "apiVersion": item["apiVersion"],
        "kind": kind,
        "metadata": {"resourceVersion": "7"},
        "items": [item],
    }))
}

#[tokio::test]
async fn the_older_version_is_watched_where_it_is_the_only_one() {
    let watches = Watches {
        client: client_with(&[("v1alpha1", RESOURCE)], lists),
        tasks: Tasks::new(tokio::runtime::Handle::current()),
        readiness: Readiness::default(),
        metrics: WatchMetrics::default(),
        state_dir: None,
        patience: Duration::from_secs(30),
    };
    let index = Arc::new(Mutex::new(ZoneIndex::default()));
    let changed = index.lock().changed();

    let slices = slices(&watches, Arc::clone(&index));
    let imports = tokio::spawn(imports(watches.clone(), Arc::clone(&index)));
    while index.lock().services().next().is_none() {
        changed.notified().await;
    }
    slices.synced().await;

    let expected = Service::new(Import {
        namespace: "shop".to_owned(),
        name: "db".to_owned(),
        kind: ImportKind::Headless {
            endpoints: vec![Endpoint {
                cluster: "east".into(),
                hostname: None,
                addresses: vec![[10, 0, 0, 1].into()],
                ports: [].into(),
                ready: true,
            }],
        },
    });
    let index = index.lock();
    let services: Vec<&Arc<Service>> = index.services().collect();
    assert_eq!(services, [&Arc::new(expected.unwrap())]);
    assert!(!imports.is_finished());
}
