use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tombolo_crds::mcs::{ServiceImportType, ServicePort};

use super::*;

#[test]
fn nothing_is_told_before_the_snapshots_end() {
    let mut receiver = CatalogReceiver::new("east");

    assert_eq!(tell(&mut receiver, begin()), Ok(None));
    assert_eq!(tell(&mut receiver, upsert("a")), Ok(None));
    assert!(!receiver.is_following());
    let Ok(Some(CatalogEvent::Snapshot(update))) = tell(&mut receiver, end(1)) else {
        panic!("no snapshot");
    };

    assert_eq!(update.revision, 7);
    assert_eq!(update.exports, [export("east", "a")]);
    assert!(receiver.is_following());
}

#[test]
fn after_the_snapshot_each_change_is_told() {
    let mut receiver = following(&["a"]);

    let changed = Box::new(export("east", "a"));
    assert_eq!(
        tell(&mut receiver, upsert("a")),
        Ok(Some(CatalogEvent::Upsert(changed)))
    );
    let service = ServiceName::new("demo", "a");
    assert_eq!(
        tell(&mut receiver, withdraw("a")),
        Ok(Some(CatalogEvent::Withdraw(service)))
    );
}

#[test]
fn what_comes_where_it_makes_no_sense_ends_the_stream() {
    let out_of_order = |receiver: &mut CatalogReceiver, message| {
        let error = tell(receiver, message).unwrap_err();
        assert_eq!(error.reason(), "OutOfOrder");
    };

    out_of_order(&mut CatalogReceiver::new("east"), upsert("a"));
    out_of_order(&mut CatalogReceiver::new("east"), end(0));
    out_of_order(&mut CatalogReceiver::new("east"), withdraw("a"));
    out_of_order(&mut in_snapshot(), begin());
    out_of_order(&mut in_snapshot(), withdraw("a"));
    out_of_order(&mut following(&[]), begin());
    out_of_order(&mut following(&[]), end(0));
    out_of_order(&mut following(&["a"]), withdraw("b"));
}

#[test]
fn an_end_with_another_count_is_no_end() {
    let error = tell(&mut in_snapshot(), end(1)).unwrap_err();

    let expected = CatalogError::CountMismatch {
        announced: 1,
        received: 0,
    };
    assert_eq!(error, expected);
}

#[test]
fn a_cluster_speaks_of_itself_only() {
    for mut receiver in [in_snapshot(), following(&[])] {
        let foreign = CatalogMessage::Upsert(Box::new(export("north", "a")));

        let error = tell(&mut receiver, foreign).unwrap_err();

        assert_eq!(error, CatalogError::ForeignCluster("north".to_owned()));
    }
}

#[test]
fn a_rejected_export_of_another_cluster_is_foreign_all_the_same() {
    let mut foreign = export("north", "a");
    foreign.ports.clear();

    let message = CatalogMessage::Upsert(Box::new(foreign));

    let error = tell(&mut in_snapshot(), message).unwrap_err();
    assert_eq!(error.reason(), "ForeignCluster");
}

#[test]
fn a_rejected_export_counts_and_can_be_withdrawn() {
    let mut receiver = in_snapshot();
    let mut without_ports = export("east", "a");
    without_ports.ports.clear();
    let message = CatalogMessage::Upsert(Box::new(without_ports));

    assert_eq!(tell(&mut receiver, message), Ok(None));
    let Ok(Some(CatalogEvent::Snapshot(update))) = tell(&mut receiver, end(1)) else {
        panic!("no snapshot");
    };

    assert_eq!(update.exports, []);
    assert_eq!(update.rejected[0].rejection.reason(), "NoPorts");
    assert!(tell(&mut receiver, withdraw("a")).is_ok());
}

#[test]
fn one_service_cannot_be_in_a_snapshot_twice() {
    let mut receiver = in_snapshot();
    tell(&mut receiver, upsert("a")).unwrap();

    let error = tell(&mut receiver, upsert("a")).unwrap_err();

    assert_eq!(error.reason(), "DuplicateExport");
}

#[test]
fn a_peer_may_have_so_many_exports_and_no_more() {
    let mut receiver = in_snapshot();
    for number in 0..MAX_EXPORTS {
        tell(&mut receiver, upsert(&format!("s{number}"))).unwrap();
    }

    let error = tell(&mut receiver, upsert("one-more")).unwrap_err();

    assert_eq!(error, CatalogError::TooManyExports);
}

#[test]
fn a_snapshot_may_take_so_much_memory_and_no_more() {
    let mut receiver = in_snapshot();
    let mut large = export("east", "a");
    let text = "v".repeat(60_000);
    large.exported_annotations.insert("a".to_owned(), text);
    let error = (0..)
        .find_map(|number| {
            large.name = format!("s{number}");
            let message = CatalogMessage::Upsert(Box::new(large.clone()));
            tell(&mut receiver, message).err()
        })
        .unwrap();

    assert_eq!(error, CatalogError::SnapshotTooLarge);
}

fn in_snapshot() -> CatalogReceiver {
    let mut receiver = CatalogReceiver::new("east");
    tell(&mut receiver, begin()).unwrap();
    receiver
}

fn following(names: &[&str]) -> CatalogReceiver {
    let mut receiver = in_snapshot();
    for name in names {
        tell(&mut receiver, upsert(name)).unwrap();
    }
    tell(&mut receiver, end(names.len() as u64)).unwrap();
    receiver
}

fn tell(
    receiver: &mut CatalogReceiver,
    message: CatalogMessage,
) -> Result<Option<CatalogEvent>, CatalogError> {
    receiver.handle(message.encode().slice(4..))
}

fn begin() -> CatalogMessage {
    CatalogMessage::SnapshotBegin { revision: 7 }
}

fn upsert(name: &str) -> CatalogMessage {
    CatalogMessage::Upsert(Box::new(export("east", name)))
}

fn end(count: u64) -> CatalogMessage {
    CatalogMessage::SnapshotEnd { count }
}

fn withdraw(name: &str) -> CatalogMessage {
    CatalogMessage::Withdraw(ServiceName::new("demo", name))
}

fn export(cluster: &str, name: &str) -> ClusterExportSpec {
    ClusterExportSpec {
        cluster: cluster.to_owned(),
        namespace: "demo".to_owned(),
        name: name.to_owned(),
        created_at: Time(Timestamp::UNIX_EPOCH),
        type_: ServiceImportType::ClusterSetIP,
        ports: vec![ServicePort {
            name: None,
            protocol: "TCP".to_owned(),
            app_protocol: None,
            port: 80,
        }],
        session_affinity: None,
        session_affinity_config: None,
        internal_traffic_policy: None,
        traffic_distribution: None,
        ip_families: Vec::new(),
        exported_labels: BTreeMap::new(),
        exported_annotations: BTreeMap::new(),
        ready: true,
        endpoints: Vec::new(),
        proxy_protocol: None,
    }
}
