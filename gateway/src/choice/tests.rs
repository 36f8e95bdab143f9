use std::collections::BTreeSet;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use tombolo_catalog::traffic::SubsetRule;

use super::*;

const CLIENTS: u64 = 4_000;
/// Five standard deviations of a share of one half of [`CLIENTS`].
const TOLERANCE: f64 = 0.04;

#[test]
fn without_a_policy_clusters_are_weighed_by_ready_endpoints() {
    let candidates = [cluster("east", &[("a", 3)]), cluster("south", &[("b", 1)])];

    let shares = shares(&TrafficRules::default(), &candidates);

    assert_close(&shares, &[("east", 0.75), ("south", 0.25)]);
}

#[test]
fn a_cluster_that_did_not_tell_counts_as_an_average_one() {
    let candidates = [
        cluster("east", &[("a", 6)]),
        cluster("south", &[("b", 2)]),
        Candidate {
            endpoints: None,
            ..cluster("north", &[])
        },
    ];

    let shares = shares(&TrafficRules::default(), &candidates);

    assert_close(
        &shares,
        &[("east", 0.5), ("south", 1.0 / 6.0), ("north", 1.0 / 3.0)],
    );
}

#[test]
fn if_no_cluster_told_of_a_ready_endpoint_all_are_asked() {
    let none = [cluster("east", &[("a", 0)]), cluster("north", &[])];
    let one = [cluster("east", &[("a", 0)]), cluster("north", &[("a", 1)])];
    let rules = TrafficRules::default();
    let asked = |candidates: &[Candidate]| {
        let attempts = choose(&rules, &client("a", 1), candidates);
        let mut asked = clusters(&attempts)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        asked.sort();
        asked
    };

    assert_eq!(asked(&none), ["east", "north"]);
    assert_eq!(asked(&one), ["north"]);
}

#[test]
fn local_endpoints_are_preferred_and_the_others_follow_as_retries() {
    let candidates = [cluster("east", &[("a", 50)]), own("west", &[("a", 1)])];
    let rules = prefer(&[Preference::Local]);

    for draw in 0..100 {
        let attempts = choose(&rules, &client("a", draw), &candidates);
        assert_eq!(clusters(&attempts), ["west", "east"]);
    }
}

#[test]
fn the_nearest_zone_is_preferred_then_the_region_then_the_round_trip_time() {
    let far = |name: &str, millis| Candidate {
        round_trip: Some(Duration::from_millis(millis)),
        ..cluster(name, &[("z", 1)])
    };
    let mut same_region = cluster("region", &[]);
    let place = Place {
        region: "r".into(),
        zone: "b".into(),
    };
    same_region.endpoints = Some(Arc::new([(place, ready(1))].into()));
    let candidates = [
        far("far", 80),
        far("near", 9),
        same_region,
        cluster("zone", &[("a", 1)]),
    ];
    let rules = prefer(&[
        Preference::Zone,
        Preference::Region,
        Preference::RoundTripTime,
    ]);
    let client = Client {
        place: Place {
            region: "r".into(),
            zone: "a".into(),
        },
        draw: Draw::new(1),
    };

    let attempts = choose(&rules, &client, &candidates);

    assert_eq!(clusters(&attempts), ["zone", "region", "near", "far"]);
    assert_eq!(&*attempts[0].zone, "a");
}

#[test]
fn of_one_cluster_the_endpoints_in_the_clients_zone_come_first() {
    let candidates = [cluster("east", &[("a", 1), ("b", 9)])];

    let attempts = choose(&prefer(&[Preference::Zone]), &client("a", 7), &candidates);

    let zones: Vec<&str> = attempts.iter().map(|attempt| &*attempt.zone).collect();
    assert_eq!(zones, ["a", "b"]);
}

#[test]
fn a_place_that_is_not_known_is_near_to_nothing() {
    let candidates = [cluster("east", &[("", 1)]), cluster("south", &[("b", 1)])];

    let shares = shares_of(&prefer(&[Preference::Zone]), "", &candidates);

    assert_close(&shares, &[("east", 0.5), ("south", 0.5)]);
}

