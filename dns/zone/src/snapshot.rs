//! A zone at one moment.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use crate::owner::{Owner, RelativeName};
use crate::service::{Host, PortFilter};
use crate::shards::Shards;
use crate::{Service, Zone};

/// A zone at one moment: immutable, to be swapped whole. The next one shares with it what has not
/// changed.
#[derive(Clone, Debug)]
pub struct Snapshot {
    zone: Arc<Zone>,
    serial: u32,
    /// None until everything that there is has been heard of.
    contents: Option<Contents>,
}

/// What becomes of a service from one snapshot to the next.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is new, or other than before.
    Put(Arc<Service>),
    /// There is no such service any more.
    Remove {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// Of services without an address there is nothing.
#[derive(Clone, Debug, Default)]
struct Contents {
    services: Shards<ByKey>,
    namespaces: Shards<Namespace>,
    pointers: Shards<Pointer>,
}

/// A service, to be found by its key.
#[derive(Clone)]
struct ByKey(Arc<Service>);

/// A namespace that has services, to be found by its name.
#[derive(Clone)]
struct Namespace {
    name: Box<str>,
    services: usize,
}

/// Whose an address is, to be found by the address; it may be several services'.
#[derive(Clone)]
struct Pointer {
    address: IpAddr,
    services: Vec<Arc<Service>>,
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
            contents.put(service);
        }
        Self {
            zone,
            serial,
            contents: Some(contents),
        }
    }

    /// The next snapshot, after `changes`. One that is not complete remains so.
    #[must_use]
    pub fn with(&self, serial: u32, changes: impl IntoIterator<Item = Change>) -> Self {
        let mut next = self.clone();
        next.serial = serial;
        if let Some(contents) = &mut next.contents {
            for change in changes {
                match change {
                    Change::Put(service) => contents.put(service),
                    Change::Remove { namespace, name } => {
                        contents.remove(&format!("{name}.{namespace}"));
                    }
                }
            }
        }
        next
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

    /// The services that have `address`, in a certain order; none if the snapshot is not complete.
    pub(crate) fn services_at(&self, address: IpAddr) -> Option<Vec<&Service>> {
        let pointer = self.contents.as_ref()?.pointers.get(&address);
        let services = pointer.into_iter().flat_map(|pointer| &pointer.services);
        let mut services: Vec<&Service> = services.map(AsRef::as_ref).collect();
        services.sort_unstable_by_key(|service| service.key());
        Some(services)
    }
}

// === impl Contents ===

impl Contents {
    fn put(&mut self, service: Arc<Service>) {
        self.remove(service.key());
        if service.is_empty() {
            return;
        }
        self.count(service.namespace(), |services| services + 1);
        for address in service.addresses() {
            self.point(address, |services| services.push(Arc::clone(&service)));
        }
        self.services.replace(ByKey(service));
    }

    fn remove(&mut self, key: &str) {
        let Some(ByKey(service)) = self.services.take(key) else {
            return;
        };
        self.count(service.namespace(), |services| services - 1);
        for address in service.addresses() {
            self.point(address, |services| {
                services.retain(|other| !Arc::ptr_eq(other, &service));
            });
        }
    }

    /// Changes the number of services of a namespace.
    fn count(&mut self, name: &str, change: impl FnOnce(usize) -> usize) {
        let old = self.namespaces.take(name);
        let services = change(old.map_or(0, |old| old.services));
        if services > 0 {
            let name = name.into();
            self.namespaces.replace(Namespace { name, services });
        }
    }

    /// Changes the services that have an address.
    fn point(&mut self, address: IpAddr, change: impl FnOnce(&mut Vec<Arc<Service>>)) {
        let old = self.pointers.take(&address);
        let mut services = old.map_or_else(Vec::new, |old| old.services);
        change(&mut services);
        if !services.is_empty() {
            services.shrink_to_fit();
            self.pointers.replace(Pointer { address, services });
        }
    }

    fn find<'a>(&'a self, owner: Owner<'a>) -> Node<'a> {
        match owner {
            Owner::Apex => Node::Apex,
            Owner::SchemaVersion => Node::SchemaVersion,
            Owner::Nameserver => Node::Nameserver,
            Owner::Dns | Owner::Services => Node::Empty,
            Owner::Nowhere => Node::Missing,
            Owner::Namespace(namespace) if self.namespaces.get(namespace).is_some() => Node::Empty,
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
            .map_or(Node::Missing, |ByKey(service)| node(service))
    }
}

// === impl ByKey, Namespace and Pointer ===

/// Makes a type hash and compare as its key.
macro_rules! keyed {
    ($type:ty, $key:ty, $of:expr) => {
        impl Borrow<$key> for $type {
            fn borrow(&self) -> &$key {
                let of: fn(&Self) -> &$key = $of;
                of(self)
            }
        }

        impl Hash for $type {
            fn hash<H: Hasher>(&self, state: &mut H) {
                Borrow::<$key>::borrow(self).hash(state);
            }
        }

        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                Borrow::<$key>::borrow(self) == Borrow::<$key>::borrow(other)
            }
        }

        impl Eq for $type {}
    };
}

keyed!(ByKey, str, |it| it.0.key());
keyed!(Namespace, str, |it| &it.name);
keyed!(Pointer, IpAddr, |it| &it.address);
