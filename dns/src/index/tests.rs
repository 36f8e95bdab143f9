use hickory_proto::rr::{DNSClass, Name, RecordType};
use tombolo_dns_zone::{Question, Snapshot, Zone};

use super::*;
use crate::state::{EndpointState, PortState};

fn key(name: &str) -> Key {
    Key::new("shop", name)
}

fn import(headless: bool, addresses: &[&str]) -> Arc<ImportState> {
    Arc::new(ImportState {
        headless,
        addresses: addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect(),
        ports: [PortState {
            name: None,
            protocol: "TCP".into(),
            number: 80,
        }]
        .into(),
    })
}

fn slice(service: &str, cluster: &str, address: &str) -> Arc<SliceState> {
    Arc::new(SliceState {
        service: service.into(),
        cluster: cluster.into(),
        endpoints: [EndpointState {
            hostname: None,
            addresses: [address.parse().unwrap()].into(),
        }]
        .into(),
        ports: [].into(),
    })
}

fn all<T: Clone>(objects: &[(&str, &Arc<T>)]) -> BTreeMap<Key, Arc<T>> {
    objects
        .iter()
        .map(|(name, object)| (key(name), Arc::clone(object)))
        .collect()
}

fn synced() -> ZoneIndex {
    let mut index = ZoneIndex::default();
    Index::<ImportState>::reset(&mut index, &BTreeMap::new());
    Index::<SliceState>::reset(&mut index, &BTreeMap::new());
    index
}

/// The addresses of `<name>.shop`, in order.
fn addresses(index: &ZoneIndex, name: &str) -> Vec<String> {
    let zone = Arc::new(Zone::new("clusterset.local", 5, 0).unwrap());
    let snapshot = Snapshot::new(zone, 1, index.services().cloned());
    let name = Name::from_ascii(format!("{name}.shop.svc.clusterset.local.")).unwrap();
    let question = Question {
        name: &name,
        record_type: RecordType::A,
        class: DNSClass::IN,
    };
    let answers = snapshot.answer(&question, 0).answers;
    answers
        .iter()
        .map(|record| record.data.to_string())
        .collect()
}

/// Whether something changed since it was asked last.
async fn has_changed(index: &ZoneIndex) -> bool {
    tokio::select! {
        biased;
        () = index.changed.notified() => true,
        () = std::future::ready(()) => false,
    }
}

#[test]
fn nothing_is_known_before_both_lists_are_complete() {
    let mut index = ZoneIndex::default();
    assert!(index.update().is_none());

    Index::<ImportState>::reset(&mut index, &all(&[("web", &import(false, &["10.96.0.1"]))]));
    assert!(index.update().is_none());

    Index::<SliceState>::reset(&mut index, &BTreeMap::new());
    assert_eq!(addresses(&index, "web"), ["10.96.0.1"]);
}

#[test]
fn imports_come_change_and_go() {
    let mut index = synced();

    index.apply(&key("web"), &import(false, &["10.96.0.1"]));
    assert_eq!(addresses(&index, "web"), ["10.96.0.1"]);

    index.apply(&key("web"), &import(false, &["10.96.0.2"]));
    assert_eq!(addresses(&index, "web"), ["10.96.0.2"]);

    Index::<ImportState>::delete(&mut index, &key("web"));
    assert_eq!(addresses(&index, "web"), [] as [&str; 0]);
}

#[test]
fn slices_give_a_headless_import_its_addresses_whichever_comes_first() {
    let mut index = synced();

    index.apply(&key("db-east"), &slice("db", "east", "10.0.0.1"));
    index.apply(&key("db"), &import(true, &[]));
    index.apply(&key("db-west"), &slice("db", "west", "10.0.0.2"));
    assert_eq!(addresses(&index, "db"), ["10.0.0.1", "10.0.0.2"]);

    Index::<SliceState>::delete(&mut index, &key("db-east"));
    assert_eq!(addresses(&index, "db"), ["10.0.0.2"]);

    Index::<SliceState>::reset(
        &mut index,
        &all(&[("new", &slice("db", "east", "10.0.0.3"))]),
    );
    assert_eq!(addresses(&index, "db"), ["10.0.0.3"]);
}

#[test]
fn a_slice_that_moves_to_another_service_leaves_the_first() {
    let mut index = synced();
    index.apply(&key("db"), &import(true, &[]));
    index.apply(&key("cache"), &import(true, &[]));
    index.apply(&key("slice"), &slice("db", "east", "10.0.0.1"));

    index.apply(&key("slice"), &slice("cache", "east", "10.0.0.1"));

    assert_eq!(addresses(&index, "db"), [] as [&str; 0]);
    assert_eq!(addresses(&index, "cache"), ["10.0.0.1"]);
}

#[test]
fn an_import_that_turns_headless_is_answered_from_its_slices() {
    let mut index = synced();
    index.apply(&key("slice"), &slice("db", "east", "10.0.0.1"));
    index.apply(&key("db"), &import(false, &["10.96.0.1"]));
    assert_eq!(addresses(&index, "db"), ["10.96.0.1"]);

    index.apply(&key("db"), &import(true, &[]));
    assert_eq!(addresses(&index, "db"), ["10.0.0.1"]);
}

#[tokio::test]
async fn slices_of_an_import_with_an_address_of_its_own_change_nothing() {
    let mut index = synced();
    index.apply(&key("web"), &import(false, &["10.96.0.1"]));
    assert!(has_changed(&index).await);

    index.apply(&key("web-east"), &slice("web", "east", "10.0.0.1"));
    index.apply(&key("unknown"), &slice("unknown", "east", "10.0.0.1"));
    Index::<SliceState>::delete(&mut index, &key("web-east"));
    assert!(!has_changed(&index).await);

    Index::<ImportState>::delete(&mut index, &key("web"));
    assert!(has_changed(&index).await);
}

#[test]
fn an_import_without_a_dns_name_is_left_out() {
    let mut index = synced();

    index.apply(&key("no.label"), &import(false, &["10.96.0.1"]));

    assert_eq!(index.services().count(), 0);
}

#[test]
fn an_update_is_all_after_a_list_and_else_what_has_changed() {
    let mut index = synced();
    assert!(matches!(index.update(), Some(Update::All(services)) if services.is_empty()));

    index.apply(&key("web"), &import(false, &["10.96.0.1"]));
    index.apply(&key("db"), &import(false, &["10.96.0.2"]));
    Index::<ImportState>::delete(&mut index, &key("db"));
    let Some(Update::Some(mut changes)) = index.update() else {
        panic!("no changes");
    };
    changes.sort_by_key(|change| matches!(change, Change::Put(_)));
    let [Change::Remove { namespace, name }, Change::Put(_)] = changes.as_slice() else {
        panic!("{changes:?}");
    };
    assert_eq!((namespace.as_str(), name.as_str()), ("shop", "db"));
    assert!(matches!(index.update(), Some(Update::Some(changes)) if changes.is_empty()));

    Index::<SliceState>::reset(&mut index, &BTreeMap::new());
    assert!(matches!(index.update(), Some(Update::All(services)) if services.len() == 1));
}

#[test]
fn nothing_is_kept_of_what_has_gone() {
    let mut index = synced();
    index.apply(&key("db"), &import(true, &[]));
    index.apply(&key("db-east"), &slice("db", "east", "10.0.0.1"));
    Index::<ImportState>::delete(&mut index, &key("db"));
    Index::<SliceState>::delete(&mut index, &key("db-east"));

    assert!(index.known.is_empty() && index.slices.is_empty());
}
