//! A program that has its state from files, as after a restart while the API server is away.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// The port is reserved (RFC 863, discard), so nothing listens on it.
pub(crate) fn kubeconfig_to_nowhere() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "nowhere",
        "contexts": [{"name": "nowhere", "context": {"cluster": "nowhere", "user": "nobody"}}],
        "clusters": [{"name": "nowhere", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "nobody", "user": {}}],
    })
}

/// What the watch `name` saved before.
pub(crate) fn save(dir: &Path, name: &str, objects: &Value) {
    let state = json!({"format": 1, "watch": name, "newestVersion": 7, "objects": objects});
    fs::write(dir.join(format!("{name}.json")), state.to_string()).unwrap();
}
