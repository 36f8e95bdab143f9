//! Our MCS CRDs accept, default, prune and print what those of the upstream release do.
//!
//! Upstream's come from the Go module `sigs.k8s.io/mcs-api` in the version that `upstream/go.mod`
//! names, by way of the `go` command, which keeps it in its module cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Where ours may differ. The API server adds these three properties to any CRD's schema.
const IMPLIED: [&str; 3] = ["apiVersion", "kind", "metadata"];

#[test]
fn service_export_is_upstreams() {
    assert_same("serviceexports");
}

#[test]
fn service_import_is_upstreams() {
    assert_same("serviceimports");
}

#[test]
fn a_difference_would_be_found() {
    let ours = comparable(ours("serviceimports"));
    let changes: [(&str, Value); 6] = [
        ("/spec/versions/1/storage", Value::Bool(false)),
        ("/spec/names/shortNames/0", Value::from("si")),
        (
            "/spec/versions/0/additionalPrinterColumns/1/jsonPath",
            Value::from(".spec.ip"),
        ),
        (&schema("spec/properties/ips/maxItems"), Value::from(3)),
        (
            &schema("spec/properties/ports/x-kubernetes-list-type"),
            Value::from("set"),
        ),
        (
            &schema("status/properties/endpointSliceObjects/enum/0"),
            Value::from("present"),
        ),
    ];
    for (pointer, value) in changes {
        let mut changed = ours.clone();
        *changed
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("{pointer} is in the CRD")) = value;
        assert_eq!(differences(&changed, &ours), [pointer]);
    }
}

fn assert_same(plural: &str) {
    let upstream_file = upstream_folder().join(format!("multicluster.x-k8s.io_{plural}.yaml"));
    let upstream = comparable(read_yaml(&upstream_file));
    let differences = differences(&comparable(ours(plural)), &upstream);
    assert!(
        differences.is_empty(),
        "these differ from {upstream_file:?}: {differences:#?}"
    );
}

fn ours(plural: &str) -> Value {
    let crd = tombolo_crds::all()
        .into_iter()
        .find(|crd| crd.spec.names.plural == plural)
        .expect("it is among our CRDs");
    serde_json::to_value(crd).expect("a CRD serializes")
}

fn schema(path: &str) -> String {
    format!("/spec/versions/1/schema/openAPIV3Schema/properties/{path}")
}

/// `config/crd` of the module, downloaded if it is not in the cache.
fn upstream_folder() -> PathBuf {
    let output = Command::new("go")
        .args(["mod", "download", "-json", "sigs.k8s.io/mcs-api"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("upstream"))
        .output()
        .expect("this test needs the go command");
    let module: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "go mod download: {error}: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    let folder = module["Dir"]
        .as_str()
        .unwrap_or_else(|| panic!("go mod download: {module}"));
    Path::new(folder).join("config/crd")
}

fn read_yaml(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_norway::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// Without descriptions and what is implied, and with every number of one kind.
fn comparable(mut crd: Value) -> Value {
    for version in crd["spec"]["versions"].as_array_mut().into_iter().flatten() {
        let properties = &mut version["schema"]["openAPIV3Schema"]["properties"];
        for implied in IMPLIED {
            properties
                .as_object_mut()
                .expect("a root schema has properties")
                .remove(implied);
        }
    }
    normalize(&mut crd);
    crd
}

fn normalize(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // A property may be called description too; its schema is an object.
            if fields.get("description").is_some_and(Value::is_string) {
                fields.remove("description");
            }
            fields.values_mut().for_each(normalize);
        }
        Value::Array(items) => items.iter_mut().for_each(normalize),
        Value::Number(number) => *value = Value::from(number.as_f64()),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// JSON pointers of all that is not the same in both.
fn differences(a: &Value, b: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect_differences(a, b, "", &mut found);
    found
}

fn collect_differences(a: &Value, b: &Value, at: &str, found: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let null = Value::Null;
                let (a, b) = (a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null));
                collect_differences(a, b, &format!("{at}/{key}"), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                collect_differences(a, b, &format!("{at}/{index}"), found);
            }
        }
        (a, b) if a == b => {}
        _ => found.push(at.to_owned()),
    }
}
