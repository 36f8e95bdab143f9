//! Since when a Service has the gateway ports that it has.
//!
//! A gateway replica says up to which resourceVersion of such Services it listens. That of the
//! Service as it is now will not do: any label that somebody puts on it would take every replica
//! out of its slices until the next heartbeat.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use tombolo_catalog::{PortClaim, PortKey, ServiceName};

use crate::plan::ownership::PortOwner;

/// By the name of the Service.
#[derive(Debug, Default)]
pub(super) struct PortsSince {
    services: BTreeMap<ServiceName, Since>,
    /// Version, import, Service.
    by_version: BTreeSet<(u64, ServiceName, ServiceName)>,
}

#[derive(Debug)]
struct Since {
    version: u64,
    import: ServiceName,
    ports: BTreeSet<u16>,
}

// === impl PortsSince ===

impl PortsSince {
    pub(super) fn get(&self, service: &ServiceName) -> Option<u64> {
        self.services.get(service).map(|since| since.version)
    }

    /// The imports of which a Service got its ports after `after`, up to `upto`.
    pub(super) fn between(&self, after: u64, upto: u64) -> impl Iterator<Item = &ServiceName> {
        let nothing = || ServiceName::new("", "");
        let first = (after.saturating_add(1), nothing(), nothing());
        let range = self.by_version.range(first..);
        range
            .take_while(move |(since, ..)| *since <= upto)
            .map(|(_, import, _)| import)
    }

    /// The Service is no more, or is nobody's any more.
    pub(super) fn forget(&mut self, service: &ServiceName) {
        if let Some(Since {
            version, import, ..
        }) = self.services.remove(service)
        {
            self.by_version.remove(&(version, import, service.clone()));
        }
    }

    pub(super) fn handle(&mut self, name: &ServiceName, owner: PortOwner, service: &Service) {
        let version = service.metadata.resource_version.as_deref();
        let Some(version) = version.and_then(|version| version.parse().ok()) else {
            return;
        };
        let import = owner.import.clone();
        let claims = claims(service, owner);
        let ports: BTreeSet<u16> = claims.map(|claim| claim.gateway_port).collect();
        if let Some(known) = self.services.get(name)
            && known.import == import
            && known.ports == ports
        {
            return;
        }
        self.forget(name);
        self.by_version
            .insert((version, import.clone(), name.clone()));
        let since = Since {
            version,
            import,
            ports,
        };
        self.services.insert(name.clone(), since);
    }
}

/// The gateway ports that a Service says are its own.
pub(super) fn claims(service: &Service, owner: PortOwner) -> impl Iterator<Item = PortClaim> {
    // One that the API server never saw is younger than any that it did.
    let claimed_at = service.metadata.creation_timestamp.clone();
    let claimed_at = claimed_at.unwrap_or(Time(Timestamp::MAX));
    let ports = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten());
    ports.filter_map(move |port| {
        let Some(IntOrString::Int(target)) = port.target_port else {
            return None;
        };
        Some(PortClaim {
            key: PortKey {
                service: owner.import.clone(),
                endpoint: owner.endpoint.clone(),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                port: u16::try_from(port.port).ok()?,
            },
            gateway_port: u16::try_from(target).ok()?,
            claimed_at: claimed_at.clone(),
        })
    })
}
