use k8s_openapi::jiff::Timestamp;

use super::*;

const REST: Duration = Duration::from_secs(60);
const PORTS: usize = (LAST_IMPORT_PORT - FIRST_IMPORT_PORT) as usize + 1;

#[test]
fn a_port_is_the_same_wherever_it_is_first_allotted() {
    let now = Instant::now();
    let mut one = PortAllotter::new(REST);
    let mut other = PortAllotter::new(REST);
    other.allot(&key("another", 80), now).unwrap();

    // What Tombolo has given to this port since its first version: gateways and derived Services
    // of neighbouring versions agree on it.
    assert_eq!(one.allot(&key("hello", 80), now), Ok(26_264));
    assert_eq!(other.allot(&key("hello", 80), now), Ok(26_264));
    assert_eq!(one.allot(&key("hello", 80), now), Ok(26_264));
    assert_eq!(one.len(), 1);
}

#[test]
fn a_freed_port_comes_back_to_its_owner_at_any_time() {
    let now = Instant::now();
    let mut allotter = PortAllotter::new(REST);
    let port = allotter.allot(&key("hello", 80), now).unwrap();
    for later in [Duration::ZERO, REST / 2, REST * 10] {
        allotter.release(&key("hello", 80), now);
        assert_eq!(allotter.get(&key("hello", 80)), None);
        assert_eq!(allotter.allot(&key("hello", 80), now + later), Ok(port));
    }
}

#[test]
fn a_freed_port_rests_before_another_gets_it() {
    let start = Instant::now();
    let mut allotter = PortAllotter::new(REST);
    let keys: Vec<PortKey> = (0..PORTS).map(|n| key(&format!("s{n}"), 80)).collect();
    for key in &keys {
        allotter.allot(key, start).unwrap();
    }
    assert_eq!(
        allotter.allot(&key("late", 80), start),
        Err(Exhausted {
            allotted: PORTS,
            resting: 0
        })
    );

    let freed = allotter.get(&keys[7]).unwrap();
    allotter.release(&keys[7], start);
    let resting = allotter.allot(&key("late", 80), start + REST - Duration::from_millis(1));
    assert_eq!(
        resting,
        Err(Exhausted {
            allotted: PORTS,
            resting: 1
        })
    );
    assert_eq!(allotter.allot(&key("late", 80), start + REST), Ok(freed));

    let gone = allotter.allot(&keys[7], start + REST);
    assert_eq!(
        gone,
        Err(Exhausted {
            allotted: PORTS,
            resting: 0
        })
    );
}

#[test]
fn what_a_service_no_longer_has_is_freed() {
    let now = Instant::now();
    let mut allotter = PortAllotter::new(REST);
    let others = [key("hell", 80), key("hello2", 80)];
    for key in others.iter().chain(&[key("hello", 80), key("hello", 81)]) {
        allotter.allot(key, now).unwrap();
    }
    let hello = ServiceName::new("demo", "hello");

    allotter.retain(&hello, &[key("hello", 81)], now);
    assert_eq!(allotter.get(&key("hello", 80)), None);
    assert!(allotter.get(&key("hello", 81)).is_some());

    allotter.retain(&hello, &[], now);
    assert_eq!(allotter.get(&key("hello", 81)), None);
    assert!(others.iter().all(|key| allotter.get(key).is_some()));
}

#[test]
fn a_rebuilt_allotter_keeps_what_stands() {
    let claims = [claim("a", 10_000, 1), claim("b", 29_999, 2)];

    let rebuilt = PortAllotter::rebuild(REST, claims.clone());

    assert!(rebuilt.double_claims.is_empty());
    assert!(rebuilt.out_of_range.is_empty());
    let mut allotter = rebuilt.allotter;
    assert_eq!(allotter.len(), 2);
    for claim in claims {
        assert_eq!(
            allotter.allot(&claim.key, Instant::now()),
            Ok(claim.gateway_port)
        );
    }
}

#[test]
fn of_two_claims_the_younger_loses() {
    let older = claim("b", 12_345, 1);
    let younger = claim("a", 12_345, 2);

    let rebuilt = PortAllotter::rebuild(REST, [younger.clone(), older.clone()]);

    assert_eq!(
        rebuilt.double_claims,
        [DoubleClaim {
            gateway_port: 12_345,
            holder: older.key.clone(),
            loser: younger.key.clone()
        }]
    );
    assert_eq!(
        rebuilt.double_claims[0].to_string(),
        "gateway port 12345 of demo/a:80/TCP is also that of demo/b:80/TCP, which is older"
    );
    let mut allotter = rebuilt.allotter;
    assert_eq!(allotter.get(&older.key), Some(12_345));
    assert_eq!(allotter.get(&younger.key), None);
    assert_ne!(allotter.allot(&younger.key, Instant::now()), Ok(12_345));
}

#[test]
fn a_claim_outside_the_range_is_told_and_not_held() {
    let claims = [
        claim("a", 9_999, 1),
        claim("b", 30_000, 2),
        claim("c", 0, 3),
    ];

    let rebuilt = PortAllotter::rebuild(REST, claims.clone());

    assert_eq!(rebuilt.out_of_range, claims);
    assert!(rebuilt.allotter.is_empty());
}

fn key(name: &str, port: u16) -> PortKey {
    PortKey {
        service: ServiceName::new("demo", name),
        endpoint: None,
        protocol: "TCP".to_owned(),
        port,
    }
}

fn claim(name: &str, gateway_port: u16, seconds: i64) -> PortClaim {
    let claimed_at = Time(Timestamp::from_second(seconds).unwrap());
    PortClaim {
        key: key(name, 80),
        gateway_port,
        claimed_at,
    }
}
