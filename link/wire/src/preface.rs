//! What a stream is for: the first message that its opener sends.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use prost::Message;
use tombolo_catalog::{
    ServiceName, is_dns_label, is_dns_subdomain, is_label_value, is_qualified_name,
};

use crate::error::DecodeError;
use crate::frame::frame;
use crate::limits;
use crate::proto::{self, Empty, PrefaceKind};

const TRACEPARENT: usize = 128;

/// What a stream is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preface {
    /// A client's connection to a service of the receiver's cluster.
    Connect(Box<Connect>),
    /// The opener asks for the receiver's catalog.
    Catalog,
    /// The opener asks how many endpoints the receiver's services have.
    Headcounts,
}

/// A client's connection to a service of the receiver's cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The exported service.
    pub service: ServiceName,
    /// Protocol of the port.
    pub protocol: Protocol,
    /// The service's port.
    pub port: u16,
    /// The one endpoint of a headless service that is meant, by the ID that the receiver's export
    /// gives it; none for any endpoint.
    pub endpoint: Option<String>,
    /// Who connects.
    pub source: Source,
    /// IDs of the clusters that the connection has passed through before the sender's.
    pub path: Vec<String>,
    /// W3C trace context; empty if there is none.
    pub traceparent: String,
    /// Labels that the pod which is dialled must have; none: any pod.
    pub selector: BTreeMap<String, String>,
    /// The zone whose endpoints are preferred while any of them is ready; empty: none.
    pub zone: String,
    /// Whether the client is to stay with its endpoint, where the sender's cluster has a will of its
    /// own; none: as the import says.
    pub affinity: Option<bool>,
}

/// A transport protocol that is carried between clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// The client of a connection. What is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Its cluster.
    pub cluster: String,
    /// Its Pod's namespace.
    pub namespace: String,
    /// Its Pod.
    pub pod: String,
    /// Its Pod's service account.
    pub service_account: String,
    /// Its address in its own cluster.
    pub address: Option<SocketAddr>,
}

// === impl Protocol ===

impl Protocol {
    /// As the Kubernetes API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Preface ===

impl Preface {
    /// The message in its frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        frame(&proto::Preface {
            kind: Some(match self {
                Self::Connect(connect) if connect.endpoint.is_some() => {
                    PrefaceKind::ConnectEndpoint(Box::new(connect.to_proto()))
                }
                Self::Connect(connect) => PrefaceKind::Connect(Box::new(connect.to_proto())),
                Self::Catalog => PrefaceKind::Catalog(Empty {}),
                Self::Headcounts => PrefaceKind::Headcounts(Empty {}),
            }),
        })
    }

    /// Reads the content of a frame.
    ///
    /// # Errors
    /// When it is no preface, or a field breaks its rule.
    pub fn decode(content: Bytes) -> Result<Self, DecodeError> {
        let message = proto::Preface::decode(content)?;
        match message
            .kind
            .ok_or(DecodeError::UnknownKind("the preface"))?
        {
            PrefaceKind::Connect(connect) => {
                let any = proto::Connect {
                    endpoint: None,
                    ..*connect
                };
                Connect::from_proto(any).map(|connect| Self::Connect(Box::new(connect)))
            }
            PrefaceKind::ConnectEndpoint(connect) if connect.endpoint.is_none() => {
                Err(DecodeError::field("endpoint", ""))
            }
            PrefaceKind::ConnectEndpoint(connect) => {
                Connect::from_proto(*connect).map(|connect| Self::Connect(Box::new(connect)))
            }
            PrefaceKind::Catalog(Empty {}) => Ok(Self::Catalog),
            PrefaceKind::Headcounts(Empty {}) => Ok(Self::Headcounts),
        }
    }
}

// === impl Connect ===

