//! The endpoints behind one port: which of them a connection is for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::{ATTEMPTS, Cost, Load, single};
use crate::affinity::{self, Client};

/// What a connection asks of its endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Whose it is, if that is known.
    pub client: Option<Client>,
    /// Whether it is to stay with its endpoint; `None`: as the service says.
    pub affinity: Option<bool>,
    /// Labels that the pod must have.
    pub selector: &'a BTreeMap<String, String>,
    /// The zone whose endpoints come first; empty for none.
    pub zone: &'a str,
}

/// An endpoint that may be dialled.
#[derive(Clone, Debug)]
pub struct Picked {
    /// Where it is.
    pub address: SocketAddr,
    /// What is known of it.
    pub load: Arc<Load>,
}

#[derive(Debug, Default)]
pub(super) struct Target {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) unready: BTreeSet<SocketAddr>,
    /// Those that take traffic, or still do what they began before they end. Of UDP only: flows have
    /// to be told when their endpoint has left.
    pub(super) serving: BTreeSet<SocketAddr>,
    // They outlive the snapshot as the endpoints do.
    pub(super) loads: HashMap<SocketAddr, Arc<Load>>,
    pub(super) affinity: bool,
    /// Of a headless service only.
    pub(super) by_id: single::ById,
    // Outlives the snapshot, or the first endpoint would be first after each change.
    pub(super) cursor: Arc<AtomicUsize>,
}

// === impl Target ===

impl Target {
    /// At most [`ATTEMPTS`] of the permitted endpoints, the near ones first.
    pub(super) fn pick(
        &self,
        wish: &Wish<'_>,
        now: Instant,
        is_permitted: impl Fn(&SocketAddr) -> bool,
        is_near: impl Fn(&SocketAddr) -> bool,
    ) -> Vec<Picked> {
        let mut picked = match wish.zone {
            "" => self.in_order(wish, now, &is_permitted),
            _ => self.in_order(wish, now, |address| {
                is_permitted(address) && is_near(address)
            }),
        };
        if !wish.zone.is_empty() && picked.len() < ATTEMPTS {
            picked.extend(self.in_order(wish, now, |address| {
                is_permitted(address) && !is_near(address)
            }));
            picked.truncate(ATTEMPTS);
        }
        picked
            .into_iter()
            .map(|address| self.picked(address))
            .collect()
    }

    /// An endpoint, with what is known of it.
    pub(super) fn picked(&self, address: SocketAddr) -> Picked {
        Picked {
            address,
            load: self.loads.get(&address).cloned().unwrap_or_default(),
        }
    }

    fn in_order(
        &self,
        wish: &Wish<'_>,
        now: Instant,
        is_wanted: impl Fn(&SocketAddr) -> bool,
    ) -> Vec<SocketAddr> {
        let stays = wish.affinity.unwrap_or(self.affinity);
        let Some(client) = wish.client.filter(|_| stays) else {
            let mut picked: Vec<_> = self.in_turn().filter(is_wanted).take(ATTEMPTS).collect();
            self.put_better_first(&mut picked, now);
            return picked;
        };
        let mut picked: Vec<_> = self.addresses.iter().copied().filter(is_wanted).collect();
        affinity::keep_highest(&mut picked, ATTEMPTS, |address| {
            client.score_of_endpoint(address.ip())
        });
        picked
    }

    // Two that are next in turn are as good as two by chance, and none is ever left out.
    fn put_better_first(&self, picked: &mut [SocketAddr], now: Instant) {
        let cost = |address: &SocketAddr| self.loads.get(address).map(|load| load.cost(now));
        if let [first, second, ..] = &*picked
            && cost(second) < cost(first)
        {
            picked.swap(0, 1);
        }
        // Who did not answer lately is nobody's second choice either.
        if let [_, rest @ ..] = picked {
            rest.sort_by_key(|address| cost(address).is_some_and(Cost::is_shunned));
        }
    }

    fn in_turn(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let turn = self.cursor.fetch_add(1, Ordering::Relaxed) % self.addresses.len().max(1);
        let (before, after) = self.addresses.split_at(turn);
        after.iter().chain(before).copied()
    }
}
