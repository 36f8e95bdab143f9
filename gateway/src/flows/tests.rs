use proptest::prelude::*;

use super::*;

const LIMITS: FlowLimits = FlowLimits {
    per_client: 3,
    in_all: 5,
};

#[test]
fn a_question_and_its_answer_are_over_soon() {
    let start = Instant::now();
    let activity = Activity::new(start);

    activity.handle_request(start);
    activity.handle_reply(start + Duration::from_secs(1));

    assert_eq!(activity.expires(), start + Duration::from_secs(31));
}

#[test]
fn a_flow_that_is_answered_for_longer_may_be_idle_for_longer() {
    let start = Instant::now();
    let activity = Activity::new(start);

    activity.handle_reply(start + Duration::from_secs(3));
    activity.handle_request(start + Duration::from_secs(10));

    assert_eq!(activity.expires(), start + Duration::from_secs(130));
}

#[test]
fn a_flow_that_nobody_answers_stays_short() {
    let start = Instant::now();
    let activity = Activity::new(start);

    activity.handle_request(start + Duration::from_secs(100));

    assert_eq!(activity.expires(), start + Duration::from_secs(130));
}

#[test]
fn a_client_at_its_bound_gives_up_its_idlest_flow() {
    let mut table = Table::new(LIMITS);
    for (port, seen) in [(1, 30), (2, 10), (3, 20)] {
        assert_eq!(table.open("10.0.0.1", port, seen), None);
    }
    table.open("10.0.0.2", 9, 0);

    assert_eq!(table.open("10.0.0.1", 4, 40), Some("10.0.0.1:2".to_owned()));
    assert_eq!(table.open("10.0.0.1", 5, 40), Some("10.0.0.1:3".to_owned()));
}

#[test]
fn when_all_are_taken_the_client_with_the_most_gives_up_one() {
    let mut table = Table::new(LIMITS);
    for (port, seen) in [(1, 30), (2, 10), (3, 20)] {
        table.open("10.0.0.1", port, seen);
    }
    table.open("10.0.0.2", 1, 0);
    table.open("10.0.0.2", 2, 0);

    let evicted = table.open("10.0.0.3", 1, 40);

    assert_eq!(evicted, Some("10.0.0.1:2".to_owned()));
}

#[test]
fn a_flow_that_was_replaced_does_not_take_its_successor_along() {
    let mut table = Table::new(LIMITS);
    table.open("10.0.0.1", 1, 0);
    let key = key("10.0.0.1", 1);
    let before = Arc::clone(table.inner.get(&key).unwrap());
    table.inner.remove(&key, &before);
    table.open("10.0.0.1", 1, 0);

    table.inner.remove(&key, &before);

    assert!(table.inner.get(&key).is_some());
}

#[test]
fn a_port_that_is_closed_ends_its_flows_only() {
    let mut table = Table::new(LIMITS);
    table.open("10.0.0.1", 1, 0);
    let other = FlowKey {
        port: 10_001,
        ..key("10.0.0.1", 1)
    };
    let flow = Arc::new("other".to_owned());
    table
        .inner
        .insert(other, flow, Activity::new(Instant::now()));

    let ended = table.inner.remove_port(10_000);

    assert_eq!(ended, [Arc::new("10.0.0.1:1".to_owned())]);
    assert!(table.inner.get(&other).is_some());
}

proptest! {
    #[test]
    fn no_bound_is_ever_passed_and_nobody_is_starved(
        packets in prop::collection::vec((0..6_u8, 0..8_u16, 0..100_u64), 1..200),
    ) {
        let mut table = Table::new(LIMITS);
        for (client, port, seen) in packets {
            let client = format!("10.0.0.{client}");
            if table.inner.get(&key(&client, port)).is_none() {
                table.open(&client, port, seen);
            }
            prop_assert!(table.inner.get(&key(&client, port)).is_some());
            prop_assert!(table.inner.len() <= LIMITS.in_all);
            let of_clients = table.inner.clients.values();
            let counts: Vec<_> = of_clients.map(HashSet::len).collect();
            prop_assert!(counts.iter().all(|count| (1..=LIMITS.per_client).contains(count)));
            prop_assert_eq!(counts.iter().sum::<usize>(), table.inner.len());
        }
    }
}

struct Table {
    inner: FlowTable<String>,
    start: Instant,
}

impl Table {
    fn new(limits: FlowLimits) -> Self {
        Self {
            inner: FlowTable::new(limits),
            start: Instant::now(),
        }
    }

    /// A flow that was seen last so many seconds after the start.
    fn open(&mut self, client: &str, port: u16, seen: u64) -> Option<String> {
        let key = key(client, port);
        let activity = Activity::new(self.start);
        activity.handle_request(self.start + Duration::from_secs(seen));
        let evicted = self
            .inner
            .insert(key, Arc::new(key.client.to_string()), activity);
        evicted.map(|flow| flow.to_string())
    }
}

fn key(client: &str, port: u16) -> FlowKey {
    FlowKey {
        port: 10_000,
        client: SocketAddr::new(client.parse().unwrap(), port),
    }
}
