//! A headless import: an address for each endpoint.
//!
//! Endpoints of other clusters may have the same addresses as pods here, so each gets a Service of
//! its own in Tombolo's namespace. Its ClusterIP is the address in the import's slices, and so in
//! DNS; behind it are the gateways, at ports that are this endpoint's alone. This cluster's own pods
//! are in the slices with their own addresses.
//!
//! An endpoint's Service and slices do not depend on whether it is ready, and one that is gone keeps
//! its address for a while: what changes with a pod is one slice of the import.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tombolo_catalog::{EndpointName, Import};
use tombolo_crds::ClusterExportSpec;
use tombolo_crds::mcs::ServiceImportType;

use super::action::{Action, DeletedKind};
use super::derived::{self, GatewayPorts};
use super::import::{self, State};
use super::slices::{gateways, own_families};
use super::view::{EndpointService, View};
use super::{Allotted, Plan, ownership};

mod service;
mod slices;

/// When it is looked again whether there are addresses or ports by now.
const RETRY: Duration = Duration::from_secs(30);

/// An endpoint of another cluster for which there is, or is to be, a Service.
struct Remote<'a> {
    name: EndpointName,
    /// Name of its Service.
    object: String,
    told: Told,
    found: Option<&'a EndpointService>,
    ports: GatewayPorts,
}

/// What its cluster says of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Ready,
    NotReady,
    /// Nothing any more: its address rests.
    Nothing,
}

pub(super) fn plan(
    view: &View,
    import: &Import,
    exports: &[&ClusterExportSpec],
    allotted: &mut Allotted,
    now: Instant,
    plan: &mut Plan,
) -> State {
    let places = places(view, import, exports);
    let addressed = addressed(view, exports, &places, allotted, now);
    plan.look_again = addressed.look_again;
    let remotes = allot(import, &places, addressed.endpoints, allotted, now);

    if view.failure.is_none() {
        plan.actions.extend(
            remotes
                .iter()
                .filter_map(|remote| service::apply(view, import, remote)),
        );
    }
    let behind = slices::of_services(view, import, &remotes);
    let Some(owner) = import::owner(view) else {
        return State::Pending;
    };
    let own = slices::of_import(view, import, exports, &places, &remotes, &behind, &owner);
    if view.failure.is_none() {
        plan.actions.extend(own.actions);
        plan.actions.extend(slices::actions(view, behind));
        let kept: BTreeSet<&str> = remotes.iter().map(|remote| &*remote.object).collect();
        let gone = view
            .endpoints
            .iter()
            .filter(|found| !kept.contains(found.name()));
        let metadata = gone.map(|found| &found.service.metadata);
        plan.actions
            .extend(metadata.filter_map(|m| import::delete(DeletedKind::Service, m)));
    }
    let state = state(view, &remotes, addressed.refused, own.foreign, allotted);
    if matches!(state, State::Blocked(..)) {
        let retry = now + RETRY;
        plan.look_again = Some(plan.look_again.map_or(retry, |at| at.min(retry)));
    }
    state
}

/// Deletes the Services of endpoints, and their slices.
pub(super) fn removal(view: &View) -> Vec<Action> {
    if view.failure.is_some() {
        return Vec::new();
    }
    let slices = view.endpoint_slices.iter();
    let slices =
        slices.filter_map(|slice| import::delete(DeletedKind::EndpointSlice, &slice.metadata));
    let services = view.endpoints.iter();
    let services =
        services.filter_map(|found| import::delete(DeletedKind::Service, &found.service.metadata));
    slices.chain(services).collect()
}

/// Takes back all that is allotted to the import.
pub(super) fn release(view: &View, allotted: &mut Allotted, now: Instant) {
    allotted.ports.retain(&view.name, &[], now);
    release_addresses(view, allotted, now);
}

