use std::pin::pin;

use axum::http::{Request, Response, StatusCode};
use kube::client::Body;
use serde_json::json;

use super::*;

const PATIENCE: Duration = Duration::from_secs(2);

/// An API server that serves these versions.
fn client(versions: &'static [(&'static str, &'static str)]) -> Client {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    tokio::spawn(async move {
        while let Some((request, respond)) = handle.next_request().await {
            let path = request.uri().path().to_owned();
            let served = versions.iter().find(|(version, _)| path.ends_with(version));
            let (status, body) = match served {
                Some((version, resource)) => (StatusCode::OK, resources(version, resource)),
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
