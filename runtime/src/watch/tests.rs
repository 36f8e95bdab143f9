use std::{cell::RefCell, collections::BTreeMap, io, path::Path, sync::Once};

use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use prometheus_client::{encoding::text, registry::Registry};
use serde_json::{Value, json};
use tokio::{runtime, time};

use super::*;
use crate::fake_api::{FakeApi, Mode};

/// Longer than any single time-out or pause of a watch.
const LONG: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn an_index_follows_the_api() {
    let world = World::new();
    world.api.put(config_map("a", "1"));
    let handle = world.watch().feed(value, world.index.clone());
    assert_eq!(handle.health().origin(), None);
    assert_eq!(handle.resource_version(), None);
    assert_eq!(world.readiness.held_back_by().await, ["maps"]);

    handle.synced().await;
    assert_eq!(world.state(), "a=1");
    assert_eq!(handle.health().origin(), Some(Origin::Api));
    assert_eq!(handle.resource_version(), Some(1));
    assert_eq!(world.readiness.held_back_by().await, [] as [&str; 0]);

    world.api.put(config_map("b", "2"));
    world.api.put(config_map("a", "3"));
    world.api.delete("demo", "b");
    time::sleep(SECOND).await;

    assert_eq!(world.state(), "a=3");
    assert_eq!(handle.resource_version(), Some(4));
    assert!(handle.health().hears());
    assert_eq!(
        world.told(),
        ["reset a=1", "apply b=2", "apply a=3", "delete b"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_happened_while_nothing_was_heard_is_known_afterwards() {
    let world = World::new();
    world.api.put(config_map("a", "1"));
    world.api.put(config_map("b", "2"));
    let handle = world.watch().feed(value, world.index.clone());
    handle.synced().await;
    let heard = handle.health().heard(Instant::now());

    world.api.set(Mode::Down);
    time::sleep(SECOND).await;
    assert!(!handle.health().hears());
    world.api.delete("demo", "a");
    world.api.put(config_map("c", "3"));
    time::sleep(LONG).await;
    assert_eq!(world.state(), "a=1 b=2", "the last known state");
    assert!(handle.health().heard(Instant::now()) <= heard + SECOND);

    world.api.set(Mode::Up);
    time::sleep(LONG).await;
    assert_eq!(world.state(), "b=2 c=3");
    assert!(handle.health().hears());
    assert_eq!(world.told(), ["reset a=1 b=2", "reset b=2 c=3"]);
}

#[tokio::test(start_paused = true)]
async fn a_broken_watch_with_nothing_missed_is_restored_without_disturbing_the_index() {
    let world = World::new();
    world.api.put(config_map("a", "1"));
    let handle = world.watch().feed(value, world.index.clone());
    handle.synced().await;

    for _ in 0..3 {
        world.api.break_watches();
        time::sleep(LONG).await;
        assert!(handle.health().hears());
    }

    world.api.compact();
    world.api.break_watches();
    time::sleep(LONG).await;
    assert!(handle.health().hears());
    assert_eq!(world.told(), ["reset a=1"]);
}

#[tokio::test(start_paused = true)]
async fn without_an_api_server_a_start_serves_the_saved_state() {
    let world = World::new();
    world.api.put(config_map("a", "1"));
    world.api.put(config_map("b", "2"));
    let before = world.watch().feed_persisted(value, world.index.clone());
    before.synced().await;
    world.api.put(config_map("b", "3"));
    world.saved("b").await;
    world.tasks.shutdown(SECOND).await;

    let world = world.restarted();
    world.api.set(Mode::Down);
    let handle = world.watch().feed_persisted(value, world.index.clone());
    let start = Instant::now();
    handle.synced().await;
    assert_eq!(start.elapsed(), world.patience);
    assert_eq!(world.state(), "a=1 b=3");
    assert_eq!(handle.health().origin(), Some(Origin::File));
    assert_eq!(handle.resource_version(), Some(3));
    assert!(!handle.health().hears());
    assert_eq!(world.readiness.held_back_by().await, [] as [&str; 0]);
    assert!(
        world
            .metrics()
            .contains("watch_from_file{watch=\"maps\"} 1")
    );

    world.api.delete("demo", "a");
    world.api.set(Mode::Up);
    time::sleep(LONG).await;
    assert_eq!(world.state(), "b=3");
    assert_eq!(handle.health().origin(), Some(Origin::Api));
    assert!(handle.health().hears());
    assert!(
        world
            .metrics()
            .contains("watch_from_file{watch=\"maps\"} 0")
    );
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_answers_in_time_leaves_the_saved_state_unread() {
    let world = World::new();
    let stale = r#"{"format":1,"watch":"maps","newestVersion":9,"objects":[["demo","old","1"]]}"#;
    world.write_state(stale);
    world.api.put(config_map("a", "1"));
    world.api.set(Mode::Down);
    let handle = world.watch().feed_persisted(value, world.index.clone());
    time::sleep(world.patience / 4).await;
    world.api.set(Mode::Up);
    handle.synced().await;
    time::sleep(LONG).await;

    assert_eq!(world.told(), ["reset a=1"]);
    assert_eq!(handle.resource_version(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_saved_state_is_refused_and_replaced() {
    let world = World::new();
    world.write_state(r#"{"format":1,"watch":"maps","newestVersion":9,"objects":[["demo","#);
    world.api.set(Mode::Down);
    let handle = world.watch().feed_persisted(value, world.index.clone());
    time::sleep(LONG).await;
    assert_eq!(world.told(), [] as [&str; 0]);
    assert_eq!(world.readiness.held_back_by().await, ["maps"]);

    world.api.put(config_map("a", "1"));
    world.api.set(Mode::Up);
    handle.synced().await;
    world.saved("a").await;
    assert_eq!(world.state(), "a=1");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_refuses_keeps_the_last_state_and_is_logged_once() {
    for (code, reason) in [(403, "Forbidden"), (404, "NotFound"), (500, "Refused")] {
        let world = World::new();
        world.api.put(config_map("a", "1"));
        let handle = world.watch().feed(value, world.index.clone());
        handle.synced().await;
        let log = Log::record();

        world.api.set(Mode::Status(code));
        time::sleep(10 * LONG).await;
        assert_eq!(world.state(), "a=1");
        assert!(!handle.health().hears());
        let failures = format!("watch_failures_total{{watch=\"maps\",reason=\"{reason}\"}}");
        assert!(
            world.metrics().contains(&failures),
            "{failures} in {}",
            world.metrics()
        );
        // The broken connection, and then the refusal of every attempt in ten minutes.
        assert_eq!(log.count("watch broken"), 2, "{}", log.text());

        world.api.put(config_map("a", "2"));
        world.api.set(Mode::Up);
        time::sleep(LONG).await;
        assert_eq!(world.state(), "a=2");
        assert!(handle.health().hears());
        assert_eq!(log.count("watch restored"), 1, "{}", log.text());
    }
}

#[tokio::test(start_paused = true)]
async fn where_listing_is_allowed_and_watching_is_not_nothing_is_heard() {
    let world = World::new();
    world.api.put(config_map("a", "1"));
    world.api.set_watches(Mode::Status(403));
    let handle = world.watch().feed(value, world.index.clone());
    handle.synced().await;
    time::sleep(SECOND).await;

    let heard = handle.health().heard(Instant::now());
    for n in 0..20 {
        world.api.put(config_map("a", &n.to_string()));
        time::sleep(10 * SECOND).await;
        assert_eq!(world.state(), format!("a={n}"), "listed again and again");
    }

    assert_eq!(handle.health().heard(Instant::now()), heard);
    assert!(world.api.requests().len() < 200, "with a backoff");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_need_not_be_there_is_empty_while_it_is_not() {
    let world = World::new();
    world.api.set(Mode::Status(404));
    let needed = world
        .watches()
        .all::<ConfigMap>("needed")
        .feed(value, world.index.clone());
    let optional = world
        .watch()
        .absent_is_empty()
        .feed(value, world.index.clone());
    optional.synced().await;
    assert_eq!(world.told(), ["reset"]);
    assert!(optional.health().hears());
    assert_eq!(needed.health().origin(), None);
    assert_eq!(world.readiness.held_back_by().await, ["needed"]);

    world.api.put(config_map("a", "1"));
    world.api.set(Mode::Up);
    time::sleep(LONG).await;
    assert_eq!(world.state(), "a=1");

    world.api.set(Mode::Status(404));
    time::sleep(LONG).await;
    assert_eq!(
        world.state(),
        "a=1",
        "an API server that starts may not know its kinds"
    );
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_not_understood_stops_nothing() {
    let world = World::new();
    world.api.put(config_map("a", "1"));
    world.api.put(json!({
        "metadata": { "namespace": "demo", "name": "odd" },
        "data": "no map",
    }));
    let handle = world.watch().feed(value, world.index.clone());
    handle.synced().await;
    assert_eq!(world.state(), "a=1");

    world
        .api
        .put(json!({ "metadata": { "namespace": "demo", "name": "a" }, "data": 7 }));
    world.api.put(config_map("odd", "2"));
    time::sleep(SECOND).await;

    assert_eq!(world.state(), "a=1 odd=2");
    assert!(handle.health().hears());
    let failures = "watch_failures_total{watch=\"maps\",reason=\"Undecodable\"} 2";
    assert!(world.metrics().contains(failures), "{}", world.metrics());
}

#[tokio::test(start_paused = true)]
async fn silence_is_doubted_and_an_answer_ends_the_doubt() {
    let world = World::new();
    world.api.put(config_map("a", "1"));
    let handle = world
        .watch()
        .max_silence(2 * SECOND)
        .feed(value, world.index.clone());
    handle.synced().await;

    time::sleep(LONG).await;
    assert!(handle.health().hears(), "silent, and alive");
    let heard = handle.health().heard(Instant::now());
    assert!(heard > LONG - SECOND, "{heard:?}");

    world.api.set(Mode::Hung);
    time::sleep(LONG).await;
    assert!(!handle.health().hears(), "silent, and dead");
    assert!(handle.health().heard(Instant::now()) <= heard + 2 * SECOND);

    world.api.put(config_map("a", "2"));
    world.api.set(Mode::Up);
    time::sleep(LONG).await;
    assert!(handle.health().hears());
    assert_eq!(world.state(), "a=2");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_stalls_is_begun_again() {
    let world = World::new();
    world.api.put(config_map("a", "1"));
    world.api.set(Mode::Hung);
    let handle = world.watch().feed(value, world.index.clone());
    time::sleep(LONG).await;
    assert!(
        world.metrics().contains("reason=\"Stalled\""),
        "{}",
        world.metrics()
    );

    world.api.set(Mode::Up);
    time::sleep(LONG).await;
    assert_eq!(handle.health().origin(), Some(Origin::Api));
}

#[tokio::test(start_paused = true)]
async fn selectors_are_the_api_servers_business_and_the_projection_ours() {
    let world = World::new();
    world.api.put(config_map("wanted", "1"));
    world
        .api
        .put(json!({ "metadata": { "namespace": "demo", "name": "other" } }));
    let handle = world
        .watches()
        .namespaced::<ConfigMap>("maps", "demo")
        .labels("tombolo.io/component=gateway")
        .fields("metadata.name=wanted")
        .feed(value, world.index.clone());
    handle.synced().await;

    assert_eq!(world.state(), "wanted=1");
    for request in world.api.requests() {
        assert!(
            request.starts_with("GET /api/v1/namespaces/demo/configmaps?"),
            "{request}"
        );
        assert!(
            request.contains("labelSelector=tombolo.io%2Fcomponent%3Dgateway"),
            "{request}"
        );
        assert!(
            request.contains("fieldSelector=metadata.name%3Dwanted"),
            "{request}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_projection_sees_no_managed_fields() {
    let world = World::new();
    let mut object = config_map("a", "1");
    object["metadata"]["managedFields"] = json!([{ "manager": "somebody" }]);
    world.api.put(object);
    let managed = |map: ConfigMap| Some(map.metadata.managed_fields.is_some().to_string());
    let handle = world.watch().feed(managed, world.index.clone());
    handle.synced().await;

    assert_eq!(world.state(), "a=false");
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_it_is_told_to() {
    let world = World::new();
    let stop = CancellationToken::new();
    let handle = world
        .watch()
        .until(stop.clone())
        .feed(value, world.index.clone());
    handle.synced().await;

    stop.cancel();
    time::sleep(SECOND).await;
    world.api.put(config_map("a", "1"));
    time::sleep(LONG).await;

    assert_eq!(world.told(), ["reset"]);
}

#[tokio::test(start_paused = true)]
async fn a_closure_can_be_an_index() {
    let world = World::new();
    world.api.put(config_map("a", "1"));
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let index = from_fn(move |event: Event<'_, String>| tell.lock().push(format!("{event:?}")));
    let handle = world.watch().feed(value, index);
    handle.synced().await;

    world.api.delete("demo", "a");
    time::sleep(SECOND).await;

    let key = r#"Key { namespace: "demo", name: "a" }"#;
    assert_eq!(
        *told.lock(),
        [format!("Reset({{{key}: \"1\"}})"), format!("Delete({key})")]
    );
}

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
