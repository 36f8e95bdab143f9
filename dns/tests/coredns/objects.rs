//! What both serve.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tombolo_crds::mcs::ServiceImport;
use tombolo_crds::well_known::{SERVICE_NAME_LABEL, SOURCE_CLUSTER_LABEL};

use crate::patience::eventually;

/// Namespaces without an import that leads anywhere: the first has none at all.
pub(crate) const IDLE: [&str; 2] = ["empty", "idle"];

/// A port: its name (may be empty), its protocol and its number.
pub(crate) type Port = (&'static str, &'static str, u16);

pub(crate) struct Import {
    pub(crate) namespace: &'static str,
    pub(crate) name: String,
    pub(crate) headless: bool,
    pub(crate) addresses: &'static [&'static str],
    pub(crate) ports: Vec<Port>,
    pub(crate) slices: Vec<Slice>,
}

pub(crate) struct Slice {
    pub(crate) cluster: &'static str,
    pub(crate) ports: Vec<Port>,
    pub(crate) endpoints: Vec<Endpoint>,
}

pub(crate) struct Endpoint {
    pub(crate) hostname: Option<String>,
    pub(crate) address: String,
    pub(crate) ready: Option<bool>,
}

const HTTP: Port = ("http", "TCP", 80);
const SQL: Port = ("sql", "TCP", 5432);

/// An import of each kind.
pub(crate) fn imports() -> Vec<Import> {
    let mut imports = vec![
        cluster_set_ip(
            "web",
            &["10.96.0.1"],
            &[HTTP, ("https", "TCP", 443), ("http3", "UDP", 443)],
        ),
        cluster_set_ip("web6", &["fd00:96::1"], &[HTTP]),
        cluster_set_ip("dual", &["10.96.0.2", "fd00:96::2"], &[("", "TCP", 8080)]),
        cluster_set_ip(
            "names",
            &["10.96.0.3"],
            &[("dns", "UDP", 53), ("dns-tcp", "TCP", 53), ("a", "SCTP", 1)],
        ),
        cluster_set_ip("pending", &[], &[HTTP]),
        cluster_set_ip("portless", &["10.96.0.4"], &[]),
        // Its gateways, or its pods, are in slices as well.
        cluster_set_ip("backed", &["10.96.0.5"], &[HTTP]).with(
            "east",
            &[HTTP],
            &[hosted("backed-0", "10.0.1.1"), unhosted("10.0.1.2")],
        ),
        headless("db")
            .with(
                "east",
                &[SQL, ("admin", "TCP", 9000)],
                &[hosted("db-0", "10.0.2.1"), hosted("db-1", "10.0.2.2")],
            )
            .with("west", &[SQL], &[hosted("db-0", "10.0.2.3")]),
        headless("cache")
            .with(
                "east",
                &[("", "TCP", 6379)],
                &[
                    unhosted("10.0.3.1"),
                    unhosted("10.0.3.2"),
                    unhosted("10.0.3.3"),
                ],
            )
            .with(
                "west",
                &[("", "TCP", 6379)],
                &[unhosted("10.0.3.4"), hosted("cache-9", "10.0.3.5")],
            ),
        headless("both")
            .with(
                "east",
                &[SQL],
                &[hosted("both-0", "10.0.4.1"), unhosted("10.0.4.2")],
            )
            .with(
                "east",
                &[SQL],
                &[
                    hosted("both-0", "fd00::4:1"),
                    unhosted("fd00::4:2"),
                    unhosted("fd00:4::"),
                ],
            ),
        headless("six").with(
            "west",
            &[SQL],
            &[unhosted("fd00::6:1"), hosted("six-1", "fd00::6:2")],
        ),
        headless("sick").with(
            "east",
            &[SQL],
            &[
                hosted("sick-0", "10.0.5.1"),
                Endpoint {
                    ready: Some(false),
                    ..hosted("sick-1", "10.0.5.2")
                },
                Endpoint {
                    ready: None,
                    ..hosted("sick-2", "10.0.5.3")
                },
            ],
        ),
        headless("dead").with(
            "east",
            &[SQL],
            &[Endpoint {
                ready: Some(false),
                ..hosted("dead-0", "10.0.6.1")
            }],
        ),
        headless("alone"),
        headless("dotted")
            .with(
                "eu.west",
                &[SQL],
                &[hosted("dotted-0", "10.0.7.1"), unhosted("10.0.7.2")],
            )
            .with("a.b.c", &[SQL], &[hosted("dotted-0", "10.0.7.3")]),
        headless("dotted-too")
            .with("eu.west", &[SQL], &[hosted("d-0", "10.0.8.1")])
            .with("east", &[SQL], &[hosted("d-0", "10.0.8.2")]),
        headless("plain").with("east", &[], &[hosted("plain-0", "10.0.9.1")]),
        headless("twin").with(
            "east",
            &[("dns", "UDP", 53), ("dns-tcp", "TCP", 53)],
            &[hosted("t-0", "10.0.10.1")],
        ),
        headless("parts")
            .with("east", &[("a", "TCP", 1)], &[hosted("p-0", "10.0.11.1")])
            .with("west", &[("b", "UDP", 2)], &[hosted("p-0", "10.0.11.2")]),
        headless("shared").with(
            "east",
            &[SQL],
            &[hosted("s", "10.0.12.1"), hosted("s", "10.0.12.2")],
        ),
        Import {
            namespace: IDLE[1],
            ..cluster_set_ip("gone", &[], &[HTTP])
        },
        Import {
            namespace: IDLE[1],
            ..headless("gone-too")
        }
        .with(
            "east",
            &[SQL],
            &[Endpoint {
                ready: Some(false),
                ..hosted("g-0", "10.0.13.1")
            }],
        ),
        // The names that have a meaning elsewhere in the zone.
        Import {
            namespace: "svc",
            ..cluster_set_ip("svc", &["10.96.0.6"], &[HTTP])
        },
        Import {
            namespace: "dns",
            ..cluster_set_ip("ns", &["10.96.0.7"], &[HTTP])
        },
    ];
    imports.push(large("large", 40));
    imports.push(large("huge", 200));
    imports
}

