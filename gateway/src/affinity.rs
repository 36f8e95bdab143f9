//! Session affinity without memory: who a client is decides where it goes.
//!
//! Rendezvous hashing: each candidate has a score of its own with each client, and the highest
//! wins. All gateways come to the same order, none has to tell another, and a candidate that is
//! lost moves only those clients that it had; one that is new takes only its own share.

use std::cmp::Reverse;
use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher13x128};

/// A client as affinity knows it: all connections from one address of one cluster, as kube-proxy
/// has it within a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    key: (u64, u64),
}

// === impl Client ===

impl Client {
    /// The client at `address` of `cluster`. Pod ranges may overlap: an address alone is no client.
    #[must_use]
    pub fn new(cluster: &str, address: IpAddr) -> Self {
        let mut hasher = SipHasher13x128::new();
        write_address(&mut hasher, address.to_canonical());
        hasher.write(cluster.as_bytes());
        let hash = hasher.finish128();
        Self {
            key: (hash.h1, hash.h2),
        }
    }

    /// The seed of all chance that this client has: the same in every gateway.
    #[must_use]
    pub fn seed(self) -> u64 {
        self.key.0
    }

    /// The score of an endpoint by its address alone: all ports of a pod are the same pod.
    #[must_use]
    pub fn score_of_endpoint(self, address: IpAddr) -> u64 {
        // Replicas of neighbouring versions must agree, so all that is hashed is spelt out here, and
        // the hash is one that no release changes.
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        write_address(&mut hasher, address);
        hasher.finish()
    }
}

/// Puts the `count` candidates with the highest scores first, in that order, and drops the others.
/// Of equal scores the lesser candidate comes first.
pub fn keep_highest<T: Ord>(candidates: &mut Vec<T>, count: usize, score: impl Fn(&T) -> u64) {
    let mut scored: Vec<_> = candidates
        .drain(..)
        .map(|candidate| (Reverse(score(&candidate)), candidate))
        .collect();
    // A service may have a thousand endpoints, of which three are asked for.
    if scored.len() > count {
        scored.select_nth_unstable(count);
        scored.truncate(count);
    }
    scored.sort_unstable();
    candidates.extend(scored.into_iter().map(|(_, candidate)| candidate));
}

fn write_address(hasher: &mut impl Hasher, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => hasher.write(&v4.octets()),
        IpAddr::V6(v6) => hasher.write(&v6.octets()),
    }
}

#[cfg(test)]
mod tests;
