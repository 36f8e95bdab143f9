//! A zone at one moment.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::owner::{Owner, RelativeName};
use crate::service::{Host, PortFilter};
use crate::{Service, Zone};

/// A zone at one moment: immutable, to be swapped whole.
#[derive(Clone, Debug)]
pub struct Snapshot {
    zone: Arc<Zone>,
    serial: u32,
    /// None until everything that there is has been heard of.
    contents: Option<Contents>,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    /// By `<name>.<namespace>`; none without an address.
    services: HashMap<Arc<str>, Arc<Service>>,
    namespaces: HashSet<Box<str>>,
}

/// What a snapshot has at a name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Node<'a> {
    /// Neither it nor a name below it exists.
    Missing,
    /// It owns no record, but a name below it does (RFC 4592, section 2.2.2).
    Empty,
    Apex,
    SchemaVersion,
    Nameserver,
    Service(&'a Service),
    /// Ports of a service, of which there is at least one.
    Ports(&'a Service, PortFilter<'a>),
    Host(&'a Host),
}

// === impl Snapshot ===

impl Snapshot {
    /// A zone of which too little is known to say what does not exist.
    #[must_use]
    pub fn incomplete(zone: Arc<Zone>) -> Self {
        Self {
            zone,
            serial: 0,
            contents: None,
        }
    }

    /// The zone with all the `services` that there are. `serial` is the SOA's. Of two services of
    /// one name the later counts.
    #[must_use]
    pub fn new(
        zone: Arc<Zone>,
        serial: u32,
        services: impl IntoIterator<Item = Arc<Service>>,
    ) -> Self {
        let mut contents = Contents::default();
        for service in services {
            if service.is_empty() {
                continue;
            }
            if !contents.namespaces.contains(service.namespace()) {
                contents.namespaces.insert(service.namespace().into());
            }
            contents.services.insert(service.key().clone(), service);
        }
        Self {
            zone,
            serial,
            contents: Some(contents),
        }
    }

    /// What every snapshot of this zone has.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The SOA's serial.
    #[must_use]
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Whether it can deny that a name exists.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.contents.is_some()
    }

    /// How many services have an address.
    #[must_use]
    pub fn len(&self) -> usize {
        self.contents
            .as_ref()
            .map_or(0, |contents| contents.services.len())
    }

    /// Whether no service has an address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is at `name`; none if the snapshot is not complete.
    pub(crate) fn find<'a>(&'a self, name: &'a RelativeName) -> Option<Node<'a>> {
        Some(self.contents.as_ref()?.find(name.owner()))
    }
}

// === impl Contents ===

impl Contents {
    fn find<'a>(&'a self, owner: Owner<'a>) -> Node<'a> {
        match owner {
            Owner::Apex => Node::Apex,
            Owner::SchemaVersion => Node::SchemaVersion,
            Owner::Nameserver => Node::Nameserver,
            Owner::Dns | Owner::Services => Node::Empty,
            Owner::Nowhere => Node::Missing,
            Owner::Namespace(namespace) if self.namespaces.contains(namespace) => Node::Empty,
            Owner::Namespace(_) => Node::Missing,
            Owner::Service(service) => self.at(service, Node::Service),
            Owner::Protocol { service, protocol } => self.at(service, |service| {
                if service.has_port(PortFilter::Protocol(protocol)) {
                    Node::Empty
                } else {
                    Node::Missing
                }
            }),
            Owner::Port {
                service,
                protocol,
                port,
            } => self.at(service, |service| {
                let filter = PortFilter::Named {
                    protocol,
                    name: port,
                };
                if service.has_port(filter) {
                    Node::Ports(service, filter)
                } else {
                    Node::Missing
                }
            }),
            Owner::Below { service, name } => {
                self.at(service, |service| match service.host(name) {
                    Some(host) => Node::Host(host),
                    None if service.has_host_below(name) => Node::Empty,
                    None => Node::Missing,
                })
            }
        }
    }

    fn at<'a>(&'a self, service: &str, node: impl FnOnce(&'a Service) -> Node<'a>) -> Node<'a> {
        self.services
            .get(service)
            .map_or(Node::Missing, |service| node(service))
    }
}
