//! TCP where UDP is not answered, and back.

use super::*;

#[test]
fn silence_over_udp_is_answered_by_a_dial_over_tcp_to_the_same_address() {
    let mut world = World::new(&["silent:1", "refusing:1"]);
    let silent = world.dial_of("silent:1");
    let refusing = world.dial_of("refusing:1");
    assert_eq!(world.tunnels(), [""; 0]);

    world.end(refusing, DialEnd::Failed);
    assert_eq!(world.tunnels(), [""; 0]);
    world.end(silent, DialEnd::Unanswered);

    assert_eq!(world.tunnels(), ["silent:1"]);
}

#[test]
fn without_a_fallback_silence_is_only_silence() {
    let mut world = World::new(&["east:1"]);
    world.pool.fallback = false;

    world.go_unanswered();

    world.advance(60 * SECOND);
    assert_eq!(world.tunnels(), [""; 0]);
}

#[test]
fn one_replica_that_is_reached_over_udp_is_reason_enough_for_no_tunnel() {
    let mut world = World::new(&["east:1"]);
    world.connect("a", 2);
    world.advance(SETTLED);

    for _ in 0..10 {
        world.go_unanswered();
        world.advance(MAX_BACKOFF);
    }

    assert_eq!(world.tunnels(), [""; 0]);
    assert_eq!(world.pool.unanswered_since(), None);
}

#[test]
fn udp_is_tried_on_and_on_while_tcp_carries_the_link() {
    let mut world = World::new(&["east:1"]);
    world.go_unanswered();
    let since = world.now;
    world.connect_tunnel("a", 1);
    world.actions();

    let mut tries = 0;
    for _ in 0..600 {
        world.advance(SECOND);
        if world.pool.targets.under_way(Carrier::Udp).is_some() {
            tries += 1;
            world.go_unanswered();
        }
    }

    // In ten minutes: once in 5 to 10 seconds, the first few sooner.
    assert!((60..=130).contains(&tries), "{tries}");
    assert_eq!(world.pool.unanswered_since(), Some(since));
    assert_eq!(world.pool.linked(Carrier::Tcp), 1);
    assert_eq!(world.pool.linked(Carrier::Udp), 0);
}

#[test]
fn tunnels_are_dialled_until_all_replicas_are_linked() {
    let mut world = World::new(&["east:1"]);
    world.go_unanswered();

    world.connect_tunnel("a", 2);
    world.advance(SECOND);
    let again = world.connect_tunnel("a", 2);
    assert_eq!(world.closed(), [(again, CloseCode::Duplicate)]);
    world.advance(SECOND);
    world.connect_tunnel("b", 2);
    world.actions();

    world.advance(60 * SECOND);
    assert_eq!(world.tunnels(), [""; 0]);
}

#[test]
fn a_tunnel_has_no_other_beside_it() {
    let mut world = World::wanting(3, &["east:1"]);
    world.go_unanswered();

    world.connect_tunnel("a", 1);

    let beside = |action: &Action| matches!(action, Action::DialBeside { .. });
    assert!(!world.actions().iter().any(beside));
    // From a UDP connection on, all is as ever.
    world.advance(MAX_BACKOFF);
    world.connect("a", 1);
    assert!(world.actions().iter().any(beside));
}

#[test]
fn a_tunnel_is_retired_once_udp_to_the_same_replica_has_proven_good() {
    let mut world = World::new(&["east:1"]);
    world.go_unanswered();
    let to_a = world.connect_tunnel("a", 2);
    world.advance(SECOND);
    world.connect_tunnel("b", 2);
    world.advance(MAX_BACKOFF);
    world.actions();

    world.connect("a", 2);
    assert_eq!(world.pool.unanswered_since(), None);
    world.advance(SETTLED - SECOND / 10);
    assert_eq!(world.retired(), []);
    let (next, what) = world.pool.poll_timeout().unwrap();
    assert_eq!(what, "retire");
    world.advance(next - world.now);

    assert_eq!(world.retired(), [to_a]);
    world.pool.handle_going_away(world.now, to_a);
    world.pool.handle_closed(world.now, to_a);
    world.advance(60 * SECOND);
    assert_eq!(world.retired(), [], "b is not reached over UDP yet");
    assert_eq!(world.tunnels(), [""; 0]);
}

