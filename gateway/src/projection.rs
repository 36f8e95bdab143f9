//! From Kubernetes objects to the little that the core needs of them.
//!
//! A large cluster has tens of thousands of Pods; what is not kept here costs no memory and makes
//! no change.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tombolo_catalog::{EndpointName, ServiceName, is_label_value};
use tombolo_crds::well_known::{
    COMPONENT_LABEL, ENDPOINT_CLUSTER_LABEL, ENDPOINT_LABEL, ENDPOINT_NAMESPACE_LABEL,
    ENDPOINT_SERVICE_LABEL, IMPORT_LABEL, KUBE_SERVICE_NAME_LABEL, MANAGED_BY_LABEL, SLICE_MANAGER,
};
use tombolo_crds::{ClusterExport, ClusterExportSpec};

use crate::endpoints::{Slice, SlicePort, is_special};
use crate::places::NodeRecord;
use crate::pods::PodRecord;
use crate::routes::{DerivedPort, DerivedService};
use crate::service::{Protocol, port_number};

/// Reads a derived Service, or one that stands for an endpoint, which is believed only in Tombolo's
/// own namespace `system`; `None` if it is none.
#[must_use]
pub fn derived_service(service: &Service, system: &str) -> Option<DerivedService> {
    let labels = service.metadata.labels.as_ref()?;
    let namespace = service.metadata.namespace.as_ref()?;
    let spec = service.spec.as_ref()?;
    let (import, endpoint) = match labels.get(IMPORT_LABEL) {
        Some(import) => (ServiceName::new(namespace, import), None),
        None if namespace == system => {
            let (import, endpoint) = endpoint(labels)?;
            (import, Some(endpoint))
        }
        None => return None,
    };
    Some(DerivedService {
        import,
        endpoint,
        addresses: spec
            .cluster_ips
            .iter()
            .flatten()
            .filter_map(|ip| address(ip))
            .collect(),
        affinity: spec.session_affinity.as_deref() == Some("ClientIP"),
        ports: spec
            .ports
            .iter()
            .flatten()
            .filter_map(derived_port)
            .collect(),
    })
}

/// Reads a ClusterExport; `None` if it does not have the name of what it says: neither an operator
/// nor a gateway wrote it, and beside the one of that name there would be two.
#[must_use]
pub fn cluster_export(export: ClusterExport) -> Option<ClusterExportSpec> {
    let is_named = export.metadata.name.as_deref() == Some(&export.spec.object_name());
    is_named.then_some(export.spec)
}

/// Reads an EndpointSlice; `None` if it holds nobody's endpoints, or Tombolo's own operator wrote
/// it: such slices lead back to gateways.
#[must_use]
pub fn slice(slice: &EndpointSlice) -> Option<Slice> {
    let labels = slice.metadata.labels.as_ref()?;
    if labels
        .get(MANAGED_BY_LABEL)
        .is_some_and(|manager| manager == SLICE_MANAGER)
    {
        return None;
    }
    let name = labels.get(KUBE_SERVICE_NAME_LABEL)?;
    let namespace = slice.metadata.namespace.as_ref()?;
    Some(Slice {
        service: ServiceName::new(namespace, name),
        ports: slice
            .ports
            .iter()
            .flatten()
            .filter_map(slice_port)
            .collect(),
        hostnames: hostnames(slice),
        ready: addresses(slice, is_ready),
        terminating: addresses(slice, is_serving_to_its_end),
        unready: addresses(slice, is_to_be_ready),
    })
}

fn addresses(slice: &EndpointSlice, is_wanted: impl Fn(&Endpoint) -> bool) -> Vec<IpAddr> {
    let endpoints = slice
        .endpoints
        .iter()
        .filter(|endpoint| is_wanted(endpoint));
    // Consumers are to take the first address only; the others are the same endpoint.
    endpoints
        .filter_map(|endpoint| endpoint.addresses.first())
        .filter_map(|ip| address(ip))
        .collect()
}

// Absent means ready (EndpointConditions.ready). Of a Service with `publishNotReadyAddresses`
// Kubernetes calls every endpoint so.
fn is_ready(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions
        .and_then(|conditions| conditions.ready)
        .unwrap_or(true)
}

