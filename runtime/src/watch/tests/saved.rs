use tokio::time;

use super::*;
use crate::fake_api::Mode;

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
