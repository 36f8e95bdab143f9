//! What is kept of the objects that are watched, in memory and in the state files.
//!
//! There are many, so strings and lists are boxed to their size. It matters most where one is collected
//! from an object's own list: a `Vec` would keep the memory of what it was made of, some 1.5 KiB for
//! three endpoints.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::{Deserialize, Serialize};
use tombolo_crds::mcs::{ServiceImport, ServiceImportType};
use tombolo_crds::well_known::{SERVICE_NAME_LABEL, SOURCE_CLUSTER_LABEL};
use tombolo_dns_zone::{Endpoint, Port};

/// A ServiceImport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportState {
    /// Whether its addresses are those of its endpoints.
    pub headless: bool,
    /// Its clusterset IPs.
    pub addresses: Box<[IpAddr]>,
    /// Its ports.
    pub ports: Box<[PortState]>,
}

/// A port of a ServiceImport or EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortState {
    /// Its name, if it has one.
    pub name: Option<Box<str>>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Box<str>,
    /// Its number.
    pub number: u16,
}

/// A multi-cluster EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SliceState {
    /// Name of the ServiceImport in its namespace.
    pub service: Box<str>,
    /// The cluster whose endpoints it holds.
    pub cluster: Box<str>,
    /// Its endpoints that are ready.
    pub endpoints: Box<[EndpointState]>,
    /// Their ports.
    pub ports: Box<[PortState]>,
}

/// An endpoint that is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointState {
    /// Its hostname, if it was given one.
    pub hostname: Option<Box<str>>,
    /// Its addresses.
    pub addresses: Box<[IpAddr]>,
}

// === impl ImportState ===

impl From<ServiceImport> for ImportState {
    fn from(import: ServiceImport) -> Self {
        let ServiceImport { metadata, spec, .. } = import;
        let object = || {
            let namespace = metadata.namespace.as_deref().unwrap_or_default();
            format!(
                "ServiceImport {namespace}/{}",
                metadata.name.as_deref().unwrap_or_default()
            )
        };
        let ports = spec.ports.into_iter().filter_map(|port| {
            PortState::new(port.name, Some(port.protocol), Some(port.port), &object)
        });
        Self {
            headless: spec.type_ == ServiceImportType::Headless,
            addresses: parse_addresses(&spec.ips, &object),
            ports: ports.collect(),
        }
    }
}

// === impl SliceState ===

impl SliceState {
    /// What is kept of `slice`; none if its labels do not say whose it is, or if it holds names.
    #[must_use]
    pub fn new(slice: EndpointSlice) -> Option<Self> {
        let EndpointSlice {
            metadata,
            address_type,
            endpoints,
            ports,
        } = slice;
        let labels = metadata.labels.as_ref()?;
        let service = labels.get(SERVICE_NAME_LABEL)?.as_str().into();
        let cluster = labels.get(SOURCE_CLUSTER_LABEL)?.as_str().into();
        if address_type == "FQDN" {
            return None;
        }
        let object = || {
            let namespace = metadata.namespace.as_deref().unwrap_or_default();
            format!(
                "EndpointSlice {namespace}/{}",
                metadata.name.as_deref().unwrap_or_default()
            )
        };
        let endpoints = endpoints.into_iter().filter_map(|endpoint| {
            // "ready … a nil value should be interpreted as true" (discovery.k8s.io/v1).
            let ready = endpoint.conditions.and_then(|conditions| conditions.ready);
            ready.unwrap_or(true).then(|| EndpointState {
                hostname: endpoint.hostname.map(String::into_boxed_str),
                addresses: parse_addresses(&endpoint.addresses, &object),
            })
        });
        let ports = ports
            .unwrap_or_default()
            .into_iter()
            .filter_map(|port| PortState::new(port.name, port.protocol, port.port, &object));
        Some(Self {
            service,
            cluster,
            endpoints: endpoints.collect(),
            ports: ports.collect(),
        })
    }

    /// Its endpoints as the zone takes them.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = Endpoint> {
        let cluster: Arc<str> = self.cluster.as_ref().into();
        let ports: Arc<[Port]> = self.ports.iter().map(Port::from).collect();
        self.endpoints.iter().map(move |endpoint| Endpoint {
            cluster: Arc::clone(&cluster),
            hostname: endpoint.hostname.as_deref().map(str::to_owned),
            addresses: endpoint.addresses.to_vec(),
            ports: Arc::clone(&ports),
            ready: true,
        })
    }
}

// === impl PortState ===

impl PortState {
    fn new(
        name: Option<String>,
        protocol: Option<String>,
        number: Option<i32>,
        object: &impl Fn() -> String,
    ) -> Option<Self> {
        // A slice's port without a number stands for all ports.
        let number = number?;
        let Ok(number) = u16::try_from(number) else {
            tracing::info!(object = object(), number, "port out of range, left out");
            return None;
        };
        Some(Self {
            // The API server writes the name of an unnamed port as an empty string.
            name: name.filter(|name| !name.is_empty()).map(Into::into),
            protocol: protocol.map_or_else(|| "TCP".into(), Into::into),
            number,
        })
    }
}

impl From<&PortState> for Port {
    fn from(port: &PortState) -> Self {
        let PortState {
            name,
            protocol,
            number,
        } = port;
        Self {
            name: name.as_deref().map(str::to_owned),
            protocol: protocol.to_string(),
            number: *number,
        }
    }
}

fn parse_addresses(texts: &[String], object: &impl Fn() -> String) -> Box<[IpAddr]> {
    let parsed = texts.iter().filter_map(|text| {
        let address = text.parse();
        if address.is_err() {
            tracing::info!(
                object = object(),
                address = text,
                "not an IP address, left out"
            );
        }
        address.ok()
    });
    parsed.collect()
}

#[cfg(test)]
mod tests;
