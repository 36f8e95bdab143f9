use proptest::prelude::*;

use self::world::World;
use super::*;

mod carriers;
mod several;
mod world;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_peer_with_an_address_is_dialled_at_once() {
    let mut world = World::new(&["east:1"]);

    assert_eq!(world.dials(), ["east:1"]);
}

#[test]
fn a_peer_without_an_address_is_waited_for() {
    let mut world = World::new(&[]);

    assert_eq!(world.actions(), []);
    assert_eq!(world.pool.poll_timeout(), None);
    world.inbound("a", 1);
    assert_eq!(world.actions(), [Action::Keep(ConnectionId(0))]);
}

#[test]
fn dials_go_on_until_all_replicas_are_linked() {
    let mut world = World::new(&["east:1"]);

    world.connect("a", 3);
    world.advance(SECOND);
    world.connect("a", 3);
    assert_eq!(world.closed(), [(ConnectionId(1), CloseCode::Duplicate)]);
    world.advance(SECOND);
    world.connect("b", 3);
    world.advance(SECOND);
    world.connect("c", 3);
    world.actions();

    world.advance(60 * SECOND);
    assert_eq!(world.actions(), []);
    assert_eq!(world.pool.poll_timeout(), None);
}

#[test]
fn two_replicas_are_wanted_where_their_number_is_unknown_and_at_most_four() {
    let mut world = World::new(&["east:1"]);
    world.connect("a", 0);
    world.advance(SECOND);
    world.connect("b", 0);
    world.actions();
    world.advance(SECOND);
    assert_eq!(world.dials(), [""; 0]);

    let mut world = World::new(&["east:1"]);
    for replica in ["a", "b", "c", "d"] {
        world.connect(replica, 9);
        if replica != "d" {
            world.advance(SECOND);
        }
    }
    world.actions();
    world.advance(SECOND);
    assert_eq!(world.dials(), [""; 0]);
}

#[test]
fn a_path_that_leads_to_one_replica_only_is_tried_less_and_less() {
    let mut world = World::new(&["east:1"]);
    world.connect("a", 2);

    let mut dials = 0;
    for _ in 0..(60 * 60 * 10) {
        world.advance(SECOND / 10);
        if world.try_connect("a", 2) {
            dials += 1;
        }
    }

    // 16 at once, then one in 15 to 30 seconds.
    assert!((16 + 120..=16 + 242).contains(&dials), "{dials}");
    assert_eq!(world.pool.linked(Carrier::Tcp), 1);
}

#[test]
fn connections_of_the_other_side_count() {
    let mut world = World::new(&["east:1"]);
    world.actions();
    world.inbound("a", 2);
    world.inbound("b", 2);

    // The dial under way leads to a replica that dialled here: a pair may have two connections.
    world.finish_dial(DialId(0), "a", 2);

    assert_eq!(world.closed(), []);
    world.advance(60 * SECOND);
    assert_eq!(world.dials(), [""; 0]);
}

#[test]
fn failed_dials_back_off_with_jitter() {
    let mut world = World::new(&["east:1"]);
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let dial = world.dial_under_way();
        world
            .pool
            .handle_dial_ended(world.now, dial, DialEnd::Failed);
        let (next, what) = world.pool.poll_timeout().unwrap();
        assert_eq!(what, "dial");
        pauses.push(next - world.now);
        world.advance(next - world.now);
    }

    for (doublings, pause) in (0..).zip(pauses) {
        let full = (FIRST_BACKOFF * 2_u32.pow(doublings)).min(MAX_BACKOFF);
        assert!(pause >= full / 2 && pause < full, "{doublings}: {pause:?}");
    }
}

#[test]
fn a_replica_that_turns_diallers_away_does_not_slow_the_way_to_others() {
    let mut world = World::new(&["east:1"]);
    for _ in 0..5 {
        let dial = world.dial_under_way();
        world
            .pool
            .handle_dial_ended(world.now, dial, DialEnd::TurnedAway);
        let (next, _) = world.pool.poll_timeout().unwrap();
        assert!(next - world.now <= FRUITLESS_PAUSE);
        world.advance(next - world.now);
    }
}

#[test]
fn a_lost_connection_is_replaced_soon() {
    let mut world = World::new(&["east:1"]);
    let a = world.connect("a", 2);
    world.advance(SECOND);
    world.connect("b", 2);
    world.advance(SETTLED);
    world.actions();

    world.pool.handle_closed(world.now, a);
    world.advance(LOST_PAUSE);

    assert_eq!(world.dials(), ["east:1"]);
}

#[test]
fn connections_that_do_not_last_are_made_less_and_less_often() {
    let mut world = World::new(&["east:1"]);
    let mut made = 0;
    for _ in 0..600 {
        if world.try_connect("a", 1) {
            let id = ConnectionId(made);
            made += 1;
            world.pool.handle_closed(world.now, id);
        }
        world.advance(SECOND / 10);
    }

    // In a minute: five while the pauses double, then one in 5 to 10 seconds.
    assert!((10..=20).contains(&made), "{made}");
    world.advance(MAX_BACKOFF);
    let lasting = world.connect("a", 1);
    world.advance(SETTLED);
    world.actions();
    world.pool.handle_closed(world.now, lasting);
    world.advance(LOST_PAUSE);
    assert_eq!(world.dials(), ["east:1"]);
}

