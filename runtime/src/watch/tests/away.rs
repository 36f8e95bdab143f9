use tokio::time;

use super::*;
use crate::fake_api::Mode;

#[tokio::test(start_paused = true)]
async fn what_happened_while_nothing_was_heard_is_known_afterwards() {
    let world = World::new();
    world.api.put(config_map("a", "1"));
    world.api.put(config_map("b", "2"));
    let handle = world.watch().feed(value, world.index.clone());
    handle.synced().await;
    world.api.set(Mode::Down);
    time::sleep(SECOND).await;
    assert!(!handle.health().hears());
    world.api.delete("demo", "a");
    world.api.put(config_map("c", "3"));
    time::sleep(LONG).await;
    assert_eq!(world.state(), "a=1 b=2", "the last known state");
    let broken_since = handle.health().broken_since().unwrap();
    assert!(
        broken_since.elapsed() > LONG,
        "{:?}",
        broken_since.elapsed()
    );

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

    let mut changes = handle.health_changes();
    assert!(!changes.borrow_and_update().hears());
    for n in 0..20 {
        world.api.put(config_map("a", &n.to_string()));
        time::sleep(10 * SECOND).await;
        assert_eq!(world.state(), format!("a={n}"), "listed again and again");
    }

    assert!(!changes.has_changed().unwrap(), "never restored");
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
async fn silence_is_doubted_and_an_answer_ends_the_doubt() {
    let world = World::new();
    world.api.put(config_map("a", "1"));
    let watch = world.watch().max_silence(2 * SECOND);
    let handle = watch.feed(value, world.index.clone());
    handle.synced().await;

    // Each 2 s there is a doubt, which the answer to a list ends at once.
    time::sleep(LONG + SECOND).await;
    assert!(handle.health().hears(), "silent, and alive");
    let lists = world.metrics();
    assert!(
        lists.contains("watch_failures_total{watch=\"maps\",reason=\"Silent\"} 30"),
        "{lists}"
    );

    world.api.set(Mode::Hung);
    let hung = Instant::now();
    time::sleep(LONG).await;
    let broken_since = handle.health().broken_since().unwrap();
    assert!(broken_since <= hung + 2 * SECOND, "silent, and dead");

    world.api.put(config_map("a", "2"));
    world.api.set(Mode::Up);
    time::sleep(LONG + SECOND).await;
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
