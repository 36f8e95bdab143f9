use super::*;
use crate::testing::export_of;

#[test]
fn a_first_catalog_is_written_whole() {
    let mut copies = empty();
    copies
        .handle_snapshot(now(), vec![east("a"), east("b")], [])
        .unwrap();

    let differences = copies.differences(now(), &Exports::new(), &mut Written::default());

    assert_eq!(names(&differences), (vec!["a", "b"], vec![]));
    assert_eq!(copies.synced(), Some(2));
}

#[test]
fn what_is_stored_already_is_not_written() {
    let stored = stored(["a", "b"]);
    let mut copies = Copies::new("east", GRACE, stored.clone());
    copies
        .handle_snapshot(now(), vec![east("a"), east("b")], [])
        .unwrap();

    assert!(
        copies
            .differences(now(), &stored, &mut Written::default())
            .is_empty()
    );
}

#[test]
fn a_change_is_written_and_a_hand_made_one_is_undone() {
    let stored = stored(["a", "b"]);
    let mut copies = Copies::new("east", GRACE, stored.clone());
    let changed = ClusterExportSpec {
        ready: false,
        ..east("a")
    };
    copies.handle_upsert(changed).unwrap();
    let mut tampered = stored.clone();
    tampered.insert(
        ServiceName::new("demo", "b"),
        Arc::new(ClusterExportSpec {
            ready: false,
            ..east("b")
        }),
    );
    tampered.insert(ServiceName::new("demo", "c"), Arc::new(east("c")));

    let differences = copies.differences(now(), &tampered, &mut Written::default());

    assert_eq!(names(&differences), (vec!["a", "b"], vec!["c"]));
}

#[test]
fn an_export_of_another_cluster_is_refused_with_its_snapshot() {
    let stored = stored(["a"]);
    let mut copies = Copies::new("east", GRACE, stored.clone());
    let foreign = export_of("south", "demo", "b");

    let error = copies
        .handle_snapshot(now(), vec![east("c"), foreign.clone()], [])
        .unwrap_err();
    copies.handle_upsert(foreign).unwrap_err();

    assert_eq!(error.claimed, "south");
    assert_eq!(copies.synced(), None);
    assert!(
        copies
            .differences(now(), &stored, &mut Written::default())
            .is_empty()
    );
}

#[test]
fn what_a_snapshot_does_not_name_is_deleted() {
    let stored = stored(["a", "b", "c"]);
    let mut copies = Copies::new("east", GRACE, stored.clone());
    copies
        .handle_snapshot(now(), vec![east("a"), east("b")], [])
        .unwrap();

    let differences = copies.differences(now(), &stored, &mut Written::default());

    assert_eq!(names(&differences), (vec![], vec!["c"]));
}

#[test]
fn what_became_unusable_stays_as_it_was() {
    let stored = stored(["a", "b", "c"]);
    let mut copies = Copies::new("east", GRACE, stored.clone());
    let unusable = [
        ServiceName::new("demo", "c"),
        ServiceName::new("demo", "unknown"),
    ];
    copies
        .handle_snapshot(now(), vec![east("a"), east("b")], unusable)
        .unwrap();

    assert!(
        copies
            .differences(now(), &stored, &mut Written::default())
            .is_empty()
    );
    assert_eq!(copies.synced(), Some(3));
}

#[test]
fn an_empty_catalog_is_held_back_until_its_grace_is_over() {
    let stored = stored(["a", "b", "c", "d"]);
    let mut copies = Copies::new("east", GRACE, stored.clone());
    let start = now();
    copies.handle_snapshot(start, Vec::new(), []).unwrap();

    assert!(
        copies
            .differences(start, &stored, &mut Written::default())
            .is_empty()
    );
    assert_eq!(copies.held().unwrap().count, 4);
    assert_eq!(copies.poll_timeout(), Some(start + GRACE));

    copies.handle_timeout(start + GRACE);
    let differences = copies.differences(start + GRACE, &stored, &mut Written::default());
    assert_eq!(differences.delete.len(), 4);
    assert_eq!(copies.held(), None);
}

#[test]
fn withdrawals_one_by_one_are_judged_together() {
    let stored = stored(["a", "b", "c", "d"]);
    let mut copies = Copies::new("east", GRACE, stored.clone());
    let start = now();
    for name in ["a", "b", "c"] {
        copies.handle_withdraw(start, ServiceName::new("demo", name));
    }
    assert_eq!(copies.poll_timeout(), Some(start + BATCH));

    copies.handle_timeout(start + BATCH);

    assert_eq!(copies.held().unwrap().count, 3);
    assert!(
        copies
            .differences(start, &stored, &mut Written::default())
            .is_empty()
    );
}

