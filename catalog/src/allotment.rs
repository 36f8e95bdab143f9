//! Which gateway port belongs to which port of which import.
//!
//! The record is the derived Services' `targetPort`s. This structure is rebuilt from them and
//! says which number a new port gets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tombolo_crds::well_known::{FIRST_IMPORT_PORT, LAST_IMPORT_PORT};

use crate::{EndpointName, ServiceName};

#[cfg(test)]
mod tests;

/// One port of one import, or of one endpoint of a headless one: what a gateway port is allotted to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortKey {
    /// The import.
    pub service: ServiceName,
    /// The endpoint; none for the whole import.
    pub endpoint: Option<EndpointName>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The import's port.
    pub port: u16,
}

impl fmt::Display for PortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            service,
            endpoint,
            protocol,
            port,
        } = self;
        match endpoint {
            None => write!(f, "{service}:{port}/{protocol}"),
            Some(endpoint) => write!(f, "{endpoint} of {service}:{port}/{protocol}"),
        }
    }
}

/// A gateway port that a derived Service says is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortClaim {
    /// Whose it is.
    pub key: PortKey,
    /// The number in `targetPort`.
    pub gateway_port: u16,
    /// `creationTimestamp` of the derived Service: of two claims to one port the older holds.
    pub claimed_at: Time,
}

/// Two derived Services claim one gateway port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("gateway port {gateway_port} of {loser} is also that of {holder}, which is older")]
pub struct DoubleClaim {
    /// The port.
    pub gateway_port: u16,
    /// The older claim: it keeps the port.
    pub holder: PortKey,
    /// The younger claim: it has no port until it is allotted another.
    pub loser: PortKey,
}

/// No gateway port is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all {allotted} gateway ports are allotted, {resting} of them to rest after use")]
pub struct Exhausted {
    /// How many ports are in use or rest.
    pub allotted: usize,
    /// How many of these were freed a short while ago and will be free again.
    pub resting: usize,
}

impl Exhausted {
    /// A stable word for it: a metric label, or the reason of a condition.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        "GatewayPortsExhausted"
    }
}

/// What [`PortAllotter::rebuild`] found.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// Holds every claim that stands.
    pub allotter: PortAllotter,
    /// Claims that do not stand, as an older one has the port.
    pub double_claims: Vec<DoubleClaim>,
    /// Claims to ports outside the range, as another version or a hand may have written them.
    pub out_of_range: Vec<PortClaim>,
}

/// Allots gateway ports: each to at most one port of one import.
///
/// A port of an import prefers a number by a hash of itself, so that an import that is withdrawn
/// and comes back has its old ports again and stale rules on some node lead nowhere else. A freed
/// port rests before another import gets it, for the same reason. What rests is forgotten by a
/// restart; the hash makes it unlikely that it matters.
#[derive(Clone, Debug)]
pub struct PortAllotter {
    rest: Duration,
    in_use: BTreeMap<PortKey, u16>,
    /// Freed ports, kept for whom they were and when they were freed.
    resting: BTreeMap<PortKey, (u16, Instant)>,
    /// Who has or had each port that is in one of the maps above.
    holders: BTreeMap<u16, PortKey>,
}

impl PortAllotter {
    /// Nothing is allotted. `rest` is how long a freed port is kept from other imports: longer
    /// than a gateway drains.
    #[must_use]
    pub fn new(rest: Duration) -> Self {
        Self {
            rest,
            in_use: BTreeMap::new(),
            resting: BTreeMap::new(),
            holders: BTreeMap::new(),
        }
    }

    /// Starts from the derived Services that are there. The order of `claims` does not matter.
    #[must_use]
    pub fn rebuild(rest: Duration, claims: impl IntoIterator<Item = PortClaim>) -> Rebuilt {
        let mut allotter = Self::new(rest);
        let mut double_claims = Vec::new();
        let (mut in_range, mut out_of_range): (Vec<_>, Vec<_>) = claims
            .into_iter()
            .partition(|claim| is_in_range(claim.gateway_port));
        let age = |a: &PortClaim, b: &PortClaim| {
            (&a.claimed_at, &a.key, a.gateway_port).cmp(&(&b.claimed_at, &b.key, b.gateway_port))
        };
        in_range.sort_by(age);
        out_of_range.sort_by(age);
        for claim in in_range {
            if allotter.in_use.contains_key(&claim.key) {
                continue;
            }
            if let Some(holder) = allotter.holders.get(&claim.gateway_port) {
                double_claims.push(DoubleClaim {
                    gateway_port: claim.gateway_port,
                    holder: holder.clone(),
                    loser: claim.key,
                });
                continue;
            }
            allotter.hold(claim.key, claim.gateway_port);
        }
        double_claims.retain(|claim| !allotter.in_use.contains_key(&claim.loser));
        Rebuilt {
            allotter,
            double_claims,
            out_of_range,
        }
    }