#[test]
fn round_trip_times_within_a_factor_of_two_are_equal() {
    let times = [0, 1, 5, 7, 8, 15, 16].map(|millis| magnitude(Duration::from_millis(millis)));

    assert_eq!(times, [1, 2, 4, 4, 5, 5, 6]);
}

#[test]
fn below_its_floor_a_tier_gives_traffic_away_step_by_step() {
    let mut rules = prefer(&[Preference::Local]);
    rules.floor = Some(HealthyFloor::Percent(80));
    for (ready, share) in [
        (10, 1.0),
        (8, 1.0),
        (6, 0.75),
        (4, 0.5),
        (2, 0.25),
        (0, 0.0),
    ] {
        let candidates = [
            of(own("west", &[]), ready, 10),
            cluster("east", &[("a", 10)]),
        ];

        let shares = shares(&rules, &candidates);

        assert_close(&shares, &[("west", share), ("east", 1.0 - share)]);
    }
}

#[test]
fn a_floor_may_be_a_number_of_endpoints() {
    let mut rules = prefer(&[Preference::Local]);
    rules.floor = Some(HealthyFloor::Count(4));
    let candidates = [of(own("west", &[]), 1, 1), cluster("east", &[("a", 9)])];

    assert_close(
        &shares(&rules, &candidates),
        &[("west", 0.25), ("east", 0.75)],
    );
}

#[test]
fn tiers_that_are_all_below_the_floor_share_all_traffic() {
    let mut rules = prefer(&[Preference::Local]);
    rules.floor = Some(HealthyFloor::Percent(100));
    let candidates = [of(own("west", &[]), 1, 10), of(cluster("east", &[]), 3, 10)];

    assert_close(
        &shares(&rules, &candidates),
        &[("west", 0.25), ("east", 0.75)],
    );
}

#[test]
fn a_subset_has_its_share_and_the_other_is_its_retry() {
    let rules = TrafficRules {
        subsets: vec![subset("v1", 90), subset("v2", 10), subset("v3", 0)],
        ..TrafficRules::default()
    };
    let candidates = [cluster("east", &[("a", 1)])];

    let mut first = BTreeMap::new();
    for draw in 0..CLIENTS {
        let attempts = choose(&rules, &client("a", draw), &candidates);
        assert_eq!(attempts.len(), 2, "{attempts:?}");
        *first.entry(attempts[0].subset.unwrap()).or_insert(0.0) += 1.0;
    }

    assert!(
        (first[&0] / count(CLIENTS) - 0.9).abs() < TOLERANCE,
        "{first:?}"
    );
}

