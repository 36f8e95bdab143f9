use super::*;

const REST: Duration = Duration::from_secs(10);

#[test]
fn all_imports_together_stay_below_the_cap() {
    let mut addresses = Addresses::new(5, REST);

    assert_eq!(addresses.grant(&import("a"), 0, 3), 3);
    assert_eq!(addresses.grant(&import("b"), 0, 3), 2);
    assert_eq!(addresses.grant(&import("c"), 0, 1), 0);

    // Of a's three one is gone.
    assert_eq!(addresses.grant(&import("a"), 2, 0), 0);
    assert_eq!(addresses.grant(&import("c"), 0, 1), 1);
    assert_eq!(addresses.grant(&import("b"), 2, 1), 0);
}

#[test]
fn a_restart_takes_over_what_is_there_even_above_the_cap() {
    let mut addresses = Addresses::new(5, REST);
    addresses.restart([(import("a"), 4), (import("b"), 3)]);

    assert_eq!(addresses.grant(&import("c"), 0, 1), 0);
    assert_eq!(addresses.grant(&import("a"), 4, 1), 0);

    addresses.grant(&import("b"), 0, 0);
    assert_eq!(addresses.grant(&import("c"), 0, 9), 1);
}

#[test]
fn an_address_rests_from_when_it_was_not_needed_first() {
    let mut addresses = Addresses::new(5, REST);
    let start = Instant::now();
    let later = start + Duration::from_secs(1);
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    addresses.rest(&import("a"), names(&["x"]), start);

    let idle = addresses.rest(&import("a"), names(&["x", "y"]), later);

    assert_eq!(idle["x"], start);
    assert_eq!(idle["y"], later);
    assert_eq!(addresses.rested_at(idle["x"]), start + REST);
    addresses.rest(&import("a"), names(&["y"]), later);
    let again = addresses.rest(&import("a"), names(&["x"]), later + REST);
    assert_eq!(again["x"], later + REST, "it was needed meanwhile");
}

fn import(name: &str) -> ServiceName {
    ServiceName::new("demo", name)
}
