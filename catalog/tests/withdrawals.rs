//! Properties of the guard against mass withdrawal, over any sequence of events.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use tombolo_catalog::{HELD_ABOVE, ServiceName, WINDOW, Withdrawals};

const GRACE: Duration = Duration::from_secs(300);

#[derive(Clone, Debug)]
enum Event {
    Upsert(ServiceName),
    Withdraw(BTreeSet<ServiceName>),
    Snapshot(BTreeSet<ServiceName>),
    Wait(Duration),
}

proptest! {
    /// What is applied or held is a copy that is there, nothing is forgotten, and all is over once
    /// the grace period is.
    #[test]
    fn copies_end_up_as_the_peer_has_them(events in vec(event(), 1..60)) {
        let mut now = Instant::now();
        let mut guard = Withdrawals::new(GRACE, []);
        let mut exported: BTreeSet<ServiceName> = BTreeSet::new();
        let mut copies: BTreeSet<ServiceName> = BTreeSet::new();
        for event in events {
            let verdict = match event {
                Event::Upsert(service) => {
                    guard.upsert(service.clone());
                    exported.insert(service.clone());
                    copies.insert(service);
                    continue;
                }
                Event::Withdraw(services) => {
                    exported.retain(|service| !services.contains(service));
                    guard.withdraw(now, services)
                }
                Event::Snapshot(named) => {
                    copies.extend(named.iter().cloned());
                    let verdict = guard.handle_snapshot(now, &named);
                    exported = named;
                    verdict
                }
                Event::Wait(time) => {
                    now += time;
                    for service in guard.handle_timeout(now) {
                        prop_assert!(copies.remove(&service));
                    }
                    prop_assert!(guard.poll_timeout().is_none_or(|due| due > now));
                    continue;
                }
            };
            for service in verdict.apply {
                prop_assert!(copies.remove(&service), "{} was not there", service);
            }
            for service in verdict.held {
                prop_assert!(copies.contains(&service), "{} was not there", service);
            }
            let held = guard.held().map_or(0, |held| held.count);
            prop_assert_eq!(copies.len(), exported.len() + held);
            prop_assert!(copies.is_superset(&exported));
        }
        for service in guard.handle_timeout(now + GRACE) {
            copies.remove(&service);
        }
        prop_assert_eq!(copies, exported);
    }

    /// However a wave is cut into messages, what it removes at once is no large part.
    #[test]
    fn a_wave_removes_less_than_half_at_once(
        known in 5_usize..100,
        messages in vec(1_usize..20, 1..30),
    ) {
        let now = Instant::now();
        let mut guard = Withdrawals::new(GRACE, (0..known).map(service));
        let mut next = 0;
        let mut applied = 0;
        for (n, size) in messages.into_iter().enumerate() {
            let at = now + WINDOW / 100 * u32::try_from(n).expect("it is small");
            applied += guard.withdraw(at, (next..next + size).map(service)).apply.len();
            next += size;
        }
        prop_assert!(applied <= HELD_ABOVE || applied * 2 < known, "{} of {}", applied, known);
    }

    #[test]
    fn slow_changes_by_hand_are_never_held(changes in vec((service_name(), any::<bool>()), 1..60)) {
        let mut now = Instant::now();
        let mut guard = Withdrawals::new(GRACE, []);
        for (service, exported) in changes {
            now += WINDOW / 2;
            if exported {
                guard.upsert(service);
            } else {
                prop_assert!(guard.withdraw(now, [service]).held.is_empty());
            }
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => service_name().prop_map(Event::Upsert),
        2 => btree_set(service_name(), 0..8).prop_map(Event::Withdraw),
        1 => btree_set(service_name(), 0..8).prop_map(Event::Snapshot),
        2 => (0_u64..400).prop_map(|seconds| Event::Wait(Duration::from_secs(seconds))),
    ]
}

fn service_name() -> impl Strategy<Value = ServiceName> {
    (0_usize..10).prop_map(service)
}

fn service(n: usize) -> ServiceName {
    ServiceName::new("demo", format!("s{n:03}"))
}