#[test]
fn draws_are_the_same_in_every_release() {
    let attempts = |draw| {
        let candidates = [cluster("a", &[("", 1)]), cluster("b", &[("", 1)])];
        clusters(&choose(
            &TrafficRules::default(),
            &client("", draw),
            &candidates,
        ))
        .join("")
    };

    let drawn: Vec<_> = (0..8).map(attempts).collect();

    assert_eq!(drawn.join(" "), "ab ab ba ba ab ab ab ab");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn weights_hold(weights in btree_map("[a-e]", 0_u32..10, 1..5)) {
        let sum: u32 = weights.values().sum();
        prop_assume!(sum > 0);
        let candidates: Vec<_> = weights.keys().map(|name| cluster(name, &[("a", 1)])).collect();
        let rules = TrafficRules { clusters: Some(weights.clone()), ..TrafficRules::default() };

        let shares = shares(&rules, &candidates);

        for (name, weight) in weights {
            let share = shares.get(name.as_str()).copied().unwrap_or(0.0);
            let expected = f64::from(weight) / f64::from(sum);
            prop_assert!((share - expected).abs() < TOLERANCE, "{name}: {share}, not {expected}");
            prop_assert!(weight > 0 || share == 0.0);
        }
    }

    #[test]
    fn each_cluster_with_a_ready_endpoint_is_asked_in_the_end_and_no_other(
        rules in any_rules(),
        candidates in any_candidates(),
        seed in any::<u64>(),
    ) {
        let attempts = choose(&rules, &client("a", seed), &candidates);

        let mut asked = BTreeSet::new();
        for attempt in &attempts {
            prop_assert!(asked.insert((attempt.subset, &attempt.cluster, &attempt.zone)), "twice");
        }
        let weighed = |candidate: &Candidate| {
            rules.clusters.as_ref().is_none_or(|weights| {
                weights.get(&*candidate.cluster).is_some_and(|weight| *weight > 0)
            })
        };
        let ready = |candidate: &Candidate| {
            candidate.endpoints.as_ref().is_none_or(|places| {
                places.values().any(|count| count.ready > 0)
            })
        };
        let any = candidates.iter().any(|candidate| weighed(candidate) && ready(candidate));
        for candidate in &candidates {
            let expected = weighed(candidate) && (ready(candidate) || !any);
            let asked = attempts.iter().any(|attempt| attempt.cluster == candidate.cluster);
            prop_assert_eq!(asked, expected, "{}", candidate.cluster);
        }
    }

    #[test]
    fn no_cluster_with_a_share_starves(
        candidates in any_candidates(),
    ) {
        let ready: u32 = candidates.iter().map(ready_of).sum();
        prop_assume!(ready > 0);

        let shares = shares(&TrafficRules::default(), &candidates);

        for candidate in &candidates {
            let expected = f64::from(ready_of(candidate)) / f64::from(ready);
            let share = shares.get(&*candidate.cluster).copied().unwrap_or(0.0);
            prop_assert!((share - expected).abs() < TOLERANCE, "{share}, not {expected}");
        }
    }

    #[test]
    fn a_client_moves_only_from_a_cluster_that_lost_and_to_one_that_won(
        candidates in any_candidates(),
        changed in any::<prop::sample::Index>(),
        to in 0_u32..12,
    ) {
        let rules = TrafficRules::default();
        let mut after = candidates.clone();
        let changed = changed.index(after.len());
        let before_ready = ready_of(&after[changed]);
        after[changed] = cluster(&after[changed].cluster, &[("a", to)]);
        let name = Arc::clone(&after[changed].cluster);
        let any_ready = |candidates: &[Candidate]| candidates.iter().any(|one| ready_of(one) > 0);
        prop_assume!(any_ready(&candidates) && any_ready(&after));

        for draw in 0..200 {
            let [old, new] = [&candidates, &after].map(|candidates| {
                let attempts = choose(&rules, &client("a", draw), candidates);
                attempts.first().map(|attempt| Arc::clone(&attempt.cluster))
            });
            if old != new {
                let won = to >= before_ready && new.as_ref() == Some(&name);
                let lost = to <= before_ready && old.as_ref() == Some(&name);
                prop_assert!(won || lost, "{old:?} to {new:?}, but {name} changed");
            }
        }
    }

    #[test]
    fn spill_over_is_gradual(total in 5_u32..40, floor in 10_u32..=100) {
        let mut rules = prefer(&[Preference::Local]);
        rules.floor = Some(HealthyFloor::Percent(floor));
        let local = |ready| {
            let candidates = [of(own("west", &[]), ready, total), cluster("east", &[("a", 50)])];
            let stays = |draw: &u64| {
                choose(&rules, &client("a", *draw), &candidates)[0].own
            };
            (0..1_000).filter(stays).collect::<BTreeSet<u64>>()
        };

        let mut before = local(total);
        prop_assert_eq!(before.len(), 1_000);
        for ready in (0..total).rev() {
            let now = local(ready);
            prop_assert!(now.is_subset(&before), "some clients came back");
            // One endpoint less moves its own share, measured by the floor, and a little chance.
            let step = 1_000.0 / (f64::from(total) * f64::from(floor) / 100.0);
            let moved = f64::from(u32::try_from(before.len() - now.len()).unwrap());
            prop_assert!(moved <= step + 75.0, "{moved} moved, not about {step}");
            before = now;
        }
    }
}

