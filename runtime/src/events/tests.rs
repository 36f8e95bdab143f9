use serde_json::Value;
use tokio::{runtime::Handle, time};

use super::*;
use crate::fake_api::{FakeApi, Mode};

#[tokio::test(start_paused = true)]
async fn the_same_is_said_once_and_a_change_is_said() {
    let world = World::new();
    let export = reference("ServiceExport", Some("demo"), "hello");

    for _ in 0..100 {
        world
            .events
            .publish(&export, notice("NoService", "there is no Service hello"));
    }
    world.events.publish(
        &export,
        notice("NoService", "Service hello is of type ExternalName"),
    );
    world
        .events
        .publish(&export, notice("Conflict", "ports differ"));
    let other = reference("ServiceExport", Some("demo"), "other");
    world
        .events
        .publish(&other, notice("Conflict", "ports differ"));

    let notes = world
        .published()
        .await
        .into_iter()
        .map(|event| event["note"].clone());
    let mut notes: Vec<_> = notes.collect();
    notes.sort_by_key(Value::to_string);
    assert_eq!(
        notes,
        [
            "Service hello is of type ExternalName",
            "ports differ",
            "ports differ",
            "there is no Service hello"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_has_what_the_api_requires() {
    let world = World::new();
    let peer = reference("Peer", None, "west");

    world
        .events
        .publish(&peer, notice("InvalidCABundle", &"ä".repeat(2000)));

    let [event] = world.published().await.try_into().unwrap();
    assert_eq!(event["metadata"]["namespace"], "default");
    assert!(
        event["metadata"]["name"]
            .as_str()
            .unwrap()
            .starts_with("west.")
    );
    assert_eq!(event["regarding"]["name"], "west");
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["reason"], "InvalidCABundle");
    assert_eq!(event["action"], "Validate");
    assert_eq!(event["reportingController"], "tombolo.io/operator");
    assert_eq!(event["reportingInstance"], "operator-0");
    assert!(event["eventTime"].is_string());
    assert_eq!(event["note"].as_str().unwrap().len(), LONGEST_NOTE);
}

#[tokio::test(start_paused = true)]
async fn the_longest_name_leaves_a_valid_one() {
    let world = World::new();
    let name = format!("{}.{}", "a".repeat(LONGEST_SUBJECT - 1), "b".repeat(23));

    world.events.publish(
        &reference("Peer", None, &name),
        notice("Conflict", "ports differ"),
    );

    let [event] = world.published().await.try_into().unwrap();
    let event = event["metadata"]["name"].as_str().unwrap();
    assert!(event.len() <= 253, "{event}");
    assert!(!event.contains(".."), "{event}");
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_published_is_said_again_by_a_later_pass() {
    let world = World::new();
    let export = reference("ServiceExport", Some("demo"), "hello");
    for (away, published) in [(Mode::Down, 1), (Mode::Hung, 2), (Mode::Status(403), 3)] {
        let note = format!("there is no Service hello, {away:?}");
        world.api.set(away);
        world.events.publish(&export, notice("NoService", &note));
        assert_eq!(world.published().await.len(), published - 1);

        world.api.set(Mode::Up);
        world.events.publish(&export, notice("NoService", &note));
        assert_eq!(world.published().await.len(), published);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_news_again() {
    let world = World::new();
    let export = reference("ServiceExport", Some("demo"), "hello");
    world
        .events
        .publish(&export, notice("NoService", "there is no Service hello"));
    world.published().await;

    world.events.forget(&export, "NoService");
    world
        .events
        .publish(&export, notice("NoService", "there is no Service hello"));

    assert_eq!(world.published().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn more_than_the_queue_holds_is_dropped_and_not_waited_for() {
    let world = World::new();
    world.api.set(Mode::Hung);
    let publish_all = || {
        for n in 0..2 * QUEUE {
            let export = reference("ServiceExport", Some("demo"), &format!("hello-{n}"));
            world
                .events
                .publish(&export, notice("Conflict", "ports differ"));
        }
    };
    publish_all();
    assert!(world.events.said.lock().len() <= QUEUE);

    world.api.set(Mode::Up);
    world.published().await;
    publish_all();
    publish_all();
    world.published().await;
    publish_all();

    assert_eq!(world.published().await.len(), 2 * QUEUE);
}

struct World {
    api: FakeApi,
    events: Events,
}

impl World {
    fn new() -> Self {
        let api = FakeApi::new("events");
        let tasks = Tasks::new(Handle::current());
        let events = Events::spawn(api.client(), "tombolo.io/operator", "operator-0", &tasks);
        Self { api, events }
    }

    /// All so far.
    async fn published(&self) -> Vec<Value> {
        time::sleep(Duration::from_secs(60)).await;
        self.api.objects()
    }
}

fn reference(kind: &str, namespace: Option<&str>, name: &str) -> ObjectReference {
    ObjectReference {
        kind: Some(kind.to_owned()),
        namespace: namespace.map(str::to_owned),
        name: Some(name.to_owned()),
        ..ObjectReference::default()
    }
}

fn notice(reason: &'static str, note: &str) -> Notice {
    Notice {
        severity: Severity::Warning,
        reason,
        action: "Validate",
        note: note.to_owned(),
    }
}
