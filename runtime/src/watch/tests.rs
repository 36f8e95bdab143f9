use std::{cell::RefCell, collections::BTreeMap, io, path::Path, sync::Once};

use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use prometheus_client::{encoding::text, registry::Registry};
use serde_json::{Value, json};
use tokio::{runtime, time};

use super::*;
use crate::fake_api::FakeApi;

mod away;
mod following;
mod saved;

/// Longer than any single time-out or pause of a watch.
const LONG: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

struct World {
    api: FakeApi,
    dir: Arc<tempfile::TempDir>,
    tasks: Tasks,
    readiness: Readiness,
    registry: Registry,
    metrics: WatchMetrics,
    patience: Duration,
    index: Arc<Mutex<Recorded>>,
}

impl World {
    fn new() -> Self {
        Self::on(
            FakeApi::new("configmaps"),
            Arc::new(tempfile::tempdir().unwrap()),
        )
    }

    /// A new process in the same pod.
    fn restarted(&self) -> Self {
        Self::on(self.api.clone(), Arc::clone(&self.dir))
    }

    fn on(api: FakeApi, dir: Arc<tempfile::TempDir>) -> Self {
        let mut registry = Registry::default();
        let metrics = WatchMetrics::register(&mut registry);
        Self {
            api,
            dir,
            tasks: Tasks::new(runtime::Handle::current()),
            readiness: Readiness::default(),
            registry,
            metrics,
            patience: 2 * SECOND,
            index: Arc::default(),
        }
    }

    fn watches(&self) -> Watches {
        Watches {
            client: self.api.client(),
            tasks: self.tasks.clone(),
            readiness: self.readiness.clone(),
            metrics: self.metrics.clone(),
            state_dir: Some(self.dir.path().to_owned()),
            patience: self.patience,
        }
    }

    fn watch(&self) -> Watch<ConfigMap> {
        self.watches().all("maps")
    }

    fn state(&self) -> String {
        let recorded = self.index.lock();
        let state = recorded
            .state
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        state.collect::<Vec<_>>().join(" ")
    }

    fn told(&self) -> Vec<String> {
        self.index.lock().told.clone()
    }

    fn metrics(&self) -> String {
        let mut body = String::new();
        text::encode(&mut body, &self.registry).unwrap();
        body
    }

    fn state_file(&self) -> PathBuf {
        Path::join(self.dir.path(), "maps.json")
    }

    fn write_state(&self, text: &str) {
        std::fs::write(self.state_file(), text).unwrap();
    }

    /// Waits until the state file is written after all that was done, and names `object`.
    async fn saved(&self, object: &str) {
        time::sleep(2 * SECOND).await;
        let saved = std::fs::read(self.state_file()).unwrap();
        let saved: Value = serde_json::from_slice(&saved).unwrap();
        let objects = saved["objects"].as_array().unwrap();
        assert!(objects.iter().any(|saved| saved[1] == object), "{saved}");
    }
}

#[derive(Default)]
struct Recorded {
    state: BTreeMap<String, String>,
    told: Vec<String>,
}

impl Index<String> for Recorded {
    fn apply(&mut self, key: &Key, value: &Arc<String>) {
        self.told.push(format!("apply {}={value}", key.name));
        self.state.insert(key.name.clone(), value.to_string());
    }

    fn delete(&mut self, key: &Key) {
        self.told.push(format!("delete {}", key.name));
        self.state.remove(&key.name);
    }

    fn reset(&mut self, all: &BTreeMap<Key, Arc<String>>) {
        self.state = all
            .iter()
            .map(|(key, value)| (key.name.clone(), value.to_string()))
            .collect();
        let all = self
            .state
            .iter()
            .map(|(name, value)| format!(" {name}={value}"));
        self.told.push(format!("reset{}", all.collect::<String>()));
    }
}

/// What a test logs: all of it is logged on the test's own thread.
struct Log;

thread_local! {
    static LINES: RefCell<String> = const { RefCell::new(String::new()) };
}

impl Log {
    /// One subscriber for all tests: whether a line is logged at all is decided once a process.
    fn record() -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            let log = tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(|| Self);
            log.try_init().unwrap();
        });
        LINES.take();
        Self
    }

    fn count(&self, message: &str) -> usize {
        LINES.with_borrow(|lines| lines.matches(message).count())
    }

    fn text(&self) -> String {
        LINES.with_borrow(Clone::clone)
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.push_str(&String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn value(map: ConfigMap) -> Option<String> {
    map.data?.remove("value")
}

fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "namespace": "demo", "name": name },
        "data": { "value": value },
    })
}
