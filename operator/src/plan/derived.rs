//! The derived Service: its ClusterIP is the clusterset IP, its target ports are the record of the
//! gateway ports.

use std::collections::BTreeSet;
use std::time::Instant;

use k8s_openapi::api::core::v1::{
    ClientIPConfig, Service, ServicePort, ServiceSpec, SessionAffinityConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tombolo_catalog::{
    EndpointName, Exhausted, Import, PortAllotter, PortKey, derived_service_name,
};
use tombolo_crds::well_known::{IMPORT_LABEL, MANAGER, MANAGER_LABEL};

use super::action::Action;
use super::view::View;
use super::{exports_here, ownership};

/// What Kubernetes takes where nothing is said (core/v1, ClientIPConfig).
const DEFAULT_AFFINITY_SECONDS: i32 = 10_800;

/// The import's ports as the derived Service and the slices have them, in the order of
/// [`Import::ports`].
#[derive(Debug)]
pub(super) struct GatewayPorts {
    names: Vec<Option<String>>,
    /// None for those for which no gateway port is free.
    numbers: Vec<Option<u16>>,
    exhausted: Option<Exhausted>,
}

// === impl GatewayPorts ===

impl GatewayPorts {
    /// Takes a gateway port for each port of the import, and gives those back that it has no more.
    pub(super) fn allot(import: &Import, ports: &mut PortAllotter, now: Instant) -> Self {
        let keys: Vec<PortKey> = import.ports.iter().map(|port| key(import, port)).collect();
        ports.retain(&import.service, &keys, now);
        let mut exhausted = None;
        let mut allot = |key| match ports.allot(key, now) {
            Ok(number) => Some(number),
            Err(error) => {
                exhausted = Some(error);
                None
            }
        };
        let numbers = keys.iter().map(&mut allot).collect();
        Self {
            names: import.derived_port_names(),
            numbers,
            exhausted,
        }
    }

    /// Takes a gateway port for each of these ports of an endpoint, by their places in
    /// [`Import::ports`].
    pub(super) fn allot_endpoint(
        import: &Import,
        endpoint: &EndpointName,
        places: &[usize],
        ports: &mut PortAllotter,
        now: Instant,
    ) -> Self {
        let mut allotted = Self {
            names: import.derived_port_names(),
            numbers: vec![None; import.ports.len()],
            exhausted: None,
        };
        for place in places {
            let key = endpoint_key(import, endpoint, *place);
            match ports.allot(&key, now) {
                Ok(number) => allotted.numbers[*place] = Some(number),
                Err(error) => allotted.exhausted = Some(error),
            }
        }
        allotted
    }

    /// Whether no port of the import has a gateway port.
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.iter().all(Option::is_none)
    }

    /// What to tell people if not all ports have a gateway port.
    pub(super) fn exhausted(&self) -> Option<String> {
        self.exhausted.map(|exhausted| exhausted.to_string())
    }

    /// The ports that have a gateway port: name, place in [`Import::ports`], gateway port.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Option<&str>, usize, u16)> {
        let ports = self.names.iter().zip(&self.numbers).enumerate();
        ports.filter_map(|(place, (name, number))| Some((name.as_deref(), place, (*number)?)))
    }
}

pub(super) fn name(view: &View) -> String {
    derived_service_name(&view.name.namespace, &view.name.name)
}

/// The Service with the derived Service's name, if it is somebody else's.
pub(super) fn foreign(view: &View) -> Option<String> {
    let found = view.derived.as_deref()?;
    (!ownership::is_derived_of(found, &view.name)).then(|| format!("Service {}", name(view)))
}

/// The gateway ports that a derived Service says are its own.
pub(super) fn gateway_ports(derived: &Service) -> BTreeSet<u16> {
    let ports = derived
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten());
    ports
        .filter_map(|port| match port.target_port {
            Some(IntOrString::Int(number)) => u16::try_from(number).ok(),
            Some(IntOrString::String(_)) | None => None,
        })
        .collect()
}

pub(super) fn apply(
    view: &View,
    import: &Import,
    ports: &GatewayPorts,
    owner: &OwnerReference,
) -> Option<Action> {
    if view.failure.is_some() {
        return None;
    }
    let desired = service(view, import, ports, owner);
    let is_settled = view
        .derived
        .as_deref()
        .is_some_and(|found| is_settled(found, &desired));
    (!is_settled).then(|| Action::ApplyDerived(Box::new(desired)))
}

