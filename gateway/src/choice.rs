//! Where a connection goes: which clusters are asked for it, and in which order.
//!
//! ```text
//! rules (TrafficPolicy) ─┐
//! client (place, draw) ──┼─► choose ─► attempts: (subset, cluster, zone) …
//! candidates ────────────┘
//! ```
//!
//! One pure function. Chance comes in by the client's [`Draw`]: with session affinity it is made of
//! the client's address, so that the same client chooses the same way in every gateway; else it is
//! a new one for each connection. Every share is given out by weighted rendezvous hashing, so that
//! a candidate that comes or goes, or whose weight changes, moves no more clients than it must.
//!
//! Endpoints that are equal in all that the policy prefers by form a tier. The nearest tier has all
//! traffic for as long as it is healthy; below the floor it keeps as much as its ready endpoints
//! are of the floor, and the rest goes on to the next tier.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tombolo_catalog::traffic::HealthyFloor;
use tombolo_catalog::{Headcount, Headcounts, Place, TrafficRules};
use tombolo_crds::traffic_policy::Preference;

mod draw;
#[cfg(test)]
mod tests;

pub use draw::Draw;

/// A cluster that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its ID.
    pub cluster: Arc<str>,
    /// Whether it is this very cluster.
    pub own: bool,
    /// The round-trip time to it, if it was measured.
    pub round_trip: Option<Duration>,
    /// Its endpoints by place. `None` if it did not tell: then it counts as an average one.
    pub endpoints: Option<Arc<Headcounts>>,
}

/// Who connects.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where it is.
    pub place: Place,
    /// Its luck.
    pub draw: Draw,
}

/// One cluster to be asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// Which.
    pub cluster: Arc<str>,
    /// Whether it is this very cluster.
    pub own: bool,
    /// The zone whose endpoints are to be taken, as long as any is ready; empty for any zone.
    pub zone: Arc<str>,
    /// Place in [`TrafficRules::subsets`] of the pods that are to be taken.
    pub subset: Option<usize>,
}

/// Endpoints that the policy takes for equally near.
#[derive(Debug, Default)]
struct Tier<'a> {
    groups: Vec<Group<'a>>,
    headcount: Headcount,
}

/// The endpoints of one cluster in one place.
#[derive(Debug)]
struct Group<'a> {
    candidate: &'a Candidate,
    place: Place,
    ready: u32,
}

/// What tells tiers apart: a number for each preference, the nearest least.
type Distance = Vec<u64>;

/// The clusters to ask, in order, until one has opened the connection. Empty if there is none that
/// the policy lets have any traffic.
///
/// A cluster that told of no ready endpoint is asked only if all did: what was told is always a
/// little old, and only the cluster itself can say why it refuses.
#[must_use]
pub fn choose(rules: &TrafficRules, client: &Client, candidates: &[Candidate]) -> Vec<Attempt> {
    let attempts = choose_by_headcount(rules, client, candidates);
    if !attempts.is_empty() {
        return attempts;
    }
    let untold = candidates.iter().map(|candidate| Candidate {
        endpoints: None,
        ..candidate.clone()
    });
    let untold: Vec<_> = untold.collect();
    choose_by_headcount(rules, client, &untold)
}

fn choose_by_headcount(
    rules: &TrafficRules,
    client: &Client,
    candidates: &[Candidate],
) -> Vec<Attempt> {
    let tiers = tiers(rules, client, candidates);
    let mut ordered: Vec<_> = tiers.values().collect();
    if let Some(first) = first_tier(rules, client.draw, &ordered) {
        // The others follow from the nearest on, for when its endpoints do not answer.
        ordered[..=first].rotate_right(1);
    }
    let places: Vec<Attempt> = ordered
        .into_iter()
        .flat_map(|tier| attempts(rules, client.draw, tier))
        .collect();
    if rules.subsets.is_empty() {
        return places;
    }
    let subsets = rules.subsets.iter().enumerate();
    let shares = subsets.map(|(place, subset)| {
        let share = client
            .draw
            .share("subset", &subset.name, subset.weight.into());
        (place, share)
    });
    let in_subset = |subset| {
        let places = places.iter().cloned();
        places.map(move |attempt| Attempt {
            subset: Some(subset),
            ..attempt
        })
    };
    ranked(shares).into_iter().flat_map(in_subset).collect()
}

fn tiers<'a>(
    rules: &TrafficRules,
    client: &Client,
    candidates: &'a [Candidate],
) -> BTreeMap<Distance, Tier<'a>> {
    let assumed = average(candidates);
    let mut tiers: BTreeMap<Distance, Tier<'a>> = BTreeMap::new();
    for candidate in candidates {
        // A cluster without a share takes no part, not even in how healthy a tier is.
        if let Some(weights) = &rules.clusters
            && weights
                .get(&*candidate.cluster)
                .is_none_or(|weight| *weight == 0)
        {
            continue;
        }
        let mut add = |place: &Place, headcount: Headcount| {
            let tier = tiers
                .entry(distance(rules, client, candidate, place))
                .or_default();
            tier.headcount.ready += headcount.ready;
            tier.headcount.total += headcount.total.max(headcount.ready);
            if headcount.ready > 0 {
                tier.groups.push(Group {
                    candidate,
                    place: place.clone(),
                    ready: headcount.ready,
                });
            }
        };
        match &candidate.endpoints {
            Some(places) => places.iter().for_each(|(place, count)| add(place, *count)),
            None => add(&Place::default(), assumed),
        }
    }
    tiers.retain(|_, tier| !tier.groups.is_empty());
    tiers
}

