//! Several connections to each replica.

use super::*;

#[test]
fn a_linked_replica_is_dialled_beside_until_it_has_enough() {
    let mut world = World::wanting(3, &["east:1"]);
    let first = world.connect("a", 1);

    for _ in 0..2 {
        let [(dial, beside)] = world.dials_beside()[..] else {
            panic!("one dial at a time");
        };
        assert_eq!(beside, first);
        world.arrive("a", 1, Origin::Dialled(dial));
    }

    assert_eq!(world.actions(), [Action::Keep(ConnectionId(2))]);
    assert_eq!(world.pool.count("a"), 3);
    assert_eq!(world.pool.poll_timeout(), None);
}

#[test]
fn only_the_side_that_dialled_dials_beside() {
    let mut world = World::wanting(3, &[]);

    world.inbound("a", 1);

    assert_eq!(world.actions(), [Action::Keep(ConnectionId(0))]);
    assert_eq!(world.pool.poll_timeout(), None);
}

#[test]
fn a_lost_connection_is_replaced_beside_another_one() {
    let mut world = World::wanting(2, &["east:1"]);
    let first = world.connect("a", 1);
    let [(dial, _)] = world.dials_beside()[..] else {
        panic!("a dial");
    };
    let second = world.arrive("a", 1, Origin::Dialled(dial));
    world.actions();
    world.advance(SETTLED);

    world.pool.handle_closed(world.now, first);

    assert_eq!(world.beside(), [second]);
}

#[test]
fn dials_beside_that_fail_back_off() {
    let mut world = World::wanting(2, &["east:1"]);
    world.connect("a", 1);
    for doublings in 0..8 {
        let [(dial, _)] = world.dials_beside()[..] else {
            panic!("a dial");
        };
        world
            .pool
            .handle_dial_ended(world.now, dial, DialEnd::Failed);
        let (next, what) = world.pool.poll_timeout().unwrap();
        assert_eq!(what, "dial beside");
        let full = (FIRST_BACKOFF * 2_u32.pow(doublings)).min(MAX_BACKOFF);
        let pause = next - world.now;
        assert!(pause >= full / 2 && pause < full, "{doublings}: {pause:?}");
        world.advance(pause);
    }
}

#[test]
fn a_path_that_leads_elsewhere_is_tried_less_often() {
    let mut world = World::wanting(2, &["east:1"]);
    world.connect("a", 2);
    let [(dial, _)] = world.dials_beside()[..] else {
        panic!("a dial");
    };
    world.inbound("b", 2);
    world.inbound("b", 2);

    let elsewhere = world.arrive("b", 2, Origin::Dialled(dial));

    assert_eq!(world.closed(), [(elsewhere, CloseCode::Duplicate)]);
    let (next, _) = world.pool.poll_timeout().unwrap();
    assert_eq!(next - world.now, FRUITLESS_LONG_PAUSE);
}

#[test]
fn a_draining_replica_dials_nobody_beside() {
    let mut world = World::wanting(2, &["east:1"]);
    world.pool.handle_drain();

    world.connect("a", 1);

    assert_eq!(world.beside(), []);
    assert_eq!(world.pool.poll_timeout(), None);
}

proptest! {
    /// Whatever happens, once the path is good every replica has enough connections, and not more
    /// than the two sides make at the same time.
    #[test]
    fn it_always_converges(ops in proptest::collection::vec(op(), 0..80)) {
        let mut world = World::wanting(3, &["one:1"]);
        for op in ops {
            world.apply(op);
        }
        for round in 0..400_u32 {
            world.advance(SECOND);
            world.try_connect(["a", "b", "c"][round as usize % 3], 3);
            // Dials from a connection's port lead to the replica of that connection.
            let dials = world.dials_beside();
            for (dial, beside) in dials {
                let replica = world.pool.connections.get(&beside).map(|m| m.replica.to_string());
                match replica {
                    Some(replica) => { world.arrive(&replica, 3, Origin::Dialled(dial)); }
                    None => world.pool.handle_dial_ended(world.now, dial, DialEnd::Failed),
                }
            }
        }
        prop_assert_eq!(world.pool.linked(Carrier::Udp), 3);
        prop_assert_eq!(world.pool.short(), BTreeMap::new());
        prop_assert!(world.pool.connections.len() <= MAX_CONNECTIONS);
    }
}

impl World {
    fn dials_beside(&mut self) -> Vec<(DialId, ConnectionId)> {
        let actions = self.actions().into_iter();
        let beside = |action| match action {
            Action::DialBeside { dial, beside } => Some((dial, beside)),
            Action::Dial { .. } | Action::Keep(_) | Action::Retire(_) | Action::Close(..) => None,
        };
        actions.filter_map(beside).collect()
    }

    fn beside(&mut self) -> Vec<ConnectionId> {
        let dials = self.dials_beside().into_iter();
        dials.map(|(_, beside)| beside).collect()
    }
}
