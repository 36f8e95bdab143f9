use std::sync::Arc;

use axum::http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::Value;

use super::*;

const COREFILE_TEXT: &str = ".:53 {\n    reload\n}\n";

/// One ConfigMap, and how often a write to it comes too late.
struct Cluster {
    config_map: Option<Value>,
    conflicts: usize,
    writes: usize,
}

fn cluster(data: &Value, conflicts: usize) -> Arc<Mutex<Cluster>> {
    let config_map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "kube-system", "name": "coredns", "resourceVersion": "7"},
        "data": data,
    });
    Arc::new(Mutex::new(Cluster {
        config_map: Some(config_map),
        conflicts,
        writes: 0,
    }))
}

fn client(cluster: Arc<Mutex<Cluster>>) -> Client {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    tokio::spawn(async move {
        while let Some((request, respond)) = handle.next_request().await {
            let method = request.method().clone();
            let body = request.into_body().collect_bytes().await.unwrap();
            let (status, body) = cluster.lock().answer(&method, &body);
            let response = Response::builder().status(status);
            respond.send_response(response.body(body.to_string().into_bytes().into()).unwrap());
        }
    });
    Client::new(service, "default")
}

impl Cluster {
    fn answer(&mut self, method: &Method, body: &[u8]) -> (StatusCode, Value) {
        let Some(config_map) = &mut self.config_map else {
            return status(StatusCode::NOT_FOUND);
        };
        if method == Method::GET {
            return (StatusCode::OK, config_map.clone());
        }
        assert_eq!(method, Method::PATCH);
        let patch: Value = serde_json::from_slice(body).unwrap();
        if self.conflicts > 0 {
            self.conflicts -= 1;
            config_map["metadata"]["resourceVersion"] = format!("8{}", self.conflicts).into();
            return status(StatusCode::CONFLICT);
        }
        let version = &config_map["metadata"]["resourceVersion"];
        assert_eq!(patch["metadata"], json!({"resourceVersion": version}));
        assert_eq!(patch["data"].as_object().unwrap().len(), 1, "{patch}");
        let data = config_map["data"].as_object_mut().unwrap();
        for (key, value) in patch["data"].as_object().unwrap() {
            if value.is_null() {
                data.remove(key);
            } else {
                data.insert(key.clone(), value.clone());
            }
        }
        self.writes += 1;
        (StatusCode::OK, config_map.clone())
    }
}

fn status(code: StatusCode) -> (StatusCode, Value) {
    let reason = code.canonical_reason().unwrap_or_default().replace(' ', "");
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                      "code": code.as_u16(), "message": "", "reason": reason});
    (code, body)
}

fn coredns() -> ObjectName {
    object_name("kube-system/coredns").unwrap()
}

fn install() -> Edit<'static> {
    Edit::Install {
        zone: "clusterset.local",
        server: [10, 96, 0, 53].into(),
    }
}

fn remove() -> Edit<'static> {
    Edit::Remove {
        zone: "clusterset.local",
    }
}

#[tokio::test]
async fn the_corefile_is_edited_once_and_restored() {
    let data = json!({COREFILE: COREFILE_TEXT, "other.db": "kept"});
    let cluster = cluster(&data, 0);
    let client = client(Arc::clone(&cluster));

    for expected in [Outcome::Changed, Outcome::Unchanged] {
        assert_eq!(
            apply(&client, &coredns(), COREFILE, &install())
                .await
                .unwrap(),
            expected
        );
    }
    let installed = cluster.lock().config_map.clone().unwrap();
    assert!(
        installed["data"][COREFILE]
            .as_str()
            .unwrap()
            .contains("forward . 10.96.0.53")
    );

    for expected in [Outcome::Changed, Outcome::Unchanged] {
        assert_eq!(
            apply(&client, &coredns(), COREFILE, &remove())
                .await
                .unwrap(),
            expected
        );
    }
    assert_eq!(cluster.lock().config_map.as_ref().unwrap()["data"], data);
    assert_eq!(cluster.lock().writes, 2);
}

#[tokio::test]
async fn a_write_that_comes_too_late_is_made_again_from_what_is_there() {
    let contended = cluster(&json!({COREFILE: COREFILE_TEXT}), ATTEMPTS - 1);
    let outcome = apply(
        &client(Arc::clone(&contended)),
        &coredns(),
        COREFILE,
        &install(),
    )
    .await
    .unwrap();
    assert_eq!((outcome, contended.lock().writes), (Outcome::Changed, 1));

    let hopeless = cluster(&json!({COREFILE: COREFILE_TEXT}), ATTEMPTS);
    let error = apply(
        &client(Arc::clone(&hopeless)),
        &coredns(),
        COREFILE,
        &install(),
    )
    .await
    .unwrap_err();
    assert!(error.to_string().contains("5 times"), "{error}");
}

#[tokio::test]
async fn without_a_corefile_there_is_nothing_to_remove_and_nowhere_to_install() {
    let no_config_map = cluster(&json!({}), 0);
    no_config_map.lock().config_map = None;
    for cluster in [no_config_map, cluster(&json!({"other.db": "x"}), 0)] {
        let client = client(cluster);

        let removed = apply(&client, &coredns(), COREFILE, &remove())
            .await
            .unwrap();
        assert_eq!(removed, Outcome::Unchanged);
        let error = apply(&client, &coredns(), COREFILE, &install())
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("kube-system/coredns has no Corefile"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_refusal_says_why_and_writes_nothing() {
    let taken = "clusterset.local {\n    forward . 10.1.1.1\n}\n";
    let cluster = cluster(&json!({COREFILE: taken}), 0);

    let error = apply(
        &client(Arc::clone(&cluster)),
        &coredns(),
        COREFILE,
        &install(),
    )
    .await
    .unwrap_err();

    assert!(
        error.to_string().contains("which Tombolo did not write"),
        "{error}"
    );
    assert_eq!(cluster.lock().writes, 0);
}

#[tokio::test]
async fn a_key_of_our_own_is_made_and_taken_out_whole() {
    // As AKS ships it.
    let data = json!({"other.override": "log\n"});
    let cluster = cluster(&data, 0);
    let client = client(Arc::clone(&cluster));
    let key = "tombolo.server";

    for expected in [Outcome::Changed, Outcome::Unchanged] {
        let outcome = apply(&client, &coredns(), key, &install()).await.unwrap();
        assert_eq!(outcome, expected);
    }
    let installed = cluster.lock().config_map.clone().unwrap();
    let text = installed["data"][key].as_str().unwrap();
    assert!(text.contains("\nclusterset.local:53 {\n"), "{text}");

    for expected in [Outcome::Changed, Outcome::Unchanged] {
        let outcome = apply(&client, &coredns(), key, &remove()).await.unwrap();
        assert_eq!(outcome, expected);
    }
    assert_eq!(cluster.lock().config_map.as_ref().unwrap()["data"], data);
}

#[test]
fn object_names_have_two_parts() {
    assert!(object_name("kube-system/coredns").is_ok());
    for bad in ["coredns", "/coredns", "kube-system/", ""] {
        assert!(object_name(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_zone_is_a_name_and_nothing_more() {
    assert_eq!(
        zone_name("ClusterSet.Local."),
        Ok("clusterset.local".to_owned())
    );
    for bad in ["a {\n}\nb", "a b", "{", ".", "clusterset.local:53"] {
        assert!(zone_name(bad).is_err(), "{bad}");
    }
}