fn is_serving_to_its_end(endpoint: &Endpoint) -> bool {
    let Some(conditions) = &endpoint.conditions else {
        return false;
    };
    // Absent means the same as `ready` (EndpointConditions.serving).
    let serving = conditions.serving.or(conditions.ready).unwrap_or(true);
    serving && conditions.terminating == Some(true) && !is_ready(endpoint)
}

// It has a place among the endpoints, but takes no connections at the moment.
fn is_to_be_ready(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    let terminating = conditions.and_then(|conditions| conditions.terminating);
    !is_ready(endpoint) && terminating != Some(true)
}

/// Reads where a Node is; `None` if it does not say.
#[must_use]
pub fn node(node: &Node) -> Option<NodeRecord> {
    let label = |key: &str| {
        let label = node.metadata.labels.as_ref()?.get(key)?;
        is_label_value(label).then(|| label.clone())
    };
    let record = NodeRecord {
        name: node.metadata.name.clone()?,
        region: label("topology.kubernetes.io/region").unwrap_or_default(),
        zone: label("topology.kubernetes.io/zone").unwrap_or_default(),
    };
    (!record.region.is_empty() || !record.zone.is_empty()).then_some(record)
}

/// Reads a Pod; `None` if it is finished, since its address may be another's by now.
#[must_use]
pub fn pod(pod: &Pod) -> Option<PodRecord> {
    let status = pod.status.as_ref()?;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let spec = pod.spec.as_ref()?;
    let component = pod
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(COMPONENT_LABEL));
    let addresses: Vec<_> = status
        .pod_ips
        .iter()
        .flatten()
        .filter_map(|ip| address(&ip.ip))
        .filter(|address| !is_special(*address))
        .collect();
    if addresses.is_empty() {
        return None;
    }
    Some(PodRecord {
        namespace: pod.metadata.namespace.clone()?,
        name: pod.metadata.name.clone()?,
        service_account: spec.service_account_name.clone().unwrap_or_default(),
        addresses,
        node_addresses: status
            .host_ips
            .iter()
            .flatten()
            .filter_map(|ip| address(&ip.ip))
            .collect(),
        host_network: spec.host_network.unwrap_or(false),
        node: spec.node_name.clone().unwrap_or_default(),
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        gateway: component.is_some_and(|component| component == "gateway"),
    })
}

fn endpoint(labels: &BTreeMap<String, String>) -> Option<(ServiceName, EndpointName)> {
    let import = ServiceName::new(
        labels.get(ENDPOINT_NAMESPACE_LABEL)?,
        labels.get(ENDPOINT_SERVICE_LABEL)?,
    );
    let cluster = labels.get(ENDPOINT_CLUSTER_LABEL)?;
    let id = labels.get(ENDPOINT_LABEL)?;
    Some((import, EndpointName::new(cluster, id)))
}

fn hostnames(slice: &EndpointSlice) -> BTreeMap<IpAddr, String> {
    let named = slice.endpoints.iter().filter_map(|endpoint| {
        let first = address(endpoint.addresses.first()?)?;
        Some((first, endpoint.hostname.clone()?))
    });
    named.collect()
}

fn derived_port(port: &ServicePort) -> Option<DerivedPort> {
    let Some(IntOrString::Int(target)) = port.target_port else {
        return None;
    };
    Some(DerivedPort {
        protocol: Protocol::from_api(port.protocol.as_deref().unwrap_or("TCP"))?,
        port: port_number(port.port)?,
        gateway_port: port_number(target)?,
    })
}

fn slice_port(port: &EndpointPort) -> Option<SlicePort> {
    Some(SlicePort {
        name: port.name.clone().unwrap_or_default(),
        protocol: Protocol::from_api(port.protocol.as_deref().unwrap_or("TCP"))?,
        port: match port.port {
            Some(number) => Some(port_number(number)?),
            None => None,
        },
    })
}

