use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use proptest::collection::btree_set;
use proptest::prelude::*;

use super::*;

const CLIENTS: u32 = 2_000;

#[test]
fn scores_are_the_same_in_every_release() {
    let client = Client::new("west", ip("10.244.0.5"));

    let scores = [
        client.seed(),
        client.score_of_endpoint(ip("10.244.0.9")),
        client.score_of_endpoint(ip("fd00::9")),
    ];

    let expected = [
        11_172_310_637_759_665_195,
        13_000_244_128_840_724_899,
        6_838_182_557_806_215_176,
    ];
    assert_eq!(scores, expected);
}

#[test]
fn a_client_is_an_address_of_a_cluster_whatever_its_form() {
    let client = Client::new("west", ip("10.0.0.1"));

    assert_eq!(client, Client::new("west", ip("::ffff:10.0.0.1")));
    assert_ne!(client, Client::new("east", ip("10.0.0.1")));
    assert_ne!(client, Client::new("west", ip("10.0.0.2")));
    assert_ne!(client, Client::new("west", ip("fd00::1")));
}

#[test]
fn clients_are_spread_evenly() {
    for count in [2, 3, 10] {
        let candidates = endpoints(0..count);

        let mut shares = BTreeMap::new();
        for client in clients() {
            *shares.entry(first(client, &candidates)).or_insert(0_u32) += 1;
        }

        let even = CLIENTS / u32::from(count);
        assert_eq!(shares.len(), usize::from(count));
        for (candidate, share) in shares {
            assert!(
                share.abs_diff(even) < even / 3,
                "{candidate} of {count} has {share} clients and not about {even}"
            );
        }
    }
}

#[test]
fn equal_scores_are_ordered_too() {
    let mut candidates = vec!["c", "a", "b"];

    keep_highest(&mut candidates, 2, |_| 7);

    assert_eq!(candidates, ["a", "b"]);
}

proptest! {
    #[test]
    fn the_order_of_the_candidates_does_not_matter(
        seed in any::<u32>(),
        candidates in btree_set(any::<u32>(), 1..20),
    ) {
        let forwards: Vec<_> = candidates.iter().copied().map(Ipv4Addr::from).collect();
        let backwards: Vec<_> = forwards.iter().rev().copied().collect();

        prop_assert_eq!(order(client(seed), &forwards, 3), order(client(seed), &backwards, 3));
    }

    #[test]
    fn a_lost_candidate_moves_its_own_clients_only(
        candidates in btree_set(any::<u32>(), 2..20),
        lost in any::<prop::sample::Index>(),
    ) {
        let before: Vec<_> = candidates.iter().copied().map(Ipv4Addr::from).collect();
        let mut after = before.clone();
        let lost = after.remove(lost.index(before.len()));

        for client in clients().take(200) {
            let [winner, second] = order(client, &before, 2)[..] else {
                panic!("less than two candidates")
            };
            // Those of the lost one go where their retries went.
            let expected = if winner == lost { second } else { winner };
            prop_assert_eq!(first(client, &after), expected);
        }
    }

    #[test]
    fn a_new_candidate_takes_its_own_share_only(
        candidates in btree_set(any::<u32>(), 1..20),
        new in any::<u32>(),
    ) {
        let before: Vec<_> = candidates.iter().copied().map(Ipv4Addr::from).collect();
        let new = Ipv4Addr::from(new);
        let after: Vec<_> = before.iter().copied().chain([new]).collect();

        for client in clients().take(200) {
            let winner = first(client, &after);
            prop_assert!(winner == new || winner == first(client, &before));
        }
    }

    #[test]
    fn fewer_are_the_beginning_of_all(
        seed in any::<u32>(),
        candidates in btree_set(any::<u32>(), 1..20),
        count in 0..25_usize,
    ) {
        let candidates: Vec<_> = candidates.into_iter().map(Ipv4Addr::from).collect();

        let all = order(client(seed), &candidates, usize::MAX);

        prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), candidates.len());
        let count = count.min(candidates.len());
        prop_assert_eq!(&order(client(seed), &candidates, count)[..], &all[..count]);
    }
}

#[test]
fn a_lost_one_of_ten_moves_about_a_tenth() {
    let before = endpoints(0..10);
    let after = endpoints(0..9);

    let moved = clients()
        .filter(|client| first(*client, &before) != first(*client, &after))
        .count();

    assert!((150..250).contains(&moved), "{moved} of {CLIENTS}");
}

fn first(client: Client, candidates: &[Ipv4Addr]) -> Ipv4Addr {
    order(client, candidates, 1)[0]
}

fn order(client: Client, candidates: &[Ipv4Addr], count: usize) -> Vec<Ipv4Addr> {
    let mut candidates = candidates.to_vec();
    keep_highest(&mut candidates, count, |address| {
        client.score_of_endpoint((*address).into())
    });
    candidates
}

fn clients() -> impl Iterator<Item = Client> {
    (0..CLIENTS).map(client)
}

fn client(number: u32) -> Client {
    Client::new(
        "west",
        Ipv4Addr::from(0x0a00_0000_u32.wrapping_add(number)).into(),
    )
}

fn endpoints(numbers: std::ops::Range<u16>) -> Vec<Ipv4Addr> {
    numbers
        .map(|number| Ipv4Addr::from(0x0af4_0000 + u32::from(number)))
        .collect()
}

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}
