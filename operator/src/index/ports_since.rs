//! Since when a derived Service has the gateway ports that it has.
//!
//! A gateway replica says up to which resourceVersion of derived Services it listens. That of the
//! Service as it is now will not do: any label that somebody puts on it would take every replica
//! out of its slices until the next heartbeat.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use tombolo_catalog::{PortClaim, PortKey, ServiceName};

#[derive(Debug, Default)]
pub(super) struct PortsSince {
    by_import: BTreeMap<ServiceName, (u64, BTreeSet<u16>)>,
    by_version: BTreeSet<(u64, ServiceName)>,
}

// === impl PortsSince ===

impl PortsSince {
    pub(super) fn get(&self, import: &ServiceName) -> Option<u64> {
        self.by_import.get(import).map(|(since, _)| *since)
    }

    /// The imports whose derived Services got their ports after `after`, up to `upto`.
    pub(super) fn between(&self, after: u64, upto: u64) -> impl Iterator<Item = &ServiceName> {
        let first = (after.saturating_add(1), ServiceName::new("", ""));
        let range = self.by_version.range(first..);
        range
            .take_while(move |(since, _)| *since <= upto)
            .map(|(_, import)| import)
    }

    /// The import has no derived Service any more.
    pub(super) fn forget(&mut self, import: &ServiceName) {
        if let Some((since, _)) = self.by_import.remove(import) {
            self.by_version.remove(&(since, import.clone()));
        }
    }

    pub(super) fn handle(&mut self, import: &ServiceName, derived: &Service) {
        let version = derived.metadata.resource_version.as_deref();
        let Some(version) = version.and_then(|version| version.parse().ok()) else {
            return;
        };
        let ports: BTreeSet<u16> = claims(derived).map(|claim| claim.gateway_port).collect();
        if let Some((since, known)) = self.by_import.get(import) {
            if *known == ports {
                return;
            }
            self.by_version.remove(&(*since, import.clone()));
        }
        self.by_version.insert((version, import.clone()));
        self.by_import.insert(import.clone(), (version, ports));
    }
}

/// The gateway ports that a derived Service says are its own.
pub(super) fn claims(derived: &Service) -> impl Iterator<Item = PortClaim> {
    let import = super::import_of(derived);
    // One that the API server never saw is younger than any that it did.
    let claimed_at = derived.metadata.creation_timestamp.clone();
    let claimed_at = claimed_at.unwrap_or(Time(Timestamp::MAX));
    let ports = derived
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten());
    ports.filter_map(move |port| {
        let Some(IntOrString::Int(target)) = port.target_port else {
            return None;
        };
        Some(PortClaim {
            key: PortKey {
                service: import.clone()?,
                endpoint: None,
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                port: u16::try_from(port.port).ok()?,
            },
            gateway_port: u16::try_from(target).ok()?,
            claimed_at: claimed_at.clone(),
        })
    })
}
