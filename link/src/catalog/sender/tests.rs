use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use tombolo_catalog::ServiceName;
use tombolo_crds::mcs::{ServiceImportType, ServicePort};

use super::super::CatalogEvent;
use super::super::receiver::CatalogReceiver;
use super::*;

#[test]
fn an_empty_catalog_is_told_too() {
    let mut sender = CatalogSender::new("east");

    let messages = decode(sender.advance(catalog(&[])));

    assert_eq!(
        messages,
        [
            CatalogMessage::SnapshotBegin { revision: 1 },
            CatalogMessage::SnapshotEnd { count: 0 },
        ]
    );
}

#[test]
fn nothing_is_told_of_what_did_not_change() {
    let mut sender = CatalogSender::new("east");
    let before = catalog(&[("a", 80), ("b", 80)]);
    assert_eq!(sender.advance(Arc::clone(&before)).count(), 4);

    // The same objects, and equal ones.
    assert_eq!(sender.advance(before).count(), 0);
    assert_eq!(sender.advance(catalog(&[("a", 80), ("b", 80)])).count(), 0);
}

#[test]
fn changes_are_told_before_withdrawals() {
    let mut sender = CatalogSender::new("east");
    drop(sender.advance(catalog(&[("a", 80), ("b", 80)])));

    let messages = decode(sender.advance(catalog(&[("b", 81), ("c", 80)])));

    assert_eq!(
        messages,
        [
            CatalogMessage::Upsert(Box::new(export("east", "b", 81))),
            CatalogMessage::Upsert(Box::new(export("east", "c", 80))),
            CatalogMessage::Withdraw(ServiceName::new("demo", "a")),
        ]
    );
}

#[test]
fn an_export_of_another_cluster_is_not_told_and_its_loss_neither() {
    let mut sender = CatalogSender::new("east");
    let mut with_foreign = CatalogSnapshot::clone(&catalog(&[("a", 80)]));
    let foreign = export("north", "n", 80);
    with_foreign
        .exports
        .insert(ServiceName::from(&foreign), Arc::new(foreign));

    let messages = decode(sender.advance(Arc::new(with_foreign)));

    assert_eq!(messages.len(), 3);
    assert_eq!(messages[2], CatalogMessage::SnapshotEnd { count: 1 });
    assert_eq!(sender.advance(catalog(&[("a", 80)])).count(), 0);
}

proptest! {
    /// Whatever the catalog goes through, the receiver ends up with what it is.
    #[test]
    fn the_receiver_follows(history in proptest::collection::vec(
        proptest::collection::btree_map("[a-e]", 1..4_i32, 0..6), 1..8,
    )) {
        let mut sender = CatalogSender::new("east");
        let mut receiver = CatalogReceiver::new("east");
        let mut known: BTreeMap<ServiceName, ClusterExportSpec> = BTreeMap::new();
        for moment in history {
            let services: Vec<(&str, i32)> =
                moment.iter().map(|(name, port)| (name.as_str(), *port)).collect();
            let now = catalog(&services);
            for frame in sender.advance(Arc::clone(&now)) {
                match receiver.handle(frame.slice(4..)).unwrap() {
                    Some(CatalogEvent::Snapshot(update)) => {
                        known = update
                            .exports
                            .into_iter()
                            .map(|export| (ServiceName::from(&export), export))
                            .collect();
                    }
                    Some(CatalogEvent::Upsert(export)) => {
                        known.insert(ServiceName::from(&*export), *export);
                    }
                    Some(CatalogEvent::Withdraw(service)) => {
                        prop_assert!(known.remove(&service).is_some());
                    }
                    Some(other) => prop_assert!(false, "{other:?}"),
                    None => {}
                }
            }
            let told: BTreeMap<_, _> = now
                .exports
                .iter()
                .map(|(service, export)| (service.clone(), ClusterExportSpec::clone(export)))
                .collect();
            prop_assert_eq!(&known, &told);
        }
    }
}

fn decode(frames: impl Iterator<Item = Bytes>) -> Vec<CatalogMessage> {
    frames
        .map(|frame| CatalogMessage::decode(frame.slice(4..)).unwrap())
        .collect()
}

fn catalog(services: &[(&str, i32)]) -> Arc<CatalogSnapshot> {
    let exports = services.iter().map(|(name, port)| {
        let export = export("east", name, *port);
        (ServiceName::from(&export), Arc::new(export))
    });
    Arc::new(CatalogSnapshot {
        revision: 1,
        exports: exports.collect(),
    })
}

fn export(cluster: &str, name: &str, port: i32) -> ClusterExportSpec {
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
            port,
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