fn any_rules() -> impl Strategy<Value = TrafficRules> {
    let preference = prop_oneof![
        Just(Preference::Local),
        Just(Preference::Zone),
        Just(Preference::Region),
        Just(Preference::RoundTripTime),
    ];
    let floor = prop_oneof![
        Just(None),
        (1_u32..20).prop_map(|count| Some(HealthyFloor::Count(count))),
        (1_u32..=100).prop_map(|percent| Some(HealthyFloor::Percent(percent))),
    ];
    let clusters = prop::option::of(btree_map("[a-f]", 0_u32..3, 1..6));
    (vec(preference, 0..4), floor, clusters, 0_usize..3).prop_map(
        |(prefer, floor, clusters, subsets)| TrafficRules {
            prefer,
            floor,
            clusters,
            subsets: (0..subsets).map(|n| subset(&format!("v{n}"), 1)).collect(),
            ..TrafficRules::default()
        },
    )
}

fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let places = btree_map("[abc]", 0_u32..12, 0..3);
    let clusters = btree_map("[a-f]", places, 1..6);
    clusters.prop_map(|clusters| {
        let one = |(name, places): (String, BTreeMap<String, u32>)| {
            let places: Vec<_> = places.iter().map(|(zone, n)| (zone.as_str(), *n)).collect();
            Candidate {
                own: name == "a",
                ..cluster(&name, &places)
            }
        };
        clusters.into_iter().map(one).collect()
    })
}

/// Which part of many clients asks each cluster first.
fn shares(rules: &TrafficRules, candidates: &[Candidate]) -> BTreeMap<String, f64> {
    shares_of(rules, "a", candidates)
}

fn shares_of(rules: &TrafficRules, zone: &str, candidates: &[Candidate]) -> BTreeMap<String, f64> {
    let mut shares = BTreeMap::new();
    for draw in 0..CLIENTS {
        if let Some(first) = choose(rules, &client(zone, draw), candidates).first() {
            *shares.entry(first.cluster.to_string()).or_insert(0.0) += 1.0 / count(CLIENTS);
        }
    }
    shares
}

fn assert_close(shares: &BTreeMap<String, f64>, expected: &[(&str, f64)]) {
    for (cluster, expected) in expected {
        let share = shares.get(*cluster).copied().unwrap_or(0.0);
        assert!(
            (share - expected).abs() < TOLERANCE,
            "{cluster}: {shares:?}"
        );
        assert!(*expected > 0.0 || share == 0.0, "{cluster}: {shares:?}");
    }
}

fn cluster(name: &str, zones: &[(&str, u32)]) -> Candidate {
    let places = zones.iter().map(|(zone, count)| {
        let place = Place {
            region: Arc::default(),
            zone: (*zone).into(),
        };
        (place, ready(*count))
    });
    Candidate {
        cluster: name.into(),
        own: false,
        round_trip: None,
        endpoints: Some(Arc::new(places.collect())),
    }
}

fn own(name: &str, zones: &[(&str, u32)]) -> Candidate {
    Candidate {
        own: true,
        ..cluster(name, zones)
    }
}

fn of(candidate: Candidate, ready: u32, total: u32) -> Candidate {
    let places = [(Place::default(), Headcount { ready, total })].into();
    Candidate {
        endpoints: Some(Arc::new(places)),
        ..candidate
    }
}

fn ready(count: u32) -> Headcount {
    Headcount {
        ready: count,
        total: count,
    }
}

fn ready_of(candidate: &Candidate) -> u32 {
    let places = candidate.endpoints.as_ref().unwrap();
    places.values().map(|count| count.ready).sum()
}

fn client(zone: &str, draw: u64) -> Client {
    Client {
        place: Place {
            region: Arc::default(),
            zone: zone.into(),
        },
        draw: Draw::new(draw),
    }
}

fn prefer(prefer: &[Preference]) -> TrafficRules {
    TrafficRules {
        prefer: prefer.to_vec(),
        ..TrafficRules::default()
    }
}

fn subset(name: &str, weight: u32) -> SubsetRule {
    SubsetRule {
        name: name.to_owned(),
        labels: Arc::default(),
        weight,
    }
}

fn clusters(attempts: &[Attempt]) -> Vec<&str> {
    attempts.iter().map(|attempt| &*attempt.cluster).collect()
}

fn count(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}