impl Connect {
    /// Checks what [`Preface::decode`] will check at the other end, so that a mistake is found at
    /// this one.
    ///
    /// # Errors
    /// When a field breaks its rule.
    pub fn validate(&self) -> Result<(), DecodeError> {
        let label = |field, value: &str| match is_dns_label(value) {
            true => Ok(()),
            false => Err(DecodeError::field(field, value)),
        };
        label("namespace", &self.service.namespace)?;
        label("name", &self.service.name)?;
        if self.port == 0 {
            return Err(DecodeError::field("port", "0"));
        }
        if let Some(endpoint) = &self.endpoint {
            label("endpoint", endpoint)?;
        }
        self.source.validate()?;
        if self.path.len() > limits::PATH {
            return Err(DecodeError::PathTooLong(self.path.len()));
        }
        for cluster in &self.path {
            label("path", cluster)?;
        }
        if self.traceparent.len() > TRACEPARENT
            || !self.traceparent.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(DecodeError::field("traceparent", &self.traceparent));
        }
        if self.selector.len() > limits::SELECTOR {
            return Err(DecodeError::field(
                "selector",
                self.selector.len().to_string(),
            ));
        }
        for (key, value) in &self.selector {
            if !is_qualified_name(key) || !is_label_value(value) {
                return Err(DecodeError::field("selector", key));
            }
        }
        if !is_label_value(&self.zone) {
            return Err(DecodeError::field("zone", &self.zone));
        }
        Ok(())
    }

    fn to_proto(&self) -> proto::Connect {
        let protocol = match self.protocol {
            Protocol::Tcp => proto::Protocol::Tcp,
            Protocol::Udp => proto::Protocol::Udp,
        };
        proto::Connect {
            namespace: self.service.namespace.clone(),
            name: self.service.name.clone(),
            protocol: protocol.into(),
            port: self.port.into(),
            source: Some(proto::Source {
                cluster: self.source.cluster.clone(),
                namespace: self.source.namespace.clone(),
                pod: self.source.pod.clone(),
                service_account: self.source.service_account.clone(),
                address: self
                    .source
                    .address
                    .map(|address| address.to_string())
                    .unwrap_or_default(),
            }),
            path: self.path.clone(),
            traceparent: self.traceparent.clone(),
            endpoint: self.endpoint.clone(),
            selector: self.selector.clone(),
            zone: self.zone.clone(),
            affinity: self.affinity,
        }
    }

    fn from_proto(connect: proto::Connect) -> Result<Self, DecodeError> {
        let protocol = match proto::Protocol::try_from(connect.protocol) {
            Ok(proto::Protocol::Tcp) => Protocol::Tcp,
            Ok(proto::Protocol::Udp) => Protocol::Udp,
            Ok(proto::Protocol::Unspecified) | Err(_) => {
                return Err(DecodeError::field("protocol", connect.protocol.to_string()));
            }
        };
        let Ok(port) = u16::try_from(connect.port) else {
            return Err(DecodeError::field("port", connect.port.to_string()));
        };
        let connect = Self {
            service: ServiceName::new(connect.namespace, connect.name),
            protocol,
            port,
            endpoint: connect.endpoint,
            source: Source::from_proto(connect.source.unwrap_or_default())?,
            path: connect.path,
            traceparent: connect.traceparent,
            selector: connect.selector,
            zone: connect.zone,
            affinity: connect.affinity,
        };
        connect.validate()?;
        Ok(connect)
    }
}

// === impl Source ===

impl Source {
    fn validate(&self) -> Result<(), DecodeError> {
        for (field, value) in [
            ("source.cluster", &self.cluster),
            ("source.namespace", &self.namespace),
        ] {
            if !value.is_empty() && !is_dns_label(value) {
                return Err(DecodeError::field(field, value));
            }
        }
        for (field, value) in [
            ("source.pod", &self.pod),
            ("source.service_account", &self.service_account),
        ] {
            if !value.is_empty() && !is_dns_subdomain(value) {
                return Err(DecodeError::field(field, value));
            }
        }
        Ok(())
    }

    fn from_proto(source: proto::Source) -> Result<Self, DecodeError> {
        let address = match source.address.as_str() {
            "" => None,
            text => match text.parse() {
                Ok(address) => Some(address),
                Err(_) => return Err(DecodeError::field("source.address", text)),
            },
        };
        Ok(Self {
            cluster: source.cluster,
            namespace: source.namespace,
            pod: source.pod,
            service_account: source.service_account,
            address,
        })
    }
}
