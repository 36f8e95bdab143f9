//! The slices of a headless import, and those of its endpoints' Services.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use tombolo_catalog::Import;
use tombolo_crds::ClusterExportSpec;
use tombolo_crds::well_known::{KUBE_SERVICE_NAME_LABEL, MANAGED_BY_LABEL, SLICE_MANAGER};

use super::{Places, Remote, Told, is_here, labels};
use crate::gateways::Listing;
use crate::plan::action::Action;
use crate::plan::derived;
use crate::plan::slices::gateways::{self, Served, Target};
use crate::plan::slices::{Part, Slices, compare, endpoint_port, local, slice};
use crate::plan::view::View;

/// So many endpoints of a cluster are in one slice, as Kubernetes' own controllers have it.
const MAX_IN_ONE: usize = 100;
/// More are spread over so many slices, each always in the same: a change of one writes an eighth,
/// and no slice comes near the thousand that the API server allows.
const SHARDS: u32 = 8;

/// The slices with the gateways, by the name of the Service.
pub(super) type Behind<'a> = BTreeMap<&'a str, Vec<EndpointSlice>>;

/// The slices of the endpoints' Services. While no replica has a link to the cluster all of them are
/// listed: nobody is sent there, and to take hundreds of Services apart because a link is down, and
/// to put them together again a moment later, would be many writes for nothing.
pub(super) fn of_services<'a>(
    view: &View,
    import: &Import,
    remotes: &'a [Remote<'_>],
) -> Behind<'a> {
    let mut found: BTreeMap<&str, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in &view.endpoint_slices {
        let labels = slice.metadata.labels.as_ref();
        if let Some(service) = labels.and_then(|labels| labels.get(KUBE_SERVICE_NAME_LABEL)) {
            found.entry(service).or_default().push(Arc::clone(slice));
        }
    }
    let slices = remotes.iter().map(|remote| {
        let found = found.get(&*remote.object).map_or(&[][..], Vec::as_slice);
        (&*remote.object, of_service(view, import, remote, found))
    });
    slices.collect()
}

fn of_service(
    view: &View,
    import: &Import,
    remote: &Remote<'_>,
    found: &[Arc<EndpointSlice>],
) -> Vec<EndpointSlice> {
    let Some(service) = remote.found else {
        return Vec::new();
    };
    // Nobody can listen yet on what the Service does not say yet.
    let recorded = derived::gateway_ports(&service.service);
    let ports = || {
        let ports = remote.ports.iter();
        ports.filter(|(_, _, gateway_port)| recorded.contains(gateway_port))
    };
    let wanted: Served = ports().map(|(_, _, gateway_port)| gateway_port).collect();
    let target = Target {
        wanted: &wanted,
        ports_since: service.ports_since,
        slices: found,
    };
    let families: BTreeSet<&str> = service.addresses().iter().filter_map(family_of).collect();
    let groups = gateways::groups(replicas(view, &remote.name.cluster), target);
    let groups = groups
        .into_iter()
        .filter(|((family, _), _)| families.contains(family));
    let slices = groups.map(|((family, served), addresses)| {
        let suffix = gateways::suffix(family, &served, &wanted);
        let ports = ports().filter(|(_, _, gateway_port)| served.contains(gateway_port));
        let ports = ports.map(|(name, place, gateway_port)| {
            endpoint_port(name, import, place, Some(i32::from(gateway_port)))
        });
        EndpointSlice {
            metadata: metadata(view, remote, &suffix),
            address_type: family.to_owned(),
            endpoints: addresses.into_iter().map(gateways::endpoint).collect(),
            ports: Some(ports.collect()),
        }
    });
    slices.collect()
}

fn replicas<'a>(view: &'a View, cluster: &str) -> impl Iterator<Item = &'a Listing> {
    let is_linked = |replica: &&Listing| replica.linked.contains(cluster);
    let linked: Vec<_> = view.gateways.iter().filter(is_linked).collect();
    match linked.is_empty() {
        true => view.gateways.iter().collect(),
        false => linked,
    }
    .into_iter()
}

