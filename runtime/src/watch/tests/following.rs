use serde_json::json;
use tokio::time;

use super::*;

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

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_in_a_drain_and_ends_after_it() {
    let world = World::new();
    let handle = world.watch().feed(value, world.index.clone());
    handle.synced().await;
    let drain = world.tasks.drain().clone();
    world.tasks.spawn("connection", async move {
        drain.cancelled().await;
        time::sleep(10 * SECOND).await;
    });

    let (tasks, api) = (&world.tasks, &world.api);
    tokio::join!(tasks.shutdown(LONG), async {
        time::sleep(5 * SECOND).await;
        api.put(config_map("a", "1"));
    });
    world.api.put(config_map("a", "2"));
    time::sleep(LONG).await;

    assert_eq!(world.told(), ["reset", "apply a=1"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_it_is_told_to() {
    let world = World::new();
    let stop = CancellationToken::new();
    let watch = world.watch().until(stop.clone());
    let handle = watch.feed(value, world.index.clone());
    handle.synced().await;

    stop.cancel();
    time::sleep(SECOND).await;
    world.api.put(config_map("a", "1"));
    time::sleep(LONG).await;

    assert_eq!(world.told(), ["reset"]);
}