// Canonical, so that `::ffff:10.0.0.1` cannot pass for another address than 10.0.0.1.
fn address(text: &str) -> Option<IpAddr> {
    text.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SYSTEM: &str = "tombolo-system";

    #[test]
    fn a_derived_service_tells_ports_and_addresses() {
        let service = from(json!({
            "metadata": {
                "namespace": "demo", "name": "derived-x",
                "labels": {"tombolo.io/service-import": "web"},
            },
            "spec": {
                "clusterIPs": ["10.96.0.9", "nonsense"],
                "sessionAffinity": "ClientIP",
                "ports": [
                    {"port": 80, "targetPort": 10_000},
                    {"port": 53, "targetPort": 10_001, "protocol": "UDP"},
                    {"port": 81, "targetPort": "named"},
                    {"port": 82},
                ],
            },
        }));
        let read = derived_service(&service, SYSTEM);

        let expected = DerivedService {
            import: ServiceName::new("demo", "web"),
            endpoint: None,
            addresses: vec![ip("10.96.0.9")],
            affinity: true,
            ports: vec![
                DerivedPort {
                    protocol: Protocol::Tcp,
                    port: 80,
                    gateway_port: 10_000,
                },
                DerivedPort {
                    protocol: Protocol::Udp,
                    port: 53,
                    gateway_port: 10_001,
                },
            ],
        };
        assert_eq!(read, Some(expected));
    }

    #[test]
    fn a_service_without_the_label_is_not_derived() {
        let service = from(json!({"metadata": {"namespace": "demo"}, "spec": {}}));

        assert_eq!(derived_service(&service, SYSTEM), None);
    }

    #[test]
    fn the_service_of_an_endpoint_is_believed_in_our_own_namespace_only() {
        let service = |namespace: &str| {
            from(json!({
                "metadata": {
                    "namespace": namespace, "name": "endpoint-x",
                    "labels": {
                        "tombolo.io/endpoint": "db-0",
                        "tombolo.io/endpoint-cluster": "east",
                        "tombolo.io/endpoint-namespace": "demo",
                        "tombolo.io/endpoint-service": "db",
                    },
                },
                "spec": {
                    "clusterIPs": ["10.96.0.9"],
                    "ports": [{"port": 80, "targetPort": 10_000}],
                },
            }))
        };

        let read = derived_service(&service(SYSTEM), SYSTEM).unwrap();

        assert_eq!(read.import, ServiceName::new("demo", "db"));
        assert_eq!(read.endpoint, Some(EndpointName::new("east", "db-0")));
        assert_eq!(read.addresses, [ip("10.96.0.9")]);
        assert_eq!(derived_service(&service("mallory"), SYSTEM), None);
    }

    #[test]
    fn a_slice_tells_hostnames() {
        let mut named = slice_json("endpointslice-controller.k8s.io");
        named["endpoints"][0]["hostname"] = json!("web-0");

        let read = slice(&from(named)).unwrap();

        let hostnames = [(ip("10.0.0.1"), "web-0".to_owned())];
        assert_eq!(read.hostnames, hostnames.into());
    }

    #[test]
    fn a_slice_tells_its_ready_endpoints() {
        let read = slice(&from(slice_json("endpointslice-controller.k8s.io"))).unwrap();

        assert_eq!(read.service, ServiceName::new("demo", "web"));
        assert_eq!(read.ready, [ip("10.0.0.1"), ip("10.0.0.3"), ip("10.0.0.4")]);
        let ports = [
            SlicePort {
                name: "http".to_owned(),
                protocol: Protocol::Tcp,
                port: Some(8080),
            },
            SlicePort {
                name: String::new(),
                protocol: Protocol::Udp,
                port: None,
            },
        ];
        assert_eq!(read.ports, ports);
    }

    #[test]
    fn an_endpoint_that_ends_is_told_as_long_as_it_serves() {
        let mut ending = slice_json("endpointslice-controller.k8s.io");
        ending["endpoints"] = json!([
            {"addresses": ["10.0.0.1"],
             "conditions": {"ready": false, "serving": true, "terminating": true}},
            {"addresses": ["10.0.0.2"],
             "conditions": {"ready": false, "serving": false, "terminating": true}},
            {"addresses": ["10.0.0.3"],
             "conditions": {"ready": false, "serving": true, "terminating": false}},
            {"addresses": ["10.0.0.4"], "conditions": {"ready": false, "terminating": true}},
        ]);

        let read = slice(&from(ending)).unwrap();

        assert_eq!(read.terminating, [ip("10.0.0.1")]);
        assert!(read.ready.is_empty());
    }

    #[test]
    fn of_a_service_that_publishes_not_ready_addresses_all_are_ready() {
        // As Kubernetes' own controller writes them.
        let mut published = slice_json("endpointslice-controller.k8s.io");
        published["endpoints"] = json!([
            {"addresses": ["10.0.0.1"],
             "conditions": {"ready": true, "serving": false, "terminating": false}},
            {"addresses": ["10.0.0.2"],
             "conditions": {"ready": true, "serving": true, "terminating": true}},
        ]);

        let read = slice(&from(published)).unwrap();

        assert_eq!(read.ready, [ip("10.0.0.1"), ip("10.0.0.2")]);
        assert!(read.terminating.is_empty());
    }

    #[test]
    fn an_endpoint_that_is_not_ready_yet_has_its_place() {
        let mut starting = slice_json("endpointslice-controller.k8s.io");
        starting["endpoints"] = json!([
            {"addresses": ["10.0.0.1"], "conditions": {"ready": false}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "terminating": true}},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": true}},
        ]);

        let read = slice(&from(starting)).unwrap();

        assert_eq!(read.unready, [ip("10.0.0.1")]);
    }

    #[test]
    fn a_node_tells_where_it_is_if_it_knows() {
        let place =
            |labels: Value| node(&from(json!({"metadata": {"name": "n", "labels": labels}})));

        let told = place(json!({
            "topology.kubernetes.io/region": "r",
            "topology.kubernetes.io/zone": "a",
        }));

        let told = told.unwrap();
        assert_eq!((&*told.name, &*told.region, &*told.zone), ("n", "r", "a"));
        assert_eq!(place(json!({"kubernetes.io/os": "linux"})), None);
    }

    #[test]
    fn slices_that_lead_to_gateways_are_left_out() {
        assert_eq!(slice(&from(slice_json(SLICE_MANAGER))), None);
    }

    #[test]
    fn a_pod_is_known_until_it_is_finished() {
        let read = pod(&from(pod_json("Running"))).unwrap();

        assert_eq!(read.addresses, [ip("10.0.0.1"), ip("fd00::1")]);
        assert_eq!(read.node_addresses, [ip("192.0.2.1")]);
        assert_eq!(read.service_account, "web");
        assert!(!read.host_network);
        assert!(!read.gateway);
        for finished in ["Succeeded", "Failed"] {
            assert_eq!(pod(&from(pod_json(finished))), None);
        }
    }

    #[test]
    fn a_pods_claim_to_a_special_address_is_not_believed() {
        let mut special = pod_json("Running");
        special["status"]["podIPs"] =
            json!([{"ip": "127.0.0.1"}, {"ip": "::ffff:169.254.169.254"}]);

        assert_eq!(pod(&from(special)), None);
    }

    #[test]
    fn gateways_and_host_network_pods_are_marked() {
        let mut marked = pod_json("Running");
        marked["metadata"]["labels"] = json!({"tombolo.io/component": "gateway"});
        marked["spec"]["hostNetwork"] = json!(true);

        let read = pod(&from(marked)).unwrap();

        assert!(read.gateway);
        assert!(read.host_network);
    }

    fn slice_json(manager: &str) -> Value {
        json!({
            "metadata": {
                "namespace": "demo",
                "labels": {
                    "kubernetes.io/service-name": "web",
                    "endpointslice.kubernetes.io/managed-by": manager,
                },
            },
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
                {"addresses": ["10.0.0.3"]},
                {"addresses": ["::ffff:10.0.0.4"], "conditions": {}},
                {"addresses": ["not-an-ip.example"]},
            ],
            "ports": [
                {"name": "http", "port": 8080, "protocol": "TCP"},
                {"protocol": "UDP"},
                {"name": "broken", "port": 0},
            ],
        })
    }

    fn pod_json(phase: &str) -> Value {
        json!({
            "metadata": {"namespace": "demo", "name": "web-0"},
            "spec": {"serviceAccountName": "web", "containers": []},
            "status": {
                "phase": phase,
                "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
                "hostIPs": [{"ip": "192.0.2.1"}],
            },
        })
    }

    fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn ip(address: &str) -> IpAddr {
        address.parse().unwrap()
    }
}