/// What a cluster is taken to have that did not tell.
fn average(candidates: &[Candidate]) -> Headcount {
    let told = candidates
        .iter()
        .filter_map(|candidate| candidate.endpoints.as_ref());
    let ready = told.map(|places| places.values().map(|count| count.ready).sum::<u32>());
    let ready: Vec<u32> = ready.filter(|ready| *ready > 0).collect();
    let clusters = u32::try_from(ready.len()).unwrap_or(u32::MAX).max(1);
    let ready = (ready.iter().sum::<u32>() / clusters).max(1);
    Headcount {
        ready,
        total: ready,
    }
}

fn distance(
    rules: &TrafficRules,
    client: &Client,
    candidate: &Candidate,
    place: &Place,
) -> Distance {
    let elsewhere = |here: &str, there: &str| u64::from(here.is_empty() || here != there);
    let by = |preference: &Preference| match preference {
        Preference::Local => u64::from(!candidate.own),
        Preference::Zone => elsewhere(&client.place.zone, &place.zone),
        Preference::Region => elsewhere(&client.place.region, &place.region),
        Preference::RoundTripTime if candidate.own => 0,
        Preference::RoundTripTime => candidate.round_trip.map_or(u64::MAX, magnitude),
    };
    rules.prefer.iter().map(by).collect()
}

/// Times within a factor of two are equal, or noise would send all traffic to and fro; and so is
/// all below a millisecond.
fn magnitude(round_trip: Duration) -> u64 {
    let millis = u64::try_from(round_trip.as_millis()).unwrap_or(u64::MAX);
    u64::from(u64::BITS - millis.leading_zeros()) + 1
}

/// The tier that this client is for: nearer ones keep what their health allows.
fn first_tier(rules: &TrafficRules, draw: Draw, tiers: &[&Tier<'_>]) -> Option<usize> {
    let health: Vec<f64> = tiers
        .iter()
        .map(|tier| health(rules, tier.headcount))
        .collect();
    // If all together are below the floor, they share all traffic in proportion.
    let all = health.iter().sum::<f64>().min(1.0);
    let luck = draw.uniform("tier") * all;
    let mut given = 0.0;
    let chosen = health.iter().position(|health| {
        given += health;
        luck < given
    });
    chosen.or_else(|| tiers.len().checked_sub(1))
}

/// Which part of all traffic a tier is fit for.
fn health(rules: &TrafficRules, count: Headcount) -> f64 {
    let floor = match rules.floor {
        None => return 1.0,
        Some(HealthyFloor::Count(floor)) => f64::from(floor),
        Some(HealthyFloor::Percent(floor)) => f64::from(count.total) * f64::from(floor) / 100.0,
    };
    (f64::from(count.ready) / floor).min(1.0)
}

/// The clusters of a tier, in this client's order.
fn attempts(rules: &TrafficRules, draw: Draw, tier: &Tier<'_>) -> Vec<Attempt> {
    let mut clusters: BTreeMap<&str, Vec<&Group<'_>>> = BTreeMap::new();
    for group in &tier.groups {
        clusters
            .entry(&group.candidate.cluster)
            .or_default()
            .push(group);
    }
    let shares = clusters.into_iter().map(|(cluster, groups)| {
        let ready: f64 = groups.iter().map(|group| f64::from(group.ready)).sum();
        let weight = match &rules.clusters {
            Some(weights) => weights.get(cluster).copied().map_or(0.0, f64::from),
            None => ready,
        };
        (groups, draw.share("cluster", cluster, weight))
    });
    let by_zone = rules.prefer.iter().any(|preference| match preference {
        Preference::Zone | Preference::Region => true,
        Preference::Local | Preference::RoundTripTime => false,
    });
    let ordered = ranked(shares).into_iter();
    ordered
        .flat_map(|groups| in_zones(draw, groups, by_zone))
        .collect()
}

/// One attempt for a cluster, or one for each of its zones where zones matter.
fn in_zones(draw: Draw, groups: Vec<&Group<'_>>, by_zone: bool) -> Vec<Attempt> {
    let attempt = |group: &Group<'_>, zone: Arc<str>| Attempt {
        cluster: Arc::clone(&group.candidate.cluster),
        own: group.candidate.own,
        zone,
        subset: None,
    };
    if !by_zone {
        let first = groups.into_iter().take(1);
        return first.map(|group| attempt(group, Arc::default())).collect();
    }
    let shares = groups.into_iter().map(|group| {
        let share = draw.share("zone", &group.place.zone, group.ready.into());
        (attempt(group, Arc::clone(&group.place.zone)), share)
    });
    ranked(shares)
}

/// By share, the best first; without those that have none.
fn ranked<T>(shares: impl Iterator<Item = (T, Option<f64>)>) -> Vec<T> {
    let mut shares: Vec<_> = shares
        .filter_map(|(item, share)| Some((item, share?)))
        .collect();
    // Stable, and what comes in is in the order of its name.
    shares.sort_by(|(_, a), (_, b)| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    shares.into_iter().map(|(item, _)| item).collect()
}