/// Enough hosts that the answers do not fit into a datagram.
fn large(name: &str, hosts: u8) -> Import {
    let endpoints = |range: std::ops::Range<u8>, third: u8| -> Vec<Endpoint> {
        range
            .map(|n| hosted(&format!("{name}-{n}"), &format!("10.1.{third}.{n}")))
            .collect()
    };
    headless(name)
        .with("east", &[SQL], &endpoints(0..hosts / 2, hosts))
        .with("west", &[SQL], &endpoints(hosts / 2..hosts, hosts))
}

fn cluster_set_ip(name: &str, addresses: &'static [&'static str], ports: &[Port]) -> Import {
    Import {
        namespace: "shop",
        name: name.to_owned(),
        headless: false,
        addresses,
        ports: ports.to_vec(),
        slices: Vec::new(),
    }
}

fn headless(name: &str) -> Import {
    Import {
        namespace: "data",
        headless: true,
        ..cluster_set_ip(name, &[], &[SQL])
    }
}

fn hosted(hostname: &str, address: &str) -> Endpoint {
    Endpoint {
        hostname: Some(hostname.to_owned()),
        ..unhosted(address)
    }
}

fn unhosted(address: &str) -> Endpoint {
    Endpoint {
        hostname: None,
        address: address.to_owned(),
        ready: Some(true),
    }
}

// === impl Import ===

impl Import {
    fn with(mut self, cluster: &'static str, ports: &[Port], endpoints: &[Endpoint]) -> Self {
        self.slices.push(Slice {
            cluster,
            ports: ports.to_vec(),
            endpoints: endpoints.to_vec(),
        });
        self
    }

    /// Whether one of its addresses is to be answered.
    pub(crate) fn leads_somewhere(&self) -> bool {
        if !self.headless {
            return !self.addresses.is_empty();
        }
        let mut endpoints = self.slices.iter().flat_map(|slice| &slice.endpoints);
        endpoints.any(Endpoint::is_ready)
    }

    fn object(&self) -> Value {
        json!({
            "apiVersion": "multicluster.x-k8s.io/v1beta1",
            "kind": "ServiceImport",
            "metadata": {"namespace": self.namespace, "name": self.name},
            "spec": {
                "type": if self.headless { "Headless" } else { "ClusterSetIP" },
                "ips": self.addresses,
                "ports": ports(&self.ports),
            },
        })
    }

    fn slice_object(&self, number: usize, slice: &Slice) -> Value {
        let endpoints = slice.endpoints.iter().map(|endpoint| {
            json!({
                "addresses": [endpoint.address],
                "hostname": endpoint.hostname,
                "conditions": {"ready": endpoint.ready},
            })
        });
        let is_v6 = slice
            .endpoints
            .iter()
            .any(|endpoint| endpoint.address.contains(':'));
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "namespace": self.namespace,
                "name": format!("{}-{number}", self.name),
                "labels": {SERVICE_NAME_LABEL: self.name, SOURCE_CLUSTER_LABEL: slice.cluster},
            },
            "addressType": if is_v6 { "IPv6" } else { "IPv4" },
            "endpoints": endpoints.collect::<Vec<_>>(),
            "ports": ports(&slice.ports),
        })
    }
}

// === impl Endpoint ===

impl Endpoint {
    pub(crate) fn is_ready(&self) -> bool {
        // "a nil value should be interpreted as true" (discovery.k8s.io/v1).
        self.ready.unwrap_or(true)
    }

    /// The label that is its own.
    pub(crate) fn label(&self) -> String {
        let address = self.address.parse().unwrap();
        tombolo_catalog::endpoint_id(self.hostname.as_deref(), address)
    }
}

impl Clone for Endpoint {
    fn clone(&self) -> Self {
        Self {
            hostname: self.hostname.clone(),
            address: self.address.clone(),
            ready: self.ready,
        }
    }
}

fn ports(ports: &[Port]) -> Vec<Value> {
    let ports = ports.iter();
    let object =
        |&(name, protocol, port): &Port| json!({"name": name, "protocol": protocol, "port": port});
    ports.map(object).collect()
}

/// Writes all of them into the cluster of `client`.
pub(crate) async fn write(client: &Client, imports: &[Import]) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let ours = tombolo_crds::all().into_iter();
    for definition in ours.filter(|crd| crd.spec.names.kind == "ServiceImport") {
        definitions
            .create(&PostParams::default(), &definition)
            .await
            .unwrap();
    }
    let all: Api<ServiceImport> = Api::all(client.clone());
    eventually("ServiceImports are served", async || {
        let list = all.list(&ListParams::default()).await;
        list.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut names: Vec<&str> = imports
        .iter()
        .map(|import| import.namespace)
        .chain(IDLE)
        .collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let object = json!({"metadata": {"name": name}});
        let object = serde_json::from_value(object).unwrap();
        namespaces
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
    }
    for import in imports {
        create::<ServiceImport>(client, import.namespace, import.object()).await;
        for (number, slice) in import.slices.iter().enumerate() {
            let object = import.slice_object(number, slice);
            create::<EndpointSlice>(client, import.namespace, object).await;
        }
    }
}

async fn create<K>(client: &Client, namespace: &str, object: Value)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + Serialize + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}