/// Takes back what is allotted to the import's endpoints. What is still there counts until it is
/// gone.
pub(super) fn release_addresses(view: &View, allotted: &mut Allotted, now: Instant) {
    allotted
        .addresses
        .grant(&view.name, view.endpoints.len(), 0);
    allotted.addresses.rest(&view.name, [], now);
}

/// The families of the import's addresses, those of this cluster's own pods first: of the Services
/// that give endpoints their addresses, not of their clusters, as any family reaches any other.
pub(super) fn families(view: &View, exports: &[&ClusterExportSpec]) -> Vec<String> {
    let in_order = view.service.as_deref().map(import::ip_families);
    let in_order = in_order.unwrap_or_default();
    let place = |family: &&str| in_order.iter().position(|f| f == family);
    let mut own: Vec<&str> = match is_here(view, exports) {
        true => own_families(view).into_iter().collect(),
        false => Vec::new(),
    };
    own.sort_by_key(|family| place(family).unwrap_or(usize::MAX));
    let own = own.into_iter().map(str::to_owned);
    let others = view.endpoints.iter();
    let others = others.flat_map(|found| import::ip_families(&found.service));
    let mut families = Vec::new();
    for family in own.chain(others) {
        if !families.contains(&family) {
            families.push(family);
        }
    }
    families
}

/// Whether this cluster exports it as headless too.
fn is_here(view: &View, exports: &[&ClusterExportSpec]) -> bool {
    exports.iter().any(|export| {
        *export.cluster == *view.cluster && export.type_ == ServiceImportType::Headless
    })
}

/// The ports at which other clusters' endpoints can be reached, by their places in
/// [`Import::ports`]. A cluster that does not export the Service as headless tells no endpoints.
type Places = BTreeMap<String, Vec<usize>>;

fn places(view: &View, import: &Import, exports: &[&ClusterExportSpec]) -> Places {
    let others = exports.iter().filter(|export| {
        export.type_ == ServiceImportType::Headless && *export.cluster != *view.cluster
    });
    let places = others.map(|export| {
        let ports = import.ports.iter().enumerate().filter(|(_, port)| {
            gateways::is_carried(&port.port.protocol) && port.is_served_by(&export.cluster)
        });
        let places: Vec<usize> = ports.map(|(place, _)| place).collect();
        (export.cluster.clone(), places)
    });
    places.filter(|(_, places)| !places.is_empty()).collect()
}

/// The endpoints that have an address, or get one.
struct Addressed<'a> {
    endpoints: Vec<(EndpointName, String, Told, Option<&'a EndpointService>)>,
    /// How many get none as there are too many.
    refused: usize,
    look_again: Option<Instant>,
}

fn addressed<'a>(
    view: &'a View,
    exports: &[&ClusterExportSpec],
    places: &Places,
    allotted: &mut Allotted,
    now: Instant,
) -> Addressed<'a> {
    let mut found: BTreeMap<&str, &EndpointService> = view
        .endpoints
        .iter()
        .map(|found| (found.name(), found))
        .collect();
    let (mut endpoints, mut new) = (Vec::new(), Vec::new());
    for (name, told) in told(exports, places) {
        let object = name.service_name(&view.name);
        match found.remove(object.as_str()) {
            Some(found) => endpoints.push((name, object, told, Some(found))),
            None => new.push((name, object, told, None)),
        }
    }
    let addresses = &mut allotted.addresses;
    let wanted = match view.addresses_exhausted {
        Some(_) => 0,
        None => new.len(),
    };
    let granted = addresses.grant(&view.name, view.endpoints.len(), wanted);
    let refused = wanted - granted;
    new.truncate(granted);

    let idle = found.keys().map(|name| (*name).to_owned());
    let idle = addresses.rest(&view.name, idle, now);
    let is_needed_elsewhere = refused > 0 || view.addresses_exhausted.is_some();
    let mut look_again = None;
    for (object, since) in idle {
        let rested_at = addresses.rested_at(since);
        let found = found[object.as_str()];
        let name = ownership::endpoint_of(&found.service, &view.system)
            .and_then(|owner| owner.endpoint)
            .filter(|name| places.contains_key(&name.cluster));
        if let Some(name) = name
            && !is_needed_elsewhere
            && rested_at > now
        {
            look_again = Some(look_again.map_or(rested_at, |at: Instant| at.min(rested_at)));
            endpoints.push((name, object, Told::Nothing, Some(found)));
        }
    }
    // What is there keeps what it has before anything new takes some.
    endpoints.extend(new);
    Addressed {
        endpoints,
        refused,
        look_again,
    }
}