    /// The gateway port of `key`: the one that it has, or had and still rests, or a free one.
    ///
    /// # Errors
    /// No port is free.
    pub fn allot(&mut self, key: &PortKey, now: Instant) -> Result<u16, Exhausted> {
        if let Some(port) = self.get(key) {
            return Ok(port);
        }
        let port = match self.resting.get(key) {
            Some((port, _)) => *port,
            None => self.free_port(key, now).ok_or_else(|| self.exhausted())?,
        };
        self.hold(key.clone(), port);
        Ok(port)
    }

    /// Takes the port back from `key`; others get it after its rest.
    pub fn release(&mut self, key: &PortKey, now: Instant) {
        if let Some((key, port)) = self.in_use.remove_entry(key) {
            self.resting.insert(key, (port, now));
        }
    }

    /// Takes the ports back from all of `service` that are not in `keep` (all, if that is empty).
    pub fn retain(&mut self, service: &ServiceName, keep: &[PortKey], now: Instant) {
        let keep: BTreeSet<&PortKey> = keep.iter().collect();
        let gone: Vec<PortKey> = self
            .keys_of(service)
            .filter(|key| !keep.contains(key))
            .cloned()
            .collect();
        for key in gone {
            self.release(&key, now);
        }
    }

    /// The gateway port of `key`, if it has one.
    #[must_use]
    pub fn get(&self, key: &PortKey) -> Option<u16> {
        self.in_use.get(key).copied()
    }

    /// How many ports are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.in_use.len()
    }

    /// Whether no port is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_use.is_empty()
    }

    fn keys_of<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a PortKey> {
        let first = PortKey {
            service: service.clone(),
            endpoint: None,
            protocol: String::new(),
            port: 0,
        };
        self.in_use
            .range(first..)
            .map(|(key, _)| key)
            .take_while(|key| key.service == *service)
    }

    fn hold(&mut self, key: PortKey, port: u16) {
        if let Some(former) = self.holders.insert(port, key.clone()) {
            self.resting.remove(&former);
        }
        self.in_use.insert(key, port);
    }

    fn free_port(&self, key: &PortKey, now: Instant) -> Option<u16> {
        let preferred = preference(key);
        let mut round = (preferred..=LAST_IMPORT_PORT).chain(FIRST_IMPORT_PORT..preferred);
        round.find(|port| {
            self.holders
                .get(port)
                .is_none_or(|holder| self.has_rested(holder, now))
        })
    }

    fn has_rested(&self, holder: &PortKey, now: Instant) -> bool {
        let freed_at = self.resting.get(holder).map(|(_, freed_at)| *freed_at);
        freed_at.is_some_and(|at| now.saturating_duration_since(at) >= self.rest)
    }

    fn exhausted(&self) -> Exhausted {
        Exhausted {
            allotted: self.holders.len(),
            resting: self.resting.len(),
        }
    }
}

fn is_in_range(port: u16) -> bool {
    (FIRST_IMPORT_PORT..=LAST_IMPORT_PORT).contains(&port)
}

/// The number that `key` gets unless it is taken: the same in every cluster and version.
fn preference(key: &PortKey) -> u16 {
    let PortKey {
        service,
        endpoint,
        protocol,
        port,
    } = key;
    let digest = Sha256::digest(match endpoint {
        None => format!("{service}/{protocol}/{port}"),
        Some(endpoint) => format!("{service}/{endpoint}/{protocol}/{port}"),
    });
    let hash = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let count = u32::from(LAST_IMPORT_PORT - FIRST_IMPORT_PORT) + 1;
    // The remainder is below the range's size, which is below 65,536.
    FIRST_IMPORT_PORT + u16::try_from(hash % count).unwrap_or_default()
}