#[test]
fn one_withdrawal_is_believed_after_its_batch() {
    let stored = stored(["a", "b", "c", "d"]);
    let mut copies = Copies::new("east", GRACE, stored.clone());
    let start = now();
    copies.handle_withdraw(start, ServiceName::new("demo", "a"));
    copies.handle_withdraw(start, ServiceName::new("demo", "b"));
    copies.handle_upsert(east("b")).unwrap();

    copies.handle_timeout(start + BATCH);

    let differences = copies.differences(start, &stored, &mut Written::default());
    assert_eq!(names(&differences), (vec![], vec!["a"]));
}

#[test]
fn an_interruption_changes_no_copy() {
    let stored = stored(["a"]);
    let mut copies = Copies::new("east", GRACE, stored.clone());
    copies.handle_snapshot(now(), vec![east("a")], []).unwrap();

    copies.handle_interruption();

    assert_eq!(copies.synced(), None);
    assert!(
        copies
            .differences(now(), &stored, &mut Written::default())
            .is_empty()
    );
}

#[test]
fn nothing_is_left_of_a_peer_that_was_away_for_too_long_until_it_is_back() {
    let stored = stored(["a", "b", "c"]);
    let mut copies = Copies::new("east", GRACE, stored.clone());

    copies.expire();

    let differences = copies.differences(now(), &stored, &mut Written::default());
    assert_eq!(names(&differences), (vec![], vec!["a", "b", "c"]));
    assert_eq!((copies.held(), copies.synced()), (None, None));

    copies.handle_snapshot(now(), vec![east("a")], []).unwrap();
    let differences = copies.differences(now(), &Exports::new(), &mut Written::default());
    assert_eq!(names(&differences), (vec!["a"], vec![]));
}

#[test]
fn the_catalog_of_a_rebuilt_cluster_is_believed_at_once() {
    let stored = stored(["a", "b", "c", "d"]);
    let mut copies = Copies::new("east", GRACE, stored.clone());

    copies.handle_rebuilt(now(), vec![east("d")]).unwrap();

    let differences = copies.differences(now(), &stored, &mut Written::default());
    assert_eq!(names(&differences), (vec![], vec!["a", "b", "c"]));
    assert_eq!(copies.held(), None);

    let foreign = vec![export_of("south", "demo", "b")];
    copies.handle_rebuilt(now(), foreign).unwrap_err();
    let differences = copies.differences(now(), &stored, &mut Written::default());
    assert_eq!(
        names(&differences).1,
        ["a", "b", "c"],
        "nothing of it is believed"
    );
}

#[test]
fn an_own_write_is_not_repeated_while_the_watch_is_behind() {
    let mut copies = Copies::new("east", GRACE, stored(["gone"]));
    let start = now();
    copies.handle_upsert(east("a")).unwrap();
    copies.handle_withdraw(start, ServiceName::new("demo", "gone"));
    copies.handle_timeout(start + BATCH);
    let behind = stored(["gone"]);
    let mut written = Written::default();
    let first = copies.differences(start, &behind, &mut written);
    written.record(
        start,
        ServiceName::new("demo", "a"),
        first.apply.first().cloned(),
    );
    written.record(start, ServiceName::new("demo", "gone"), None);

    assert!(copies.differences(start, &behind, &mut written).is_empty());
    // Somebody undid both: after a while that is believed.
    let later = start + BELIEVED;
    assert_eq!(
        names(&copies.differences(later, &behind, &mut written)),
        (vec!["a"], vec!["gone"])
    );
}

fn empty() -> Copies {
    Copies::new("east", GRACE, Exports::new())
}

fn stored<const N: usize>(names: [&str; N]) -> Exports {
    names
        .map(east)
        .map(|export| (ServiceName::from(&export), Arc::new(export)))
        .into()
}

fn names(differences: &Differences) -> (Vec<&str>, Vec<&str>) {
    let apply = differences
        .apply
        .iter()
        .map(|export| export.name.as_str())
        .collect();
    let delete = differences
        .delete
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    (apply, delete)
}

fn east(name: &str) -> ClusterExportSpec {
    export_of("east", "demo", name)
}

fn now() -> Instant {
    Instant::now()
}