fn told(exports: &[&ClusterExportSpec], places: &Places) -> BTreeMap<EndpointName, Told> {
    let exports = exports
        .iter()
        .filter(|export| places.contains_key(&export.cluster));
    let endpoints = exports.flat_map(|export| {
        export.endpoints.iter().map(|endpoint| {
            let told = match endpoint.ready {
                true => Told::Ready,
                false => Told::NotReady,
            };
            (EndpointName::new(&export.cluster, &endpoint.id), told)
        })
    });
    endpoints.collect()
}

fn allot<'a>(
    import: &Import,
    places: &Places,
    endpoints: Vec<(EndpointName, String, Told, Option<&'a EndpointService>)>,
    allotted: &mut Allotted,
    now: Instant,
) -> Vec<Remote<'a>> {
    let keys: Vec<_> = endpoints
        .iter()
        .flat_map(|(name, ..)| {
            let places = places[&name.cluster].iter();
            places.map(|place| derived::endpoint_key(import, name, *place))
        })
        .collect();
    allotted.ports.retain(&import.service, &keys, now);
    let ports = &mut allotted.ports;
    let remote = |(name, object, told, found): (EndpointName, String, Told, _)| Remote {
        ports: GatewayPorts::allot_endpoint(import, &name, &places[&name.cluster], ports, now),
        name,
        object,
        told,
        found,
    };
    endpoints.into_iter().map(remote).collect()
}

fn state(
    view: &View,
    remotes: &[Remote<'_>],
    refused: usize,
    foreign: Option<String>,
    allotted: &Allotted,
) -> State {
    if let Some(foreign) = foreign {
        return State::name_taken(&foreign);
    }
    if let Some(exhausted) = &view.addresses_exhausted {
        let message = format!("Endpoints of other clusters have no address: {exhausted}");
        return State::Blocked("ServiceAddressesExhausted", message);
    }
    if refused > 0 {
        let cap = allotted.addresses.cap();
        let message = format!(
            "{refused} endpoints of other clusters have no address: all {cap} that headless \
             imports may take of this cluster's service range are in use"
        );
        return State::Blocked("EndpointAddressesExhausted", message);
    }
    match remotes.iter().find_map(|remote| remote.ports.exhausted()) {
        Some(message) => State::Blocked("GatewayPortsExhausted", message),
        None => State::Ready,
    }
}

// === impl EndpointService ===

impl EndpointService {
    fn name(&self) -> &str {
        self.service.metadata.name.as_deref().unwrap_or_default()
    }

    fn addresses(&self) -> Vec<String> {
        import::cluster_ips(&self.service)
    }
}

/// Its own labels, and those of its slices.
fn labels(view: &View, name: &EndpointName) -> BTreeMap<String, String> {
    use tombolo_crds::well_known::{
        ENDPOINT_CLUSTER_LABEL, ENDPOINT_LABEL, ENDPOINT_NAMESPACE_LABEL, ENDPOINT_SERVICE_LABEL,
        MANAGER, MANAGER_LABEL,
    };
    let labels = [
        (MANAGER_LABEL, MANAGER),
        (ENDPOINT_LABEL, &name.id),
        (ENDPOINT_CLUSTER_LABEL, &name.cluster),
        (ENDPOINT_NAMESPACE_LABEL, &view.name.namespace),
        (ENDPOINT_SERVICE_LABEL, &view.name.name),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    labels.into_iter().collect()
}