#[test]
fn the_same_addresses_again_change_nothing() {
    let mut world = World::new(&["east:1"]);
    world.connect("a", 2);
    for _ in 0..40 {
        world.advance(SECOND);
        world.try_connect("a", 2);
    }
    world.actions();

    let again = ["east:1".to_owned()];
    world.pool.handle_addresses(world.now, &again);

    let (next, _) = world.pool.poll_timeout().unwrap();
    assert!(next > world.now + SECOND);
    assert_eq!(world.dials(), [""; 0]);
}

#[test]
fn a_connection_that_goes_away_is_replaced_while_it_lasts() {
    let mut world = World::new(&["east:1"]);
    let a = world.connect("a", 1);
    world.advance(SETTLED);

    world.pool.handle_going_away(world.now, a);
    world.advance(LOST_PAUSE);
    let again = world.connect("a", 1);

    assert_eq!(world.closed(), []);
    world.pool.handle_closed(world.now, a);
    world.advance(SECOND);
    assert_eq!(world.dials(), [""; 0]);
    assert!(world.pool.connections.contains_key(&again));
}

#[test]
fn all_addresses_are_tried_at_once_only_while_nothing_is_linked() {
    let mut world = World::new(&["one:1", "two:1", "three:1", "four:1", "five:1"]);
    assert_eq!(world.dials().len(), PARALLEL_DIALS);

    world.finish_dial(DialId(0), "a", 2);
    for dial in 1..4 {
        world
            .pool
            .handle_dial_ended(world.now, DialId(dial), DialEnd::Failed);
    }
    assert_eq!(world.dials().len(), 1);
}

#[test]
fn resolved_addresses_are_taken_in_turn() {
    let mut world = World::new(&["east:1"]);
    let mut attempts = Vec::new();
    for _ in 0..3 {
        let Some(Action::Dial { dial, attempt, .. }) = world.actions().pop() else {
            panic!("no dial");
        };
        attempts.push(attempt);
        world
            .pool
            .handle_dial_ended(world.now, dial, DialEnd::Failed);
        world.advance(MAX_BACKOFF);
    }

    assert_eq!(attempts, [0, 1, 2]);
}

#[test]
fn a_replica_cannot_pile_up_connections() {
    let mut world = World::new(&[]);
    for _ in 0..=MAX_INBOUND {
        world.inbound("a", 2);
    }
    assert_eq!(world.closed(), [(ConnectionId(0), CloseCode::Superseded)]);

    for replica in 0..200 {
        world.inbound(&format!("r{replica}"), 2);
    }
    assert!(world.pool.connections.len() <= MAX_CONNECTIONS);
}

#[test]
fn a_changed_address_is_dialled_and_a_removed_one_not() {
    let mut world = World::new(&["old:1"]);
    world.actions();

    world
        .pool
        .handle_addresses(world.now, &["new:1".to_owned()]);
    assert_eq!(world.dials(), ["new:1"]);

    // The dial of the old address comes to its end unheard.
    world
        .pool
        .handle_dial_ended(world.now, DialId(0), DialEnd::Failed);
    world.advance(60 * SECOND);
    assert_eq!(world.dials(), [""; 0]);
}

#[test]
fn a_draining_replica_dials_nobody() {
    let mut world = World::new(&["east:1"]);
    let a = world.connect("a", 1);
    world.actions();
    world.pool.handle_drain();

    world.pool.handle_closed(world.now, a);
    world.advance(60 * SECOND);

    assert_eq!(world.dials(), [""; 0]);
    assert_eq!(world.pool.poll_timeout(), None);
}

#[derive(Clone, Debug)]
enum Op {
    Advance(u16),
    Connect(u8),
    Inbound(u8),
    ConnectTunnel(u8),
    EndDial(DialEnd),
    Lose(usize),
    GoAway(usize),
}

proptest! {
    /// Whatever happens, once the path is good the pool reaches every replica and rests.
    #[test]
    fn it_always_converges(ops in proptest::collection::vec(op(), 0..80)) {
        let mut world = World::new(&["one:1", "two:1"]);
        for op in ops {
            world.apply(op);
        }
        for round in 0..400_u32 {
            world.advance(SECOND);
            world.try_connect(["a", "b", "c"][round as usize % 3], 3);
        }
        prop_assert_eq!(world.pool.linked(Carrier::Udp), 3);
        prop_assert_eq!(world.pool.next_retirement(), None);
        world.actions();
        world.advance(60 * SECOND);
        prop_assert_eq!(world.dials(), Vec::<String>::new());
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        any::<u16>().prop_map(Op::Advance),
        (0..3_u8).prop_map(Op::Connect),
        (0..3_u8).prop_map(Op::Inbound),
        Just(Op::EndDial(DialEnd::Failed)),
        Just(Op::EndDial(DialEnd::TurnedAway)),
        Just(Op::EndDial(DialEnd::Unanswered)),
        (0..3_u8).prop_map(Op::ConnectTunnel),
        any::<usize>().prop_map(Op::Lose),
        any::<usize>().prop_map(Op::GoAway),
    ]
}