fn metadata(view: &View, remote: &Remote<'_>, suffix: &str) -> ObjectMeta {
    let mut labels = labels(view, &remote.name);
    labels.insert(KUBE_SERVICE_NAME_LABEL.to_owned(), remote.object.clone());
    labels.insert(MANAGED_BY_LABEL.to_owned(), SLICE_MANAGER.to_owned());
    let service = remote.found.map(|found| &found.service.metadata);
    let owner = service.and_then(|service| {
        Some(OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Service".to_owned(),
            name: service.name.clone()?,
            uid: service.uid.clone()?,
            controller: Some(true),
            block_owner_deletion: None,
        })
    });
    ObjectMeta {
        name: Some(format!("{}-{suffix}", remote.object)),
        namespace: Some(view.system.to_string()),
        labels: Some(labels),
        owner_references: owner.map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

pub(super) fn actions(view: &View, behind: Behind<'_>) -> Vec<Action> {
    let desired = behind.into_values().flatten().collect();
    compare(&view.endpoint_slices, desired).actions
}

/// The slices of the import: this cluster's own pods, and the addresses of others' endpoints.
pub(super) fn of_import(
    view: &View,
    import: &Import,
    exports: &[&ClusterExportSpec],
    places: &Places,
    remotes: &[Remote<'_>],
    behind: &Behind<'_>,
    owner: &OwnerReference,
) -> Slices {
    let mut parts = Vec::new();
    if is_here(view, exports) {
        let all: Vec<_> = (0..import.ports.len())
            .map(|place| (name(import, place), place))
            .collect();
        parts.extend(local::parts(view, import, &all));
    }
    for (cluster, places) in places {
        parts.extend(of_cluster(view, import, cluster, places, remotes, behind));
    }
    let desired = parts.into_iter().map(|part| slice(view, owner, part));
    compare(&view.slices, desired.collect())
}

fn of_cluster(
    view: &View,
    import: &Import,
    cluster: &str,
    places: &[usize],
    remotes: &[Remote<'_>],
    behind: &Behind<'_>,
) -> Vec<Part> {
    let is_linked = view
        .gateways
        .iter()
        .any(|replica| replica.linked.contains(cluster));
    // What leads nowhere yet is in no slice: names come after what they lead to.
    let there: BTreeSet<Option<&String>> = view
        .endpoint_slices
        .iter()
        .map(|slice| slice.metadata.labels.as_ref()?.get(KUBE_SERVICE_NAME_LABEL))
        .collect();
    let listed = remotes.iter().filter(|remote| {
        remote.name.cluster == cluster
            && remote.told != Told::Nothing
            && !behind[&*remote.object].is_empty()
            && there.contains(&Some(&remote.object))
    });
    let mut families: BTreeMap<&'static str, BTreeMap<&str, Endpoint>> = BTreeMap::new();
    for remote in listed {
        let ready = remote.told == Told::Ready && is_linked;
        let addresses = remote.found.map(|found| found.addresses());
        for address in addresses.unwrap_or_default() {
            let Some(family) = family_of(&address) else {
                continue;
            };
            let id = remote.name.id.as_str();
            families
                .entry(family)
                .or_default()
                .insert(id, endpoint(id, address, ready));
        }
    }
    let ports: Vec<EndpointPort> = places
        .iter()
        .map(|place| {
            let number = import.ports[*place].port.port;
            endpoint_port(name(import, *place), import, *place, Some(number))
        })
        .collect();
    let parts = families.into_iter().flat_map(|(family, endpoints)| {
        let ports = &ports;
        grouped(endpoints)
            .into_iter()
            .map(move |(shard, endpoints)| {
                let family_suffix = family.to_ascii_lowercase();
                Part {
                    cluster: cluster.to_owned(),
                    suffix: match shard {
                        None => family_suffix,
                        Some(shard) => format!("{family_suffix}-{shard}"),
                    },
                    address_type: family.to_owned(),
                    endpoints,
                    ports: ports.clone(),
                }
            })
    });
    parts.collect()
}

/// The endpoints that are in a slice together, by its shard; none if one slice has them all.
fn grouped(endpoints: BTreeMap<&str, Endpoint>) -> BTreeMap<Option<u32>, Vec<Endpoint>> {
    let is_sharded = endpoints.len() > MAX_IN_ONE;
    let mut groups: BTreeMap<_, Vec<Endpoint>> = BTreeMap::new();
    for (id, endpoint) in endpoints {
        let group = is_sharded.then(|| shard(id));
        groups.entry(group).or_default().push(endpoint);
    }
    groups
}

fn endpoint(id: &str, address: String, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address],
        hostname: Some(id.to_owned()),
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(ready),
            terminating: Some(false),
        }),
        ..Endpoint::default()
    }
}

/// Ports have the import's own names: they are what SRV records are made of.
fn name(import: &Import, place: usize) -> Option<&str> {
    import.ports[place].port.name.as_deref()
}

fn family_of(address: impl AsRef<str>) -> Option<&'static str> {
    let address: IpAddr = address.as_ref().parse().ok()?;
    Some(gateways::family(address))
}

/// The same in every version: FNV-1a, as a hash that may differ would move every endpoint.
fn shard(id: &str) -> u32 {
    let hash = id.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash % SHARDS
}
