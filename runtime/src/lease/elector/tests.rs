use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn who_may_hold_it() {
    let start = Instant::now();
    let seen = |holder: &str, seconds: i32| Some(sighting(&lease(holder, seconds, 1), None, start));
    let table = [
        ("no such object", None, 0, Decision::Acquire),
        ("nobody's", seen("", 15), 0, Decision::Acquire),
        ("one's own", seen("me", 15), 0, Decision::Renew),
        ("one's own, expired", seen("me", 15), 99, Decision::Renew),
        (
            "another's",
            seen("other", 15),
            0,
            Decision::Wait(start + 15 * SECOND),
        ),
        (
            "another's, just in time",
            seen("other", 15),
            14,
            Decision::Wait(start + 15 * SECOND),
        ),
        (
            "another's, expired",
            seen("other", 15),
            15,
            Decision::Acquire,
        ),
        (
            "another's, without duration",
            seen("other", 0),
            0,
            Decision::Acquire,
        ),
        (
            "another's, of no duration",
            seen("other", -7),
            0,
            Decision::Acquire,
        ),
        (
            "another's, for very long",
            seen("other", i32::MAX),
            99,
            Decision::Wait(start + i32::MAX.unsigned_abs() * SECOND),
        ),
    ];
    for (name, lease, seconds, decision) in table {
        assert_eq!(
            evaluate(lease.as_ref(), "me", start + seconds * SECOND),
            decision,
            "{name}"
        );
    }
}

#[test]
fn only_a_change_is_a_sign_of_life() {
    let start = Instant::now();
    let first = sighting(&lease("other", 15, 1), None, start);

    let same = sighting(&lease("other", 15, 1), Some(&first), start + 10 * SECOND);
    assert_eq!(
        evaluate(Some(&same), "me", start + 15 * SECOND),
        Decision::Acquire
    );

    let renewed = sighting(&lease("other", 15, 2), Some(&first), start + 10 * SECOND);
    let expiry = start + 25 * SECOND;
    assert_eq!(
        evaluate(Some(&renewed), "me", start + 15 * SECOND),
        Decision::Wait(expiry)
    );
}

#[test]
fn what_a_clock_elsewhere_says_means_nothing() {
    let start = Instant::now();
    for renewed in [0, i64::from(i32::MAX)] {
        let seen = sighting(&lease("other", 15, renewed), None, start);
        assert_eq!(
            evaluate(Some(&seen), "me", start),
            Decision::Wait(start + 15 * SECOND)
        );
        assert_eq!(
            evaluate(Some(&seen), "me", start + 15 * SECOND),
            Decision::Acquire
        );
    }
}

#[test]
fn a_change_of_hands_is_counted_and_a_renewal_is_not() {
    let timing = Timing {
        duration: Duration::from_millis(1500),
        ..Timing::default()
    };
    let wall = |seconds| Timestamp::from_second(seconds).unwrap();
    let start = Instant::now();

    let first = Sighting::held(None, "me", &timing, wall(100));
    assert_eq!(first.lease_transitions, Some(0));
    assert_eq!(first.acquire_time, Some(MicroTime(wall(100))));
    assert_eq!(
        first.lease_duration_seconds,
        Some(2),
        "others must not round down"
    );

    let mine = sighting(&with(first), None, start);
    let renewed = Sighting::held(Some(&mine), "me", &timing, wall(105));
    assert_eq!(renewed.lease_transitions, Some(0));
    assert_eq!(renewed.acquire_time, Some(MicroTime(wall(100))));
    assert_eq!(renewed.renew_time, Some(MicroTime(wall(105))));

    let taken = Sighting::held(Some(&mine), "other", &timing, wall(200));
    assert_eq!(taken.lease_transitions, Some(1));
    assert_eq!(taken.acquire_time, Some(MicroTime(wall(200))));

    let released = sighting(&with(mine.released(wall(300))), None, start);
    assert_eq!(evaluate(Some(&released), "other", start), Decision::Acquire);
    let taken = Sighting::held(Some(&released), "other", &timing, wall(301));
    assert_eq!(taken.lease_transitions, Some(1));
}

fn sighting(lease: &Lease, previous: Option<&Sighting>, now: Instant) -> Sighting {
    Sighting::of(lease, previous, now)
}

fn lease(holder: &str, seconds: i32, renewed: i64) -> Lease {
    with(LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(seconds),
        renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
        ..LeaseSpec::default()
    })
}

fn with(spec: LeaseSpec) -> Lease {
    Lease {
        metadata: ObjectMeta::default(),
        spec: Some(spec),
    }
}
