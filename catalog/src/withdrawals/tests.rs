use super::*;

const GRACE: Duration = Duration::from_secs(300);

#[test]
fn a_single_withdrawal_is_applied_even_of_the_only_export() {
    let now = Instant::now();
    for known in [1, 2, 3, 10] {
        let mut guard = guard(known);
        let verdict = guard.withdraw(now, [service(0)]);
        assert_eq!(verdict, applied([service(0)]), "of {known}");
        assert_eq!(guard.held(), None);
        assert_eq!(guard.poll_timeout(), None);
    }
}

#[test]
fn a_large_part_is_held_and_a_small_one_is_not() {
    // (known, withdrawn at once, whether they are held)
    let cases = [
        (2, 2, false),
        (3, 2, false),
        (3, 3, true),
        (4, 3, true),
        (5, 3, true),
        (6, 3, true),
        (7, 3, false),
        (100, 49, false),
        (100, 50, true),
        (100, 100, true),
    ];
    for (known, withdrawn, held) in cases {
        let verdict = guard(known).withdraw(Instant::now(), services(0..withdrawn));
        let expected = if held {
            Verdict {
                apply: Vec::new(),
                held: services(0..withdrawn),
            }
        } else {
            applied(services(0..withdrawn))
        };
        assert_eq!(verdict, expected, "{withdrawn} of {known}");
    }
}

#[test]
fn what_is_held_is_applied_after_the_grace_period() {
    let now = Instant::now();
    let mut guard = guard(4);
    guard.withdraw(now, services(0..4));
    assert_eq!(
        guard.held(),
        Some(Held {
            count: 4,
            until: now + GRACE
        })
    );
    assert_eq!(guard.poll_timeout(), Some(now + GRACE));

    assert!(
        guard
            .handle_timeout(now + GRACE - Duration::from_millis(1))
            .is_empty()
    );
    assert_eq!(guard.handle_timeout(now + GRACE), services(0..4));

    assert_eq!(guard.held(), None);
    assert!(guard.handle_timeout(now + GRACE * 2).is_empty());
}

#[test]
fn what_reappears_is_no_longer_held() {
    let now = Instant::now();
    let mut guard = guard(4);
    guard.withdraw(now, services(0..4));

    guard.upsert(service(0));
    guard.upsert(service(2));

    assert_eq!(guard.handle_timeout(now + GRACE), [service(1), service(3)]);
}

#[test]
fn single_messages_of_one_wave_count_together() {
    let now = Instant::now();
    let mut guard = guard(6);
    assert_eq!(guard.withdraw(now, [service(0)]), applied([service(0)]));
    assert_eq!(guard.withdraw(now, [service(1)]), applied([service(1)]));
    for n in 2..6 {
        let at = now + Duration::from_millis(n * 100);
        let verdict = guard.withdraw(at, [service(n)]);
        assert_eq!(verdict.held, [service(n)], "{n}");
    }
    assert_eq!(guard.held().map(|held| held.count), Some(4));
}

#[test]
fn slow_withdrawals_one_by_one_are_all_applied() {
    let start = Instant::now();
    let mut guard = guard(6);
    for n in 0..6 {
        let at = start + WINDOW * u32::try_from(n).unwrap();
        assert_eq!(
            guard.withdraw(at, [service(n)]),
            applied([service(n)]),
            "{n}"
        );
    }
}

#[test]
fn one_export_that_comes_and_goes_is_one() {
    let now = Instant::now();
    let mut guard = guard(0);
    for n in 0..100 {
        let at = now + Duration::from_millis(n);
        guard.upsert(service(0));
        assert_eq!(guard.withdraw(at, [service(0)]), applied([service(0)]));
    }
}

#[test]
fn a_snapshot_withdraws_what_it_does_not_name() {
    let now = Instant::now();
    let mut guard = guard(10);
    let named = services(1..12).into_iter().collect();

    assert_eq!(guard.handle_snapshot(now, &named), applied([service(0)]));

    let verdict = guard.handle_snapshot(now, &BTreeSet::new());
    assert_eq!(verdict.held.len(), 11);
    assert!(verdict.apply.is_empty());
}

#[test]
fn a_snapshot_frees_what_it_names_and_leaves_the_deadline_of_the_rest() {
    let now = Instant::now();
    let mut guard = guard(6);
    guard.handle_snapshot(now, &BTreeSet::new());

    let named = services(0..3).into_iter().collect();
    let verdict = guard.handle_snapshot(now + Duration::from_secs(60), &named);

    assert_eq!(verdict, Verdict::default());
    assert_eq!(
        guard.held(),
        Some(Held {
            count: 3,
            until: now + GRACE
        })
    );
    assert_eq!(guard.handle_timeout(now + GRACE), services(3..6));
}

#[test]
fn an_unknown_or_repeated_withdrawal_is_nothing() {
    let now = Instant::now();
    let mut guard = guard(2);
    assert_eq!(guard.withdraw(now, services(10..20)), Verdict::default());
    assert_eq!(guard.withdraw(now, [service(0)]), applied([service(0)]));
    assert_eq!(guard.withdraw(now, [service(0)]), Verdict::default());
}

#[test]
fn while_much_is_held_a_single_later_withdrawal_is_applied() {
    let now = Instant::now();
    let mut guard = guard(6);
    guard.withdraw(now, services(0..4));
    let verdict = guard.withdraw(now + WINDOW, [service(4)]);
    assert_eq!(verdict, applied([service(4)]));
    assert_eq!(guard.held().map(|held| held.count), Some(4));
}

fn guard(known: u64) -> Withdrawals {
    Withdrawals::new(GRACE, services(0..known))
}

fn services(range: std::ops::Range<u64>) -> Vec<ServiceName> {
    range.map(service).collect()
}

fn service(n: u64) -> ServiceName {
    ServiceName::new("demo", format!("s{n:03}"))
}

fn applied(services: impl IntoIterator<Item = ServiceName>) -> Verdict {
    Verdict {
        apply: services.into_iter().collect(),
        held: Vec::new(),
    }
}