fn service(view: &View, import: &Import, ports: &GatewayPorts, owner: &OwnerReference) -> Service {
    let mut service = Service::default();
    service.metadata.name = Some(name(view));
    service.metadata.namespace = Some(view.name.namespace.clone());
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    service.metadata.labels = Some(
        [
            label(MANAGER_LABEL, MANAGER),
            label(IMPORT_LABEL, &view.name.name),
        ]
        .into_iter()
        .collect(),
    );
    service.metadata.owner_references = Some(vec![owner.clone()]);
    let affinity = import
        .session_affinity
        .clone()
        .unwrap_or_else(|| "None".to_owned());
    let (ip_families, ip_family_policy) = families(view, import);
    // `trafficDistribution` is not here: it is for whoever writes the slices' hints, and an API
    // server older than the exporter's may not know its value.
    service.spec = Some(ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        ports: Some(
            ports
                .iter()
                .map(|port| service_port(import, port))
                .collect(),
        ),
        session_affinity_config: affinity_config(&affinity, import),
        session_affinity: Some(affinity),
        internal_traffic_policy: Some(
            import
                .internal_traffic_policy
                .clone()
                .unwrap_or_else(|| "Cluster".to_owned()),
        ),
        ip_families,
        ip_family_policy: Some(ip_family_policy.to_owned()),
        ..ServiceSpec::default()
    });
    service
}

/// The `ipFamilies` to ask for and the `ipFamilyPolicy`. Which families there are is this cluster's
/// business: connections to others end at the gateways, which are in all of them. But its own pods
/// are reached by the families of their own Service only.
fn families(view: &View, import: &Import) -> (Option<Vec<String>>, &'static str) {
    let of = |service: Option<&Service>| {
        let families = service.and_then(|service| service.spec.as_ref()?.ip_families.clone());
        families.unwrap_or_default()
    };
    let own = of(view
        .service
        .as_deref()
        .filter(|_| exports_here(view, import)));
    // The first one cannot be changed as long as the Service lives.
    let given = of(view.derived.as_deref());
    let first = given.first().or_else(|| own.first());
    let has_second = import.ip_families.len() > 1 || own.iter().any(|own| Some(own) != first);
    let policy = match has_second {
        true => "PreferDualStack",
        false => "SingleStack",
    };
    (first.map(|first| vec![first.clone()]), policy)
}

pub(super) fn service_port(
    import: &Import,
    (name, place, gateway_port): (Option<&str>, usize, u16),
) -> ServicePort {
    let port = &import.ports[place].port;
    ServicePort {
        name: name.map(str::to_owned),
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
        port: port.port,
        target_port: Some(IntOrString::Int(i32::from(gateway_port))),
        node_port: None,
    }
}

fn affinity_config(affinity: &str, import: &Import) -> Option<SessionAffinityConfig> {
    if affinity != "ClientIP" {
        return None;
    }
    let config = import.session_affinity_config.as_ref();
    let seconds = config.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    let timeout_seconds = Some(seconds.unwrap_or(DEFAULT_AFFINITY_SECONDS));
    Some(SessionAffinityConfig {
        client_ip: Some(ClientIPConfig { timeout_seconds }),
    })
}

fn is_settled(found: &Service, desired: &Service) -> bool {
    let (Some(found_spec), Some(spec)) = (&found.spec, &desired.spec) else {
        return false;
    };
    let labels = (
        found.metadata.labels.as_ref(),
        desired.metadata.labels.as_ref(),
    );
    let owners = desired.metadata.owner_references.iter().flatten();
    ownership::is_same_map(labels.0, labels.1)
        && owners
            .into_iter()
            .all(|owner| ownership::has_owner(&found.metadata, owner))
        && found_spec.type_ == spec.type_
        && same_ports(found_spec.ports.as_deref(), spec.ports.as_deref())
        && found_spec.session_affinity == spec.session_affinity
        && found_spec.session_affinity_config == spec.session_affinity_config
        && found_spec.internal_traffic_policy == spec.internal_traffic_policy
        && found_spec.ip_family_policy == spec.ip_family_policy
        && has_families(
            found_spec.ip_families.as_deref(),
            spec.ip_families.as_deref(),
        )
}

/// The API server adds a second family where there is one.
fn has_families(found: Option<&[String]>, desired: Option<&[String]>) -> bool {
    found
        .unwrap_or_default()
        .starts_with(desired.unwrap_or_default())
}

/// The API server keeps the order of ports that were there before.
pub(super) fn same_ports(found: Option<&[ServicePort]>, desired: Option<&[ServicePort]>) -> bool {
    let sorted = |ports: Option<&[ServicePort]>| {
        let mut ports = ports.unwrap_or_default().to_vec();
        ports.sort_by(|a, b| (&a.protocol, a.port).cmp(&(&b.protocol, b.port)));
        ports
    };
    sorted(found) == sorted(desired)
}

/// What the gateway port of an endpoint is allotted to.
pub(super) fn endpoint_key(import: &Import, endpoint: &EndpointName, place: usize) -> PortKey {
    PortKey {
        endpoint: Some(endpoint.clone()),
        ..key(import, &import.ports[place])
    }
}

fn key(import: &Import, port: &tombolo_catalog::ImportPort) -> PortKey {
    PortKey {
        service: import.service.clone(),
        endpoint: None,
        protocol: port.port.protocol.clone(),
        // Validated: an export with another number takes no part in the merge.
        port: u16::try_from(port.port.port).unwrap_or_default(),
    }
}