#[test]
fn a_path_that_takes_a_handshake_and_nothing_more_retires_no_tunnel() {
    let mut world = World::new(&["east:1"]);
    world.go_unanswered();
    world.connect_tunnel("a", 1);
    for _ in 0..20 {
        world.advance(MAX_BACKOFF);
        let over_udp = world.connect("a", 1);
        world.advance(SETTLED / 2);
        world.pool.handle_closed(world.now, over_udp);
    }

    assert_eq!(world.retired(), []);
    assert_eq!(world.pool.linked(Carrier::Tcp), 1);
}

#[test]
fn the_other_sides_tunnel_to_a_replica_linked_over_udp_is_retired() {
    let mut world = World::new(&[]);
    world.inbound("a", 1);
    world.advance(SETTLED);

    let tunnel = world.arrive_over(Carrier::Tcp, "a", 1, Origin::Inbound);
    let other = world.arrive_over(Carrier::Tcp, "b", 1, Origin::Inbound);

    world.advance(SECOND);
    assert_eq!(world.retired(), [tunnel]);
    world.advance(60 * SECOND);
    assert_eq!(world.retired(), [], "{other:?} is all that there is to b");
}

#[test]
fn a_tunnel_that_comes_too_late_is_closed() {
    let mut world = World::new(&["east:1"]);
    world.go_unanswered();
    world.advance(SECOND);
    world.connect("a", 1);
    world.actions();

    let late = world.connect_tunnel("a", 1);

    assert_eq!(world.closed(), [(late, CloseCode::Duplicate)]);
}

#[test]
fn when_udp_is_blocked_under_a_link_tcp_takes_over() {
    let mut world = World::new(&["east:1"]);
    let over_udp = world.connect("a", 1);
    world.advance(60 * SECOND);
    world.actions();

    world.pool.handle_closed(world.now, over_udp);
    world.advance(LOST_PAUSE);
    assert_eq!(world.tunnels(), [""; 0]);
    world.go_unanswered();

    assert_eq!(world.tunnels(), ["east:1"]);
}

#[test]
fn tunnels_that_fail_back_off() {
    let mut world = World::new(&["east:1"]);
    world.go_unanswered();
    let mut dials = 0;
    for _ in 0..600 {
        if let Some(dial) = world.pool.targets.under_way(Carrier::Tcp) {
            dials += 1;
            world.end(dial, DialEnd::Failed);
        }
        world.advance(SECOND / 10);
    }

    // In a minute: six while the pauses double, then one in 5 to 10 seconds.
    assert!((10..=20).contains(&dials), "{dials}");
}

#[test]
fn a_draining_replica_dials_no_tunnel() {
    let mut world = World::new(&["east:1"]);
    world.pool.handle_drain();

    world.go_unanswered();

    world.advance(60 * SECOND);
    assert_eq!(world.tunnels(), [""; 0]);
    assert_eq!(world.pool.poll_timeout(), None);
}

impl World {
    fn dial_of(&mut self, wanted: &str) -> DialId {
        // The first dials begin in the order of the addresses.
        let addresses = self.pool.targets.addresses();
        let index = addresses.iter().position(|address| address == wanted);
        DialId(index.expect("it is an address") as u64)
    }

    fn end(&mut self, dial: DialId, end: DialEnd) {
        self.pool.handle_dial_ended(self.now, dial, end);
    }

    /// Ends the dial over UDP that is under way.
    fn go_unanswered(&mut self) {
        let dial = self.dial_under_way();
        self.end(dial, DialEnd::Unanswered);
    }

    /// Ends the dial over TCP that is under way with a connection to `replica`.
    fn connect_tunnel(&mut self, replica: &str, siblings: u32) -> ConnectionId {
        let dial = self.pool.targets.under_way(Carrier::Tcp);
        self.finish_dial(dial.expect("a dial over TCP"), replica, siblings)
    }

    fn tunnels(&mut self) -> Vec<String> {
        let actions = self.actions().into_iter();
        let address = |action| {
            let Action::Dial {
                address,
                carrier: Carrier::Tcp,
                ..
            } = action
            else {
                return None;
            };
            Some(address)
        };
        actions.filter_map(address).collect()
    }

    fn retired(&mut self) -> Vec<ConnectionId> {
        let actions = self.actions().into_iter();
        let retired = |action| {
            let Action::Retire(id) = action else {
                return None;
            };
            Some(id)
        };
        actions.filter_map(retired).collect()
    }
}
