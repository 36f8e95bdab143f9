//! A cluster's catalog as its peers hear it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tombolo_catalog::ServiceName;
use tombolo_crds::ClusterExportSpec;
use tombolo_crds::mcs::{ServiceImportType, ServicePort};
use tombolo_link::{CatalogEvent, CatalogSnapshot, CatalogStream, CatalogUpdate, Event};
use tombolo_link_wire::CatalogMessage;

use crate::cluster::{Cluster, Gateway, patiently};
use crate::relay::Relay;
use crate::stranger::{Stranger, framed};

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_then_what_changes() {
    let (east, west) = linked().await;
    east.catalog.send_replace(snapshot(7, &["a", "b"]));
    let mut catalog = west.links.catalog("east");

    let update = next_snapshot(&mut catalog).await;
    assert_eq!(update.revision, 7);
    assert_eq!(names(&update), ["a", "b"]);
    assert_eq!(update.exports[0], export("east", "a"));

    let mut changed = export("east", "b");
    changed.ready = false;
    let mut now = exports(&["c"]);
    now.insert(ServiceName::from(&changed), Arc::new(changed.clone()));
    east.catalog.send_replace(Some(Arc::new(CatalogSnapshot {
        revision: 8,
        exports: now,
    })));

    assert_eq!(
        [next(&mut catalog).await, next(&mut catalog).await],
        [
            CatalogEvent::Upsert(Box::new(changed)),
            CatalogEvent::Upsert(Box::new(export("east", "c"))),
        ]
    );
    let withdrawn = CatalogEvent::Withdraw(ServiceName::new("demo", "a"));
    assert_eq!(next(&mut catalog).await, withdrawn);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_is_not_complete_says_nothing_and_never_withdraws() {
    let (east, west) = linked().await;
    let mut catalog = west.links.catalog("east");
    east.catalog.send_replace(snapshot(1, &["a", "b"]));
    assert_eq!(names(&next_snapshot(&mut catalog).await), ["a", "b"]);

    // Its caches are lost, and come back with one service more.
    east.catalog.send_replace(None);
    east.catalog.send_replace(snapshot(2, &["a", "b", "c"]));

    let upsert = CatalogEvent::Upsert(Box::new(export("east", "c")));
    assert_eq!(next(&mut catalog).await, upsert);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_tell_their_catalogs_whoever_dialled() {
    let (east, west) = linked().await;
    let mut of_west = west_exports();
    of_west.insert(
        ServiceName::new("demo", "foreign"),
        Arc::new(export("north", "foreign")),
    );
    west.catalog.send_replace(Some(Arc::new(CatalogSnapshot {
        revision: 1,
        exports: of_west,
    })));

    let update = next_snapshot(&mut east.links.catalog("west")).await;

    // A gateway does not tell what another cluster exports.
    assert_eq!(names(&update), ["w"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_catalog_arrives_whole() {
    let (east, west) = linked().await;
    let many: Vec<String> = (0..3000).map(|n| format!("service-{n:04}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    east.catalog.send_replace(snapshot(1, &many));

    let update = next_snapshot(&mut west.links.catalog("east")).await;

    assert_eq!(names(&update), many);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_replica_dies_another_one_goes_on_telling() {
    let east = Cluster::new("east");
    let west = Cluster::new("west");
    let replicas = ["east-1", "east-2"].map(|replica| east.gateway(replica));
    for replica in &replicas {
        replica.links.set_peers(vec![west.peer(&[])]);
        replica.catalog.send_replace(snapshot(1, &["a"]));
    }
    let relay = Relay::new(replicas.iter().map(Gateway::address).collect()).await;
    let in_west = west.gateway("west-1");
    in_west.links.set_peers(vec![east.peer(&[relay.address()])]);
    in_west.replicas("east", 2).await;
    let mut catalog = in_west.links.catalog("east");
    next_snapshot(&mut catalog).await;

    relay.silence(replicas[0].address());
    in_west.replicas("east", 1).await;
    replicas[1].catalog.send_replace(snapshot(2, &["a", "b"]));

    // Whether it was the silent one that told the catalog is chance: both ways lead there.
    loop {
        match next(&mut catalog).await {
            CatalogEvent::Snapshot(update) if names(&update) == ["a", "b"] => break,
            CatalogEvent::Upsert(upsert) if upsert.name == "b" => break,
            CatalogEvent::Snapshot(_) | CatalogEvent::Interrupted { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_an_interruption_and_a_new_snapshot() {
    let east = Cluster::new("east");
    let (gateway, mut catalog) = told_by_stranger(&east);
    let stranger = Stranger::linked(&east, "east-1", gateway.address()).await;
    tell(&stranger, &whole(&["a"])).await;
    next_snapshot(&mut catalog).await;

    stranger.connection.close(1_u32.into(), b"");

    assert!(matches!(
        next(&mut catalog).await,
        CatalogEvent::Interrupted { .. }
    ));
    let stranger = Stranger::linked(&east, "east-2", gateway.address()).await;
    let _kept = tell(&stranger, &whole(&["b"])).await;
    assert_eq!(names(&next_snapshot(&mut catalog).await), ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_breaks_the_rules_is_not_believed() {
    let begin = CatalogMessage::SnapshotBegin { revision: 1 };
    let end = |count| CatalogMessage::SnapshotEnd { count };
    let upsert = |cluster, name| CatalogMessage::Upsert(Box::new(export(cluster, name)));
    let mut bad_name = export("east", "x");
    bad_name.name = "Not A Label".to_owned();
    let cases: Vec<(Vec<CatalogMessage>, &str)> = vec![
        (
            vec![begin.clone(), upsert("east", "a"), end(2)],
            "CountMismatch",
        ),
        (vec![begin.clone(), upsert("north", "a")], "ForeignCluster"),
        (vec![upsert("east", "a")], "OutOfOrder"),
        (
            vec![begin.clone(), CatalogMessage::Upsert(Box::new(bad_name))],
            "InvalidField",
        ),
        (vec![begin.clone(), begin.clone()], "OutOfOrder"),
    ];
    for (messages, reason) in cases {
        let east = Cluster::new("east");
        let (gateway, mut catalog) = told_by_stranger(&east);
        let mut stranger = Stranger::linked(&east, "east-1", gateway.address()).await;
        stranger.answer_pings();
        let send = tell(&stranger, &messages).await;

        assert_interrupted(next(&mut catalog).await, reason);
        assert_eq!(gateway.count(Event::CatalogIn, reason), 1);
        // The stream is stopped, and asked for anew; the connection goes on.
        assert!(patiently(send.stopped()).await.unwrap().is_some());
        let _kept = tell(&stranger, &whole(&["a"])).await;
        assert_eq!(names(&next_snapshot(&mut catalog).await), ["a"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_a_million_ports_end_the_stream() {
    let east = Cluster::new("east");
    let (gateway, mut catalog) = told_by_stranger(&east);
    let mut stranger = Stranger::linked(&east, "east-1", gateway.address()).await;
    stranger.answer_pings();

    let mut send = stranger.next_catalog().await;
    send.write_all(&framed(&[0xff; 100])).await.unwrap();
    assert_interrupted(next(&mut catalog).await, "NotProtobuf");

    let mut ports = export("east", "a");
    ports.ports = vec![ports.ports[0].clone(); 1_000_000];
    let mut send = stranger.next_catalog().await;
    let message = CatalogMessage::Upsert(Box::new(ports)).encode();
    // It is stopped at the frame's length, long before the end.
    let _ = send.write_all(&message).await;
    assert_interrupted(next(&mut catalog).await, "FrameTooLarge");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_export_does_not_hide_the_others() {
    let east = Cluster::new("east");
    let (gateway, mut catalog) = told_by_stranger(&east);
    let mut stranger = Stranger::linked(&east, "east-1", gateway.address()).await;
    stranger.answer_pings();
    let mut bad = export("east", "bad");
    bad.ports[0].protocol = "QUIC".to_owned();
    let bad = CatalogMessage::Upsert(Box::new(bad));
    let messages = [
        CatalogMessage::SnapshotBegin { revision: 1 },
        CatalogMessage::Upsert(Box::new(export("east", "good"))),
        bad.clone(),
        CatalogMessage::SnapshotEnd { count: 2 },
        bad,
    ];

    let _kept = tell(&stranger, &messages).await;

    let update = next_snapshot(&mut catalog).await;
    assert_eq!(names(&update), ["good"]);
    assert_eq!(update.rejected[0].service, ServiceName::new("demo", "bad"));
    assert_eq!(update.rejected[0].rejection.reason(), "InvalidPort");
    let CatalogEvent::Rejected(rejected) = next(&mut catalog).await else {
        panic!("not rejected");
    };
    assert_eq!(rejected, update.rejected[0]);
    assert_eq!(gateway.count(Event::ExportRejected, "InvalidPort"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_peers_catalog_ends() {
    let (_east, west) = linked().await;
    let mut catalog = west.links.catalog("east");

    west.links.set_peers(Vec::new());

    assert_eq!(patiently(catalog.next()).await, None);
    let mut unknown = west.links.catalog("east");
    assert_eq!(patiently(unknown.next()).await, None);
}

async fn linked() -> (Gateway, Gateway) {
    let east = Cluster::new("east");
    let west = Cluster::new("west");
    let in_east = east.gateway("east-1");
    let in_west = west.gateway("west-1");
    in_east.links.set_peers(vec![west.peer(&[])]);
    in_west
        .links
        .set_peers(vec![east.peer(&[in_east.address()])]);
    in_west.connected("east").await;
    in_east.connected("west").await;
    (in_east, in_west)
}

/// A gateway in west that follows the catalog of east, which nobody tells yet.
fn told_by_stranger(east: &Cluster) -> (Gateway, CatalogStream) {
    let gateway = Cluster::new("west").gateway("west-1");
    gateway.links.set_peers(vec![east.peer(&[])]);
    let catalog = gateway.links.catalog("east");
    (gateway, catalog)
}

async fn tell(stranger: &Stranger, messages: &[CatalogMessage]) -> quinn::SendStream {
    let mut send = stranger.next_catalog().await;
    for message in messages {
        send.write_chunk(message.encode()).await.unwrap();
    }
    send
}

fn whole(names: &[&str]) -> Vec<CatalogMessage> {
    let mut messages = vec![CatalogMessage::SnapshotBegin { revision: 1 }];
    let upserts = names
        .iter()
        .map(|name| CatalogMessage::Upsert(Box::new(export("east", name))));
    messages.extend(upserts);
    messages.push(CatalogMessage::SnapshotEnd {
        count: names.len() as u64,
    });
    messages
}

async fn next(catalog: &mut CatalogStream) -> CatalogEvent {
    patiently(catalog.next()).await.unwrap()
}

async fn next_snapshot(catalog: &mut CatalogStream) -> CatalogUpdate {
    match next(catalog).await {
        CatalogEvent::Snapshot(update) => update,
        other => panic!("{other:?}"),
    }
}

fn assert_interrupted(event: CatalogEvent, expected: &str) {
    match event {
        CatalogEvent::Interrupted { reason, .. } => assert_eq!(reason, expected),
        other => panic!("{other:?}, not {expected}"),
    }
}

fn names(update: &CatalogUpdate) -> Vec<&str> {
    update.exports.iter().map(|e| e.name.as_str()).collect()
}

fn snapshot(revision: u64, names: &[&str]) -> Option<Arc<CatalogSnapshot>> {
    Some(Arc::new(CatalogSnapshot {
        revision,
        exports: exports(names),
    }))
}

fn exports(names: &[&str]) -> BTreeMap<ServiceName, Arc<ClusterExportSpec>> {
    let exports = names.iter().map(|name| export("east", name));
    exports
        .map(|export| (ServiceName::from(&export), Arc::new(export)))
        .collect()
}

fn west_exports() -> BTreeMap<ServiceName, Arc<ClusterExportSpec>> {
    let export = export("west", "w");
    BTreeMap::from([(ServiceName::from(&export), Arc::new(export))])
}

fn export(cluster: &str, name: &str) -> ClusterExportSpec {
    ClusterExportSpec {
        cluster: cluster.to_owned(),
        namespace: "demo".to_owned(),
        name: name.to_owned(),
        created_at: Time(Timestamp::from_second(1_800_000_000).unwrap()),
        type_: ServiceImportType::ClusterSetIP,
        ports: vec![ServicePort {
            name: Some("http".to_owned()),
            protocol: "TCP".to_owned(),
            app_protocol: None,
            port: 80,
        }],
        session_affinity: None,
        session_affinity_config: None,
        internal_traffic_policy: None,
        traffic_distribution: None,
        ip_families: vec!["IPv4".to_owned()],
        exported_labels: BTreeMap::new(),
        exported_annotations: BTreeMap::new(),
        ready: true,
        endpoints: Vec::new(),
        proxy_protocol: None,
    }
}
