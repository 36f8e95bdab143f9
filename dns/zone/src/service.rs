//! The records of one import, ready to be looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use tombolo_catalog::{endpoint_id, is_dns_label, is_dns_subdomain};

use crate::{Endpoint, Import, ImportKind, Port};

/// An import as the zone keeps it. Cheap to clone into the next snapshot behind an [`Arc`].
#[derive(Debug, PartialEq, Eq)]
pub struct Service {
    /// `<name>.<namespace>`
    key: Box<str>,
    /// Sorted, without duplicates, IPv4 before IPv6.
    addresses: Box<[IpAddr]>,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    ClusterSetIp { ports: Box<[ServicePort]> },
    Headless { hosts: Box<[Host]> },
}

/// The ready endpoints of a headless service that share a cluster and a hostname.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Host {
    cluster: Arc<str>,
    hostname: Box<str>,
    addresses: Box<[IpAddr]>,
    ports: Box<[ServicePort]>,
}

/// A [`Port`] as it is kept: there are many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ServicePort {
    /// In lower case.
    name: Option<Box<str>>,
    protocol: Protocol,
    number: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// Where an SRV record leads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// None: the service itself.
    pub(crate) host: Option<&'a Host>,
    pub(crate) port: u16,
}

/// What several endpoints say of one host.
#[derive(Default)]
struct Gathered {
    addresses: Vec<IpAddr>,
    ports: BTreeSet<ServicePort>,
}

/// What a question may ask of a service's ports.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PortFilter<'a> {
    All,
    /// Named ports of the protocol.
    Protocol(&'a str),
    Named {
        protocol: &'a str,
        name: &'a str,
    },
}

/// An import that no DNS name can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidImport {
    /// Its namespace is not a DNS label.
    #[error("namespace {0:?} is not a DNS label")]
    Namespace(String),
    /// Its name is not a DNS label.
    #[error("name {0:?} is not a DNS label")]
    Name(String),
}

// === impl Service ===

impl Service {
    /// The records of `import`. Endpoints that are not ready, or whose cluster ID is no DNS name,
    /// have none.
    ///
    /// # Errors
    /// If the import's namespace or name is no DNS label.
    pub fn new(import: Import) -> Result<Self, InvalidImport> {
        let Import {
            namespace,
            name,
            kind,
        } = import;
        if !is_dns_label(&namespace) {
            return Err(InvalidImport::Namespace(namespace));
        }
        if !is_dns_label(&name) {
            return Err(InvalidImport::Name(name));
        }
        let key = format!("{name}.{namespace}").into();
        Ok(match kind {
            ImportKind::ClusterSetIp { addresses, ports } => Self {
                key,
                addresses: distinct(addresses),
                kind: Kind::ClusterSetIp {
                    ports: ports.iter().filter_map(ServicePort::new).collect(),
                },
            },
            ImportKind::Headless { endpoints } => {
                let hosts = hosts_of(endpoints);
                Self {
                    key,
                    addresses: distinct(hosts.iter().flat_map(|host| host.addresses()).collect()),
                    kind: Kind::Headless { hosts },
                }
            }
        })
    }

    /// `<name>.<namespace>`
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn namespace(&self) -> &str {
        self.key
            .split_once('.')
            .map_or("", |(_, namespace)| namespace)
    }

    /// Whether it leads nowhere, so that none of its names exist.
    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().copied()
    }

    pub(crate) fn v4(&self) -> impl Iterator<Item = Ipv4Addr> + Clone {
        v4(&self.addresses)
    }

    pub(crate) fn v6(&self) -> impl Iterator<Item = Ipv6Addr> + Clone {
        v6(&self.addresses)
    }

    /// Whether a port that `filter` lets through exists.
    pub(crate) fn has_port(&self, filter: PortFilter<'_>) -> bool {
        match &self.kind {
            Kind::ClusterSetIp { ports } => ports.iter().any(|port| filter.admits(port)),
            Kind::Headless { hosts } => hosts
                .iter()
                .flat_map(|host| &host.ports)
                .any(|port| filter.admits(port)),
        }
    }

    /// Where the ports that `filter` lets through lead. TCP and UDP on one port number give the
    /// same record, which a set has once (RFC 2181, section 5.5).
    pub(crate) fn targets<'a>(
        &'a self,
        filter: PortFilter<'a>,
    ) -> impl Iterator<Item = Target<'a>> + Clone {
        let (own, hosts): (&[ServicePort], &[Host]) = match &self.kind {
            Kind::ClusterSetIp { ports } => (ports, &[]),
            Kind::Headless { hosts } => (&[], hosts),
        };
        let target = |host| move |port| Target { host, port };
        let below = hosts
            .iter()
            .flat_map(move |host| filter.numbers(&host.ports).map(target(Some(host))));
        filter.numbers(own).map(target(None)).chain(below)
    }

    /// The host `name`, which is `<hostname>.<cluster>`.
    pub(crate) fn host(&self, name: &str) -> Option<&Host> {
        let (hostname, cluster) = name.split_once('.')?;
        let hosts = self.hosts();
        let position = hosts.binary_search_by_key(&(cluster, hostname), |host| {
            (host.cluster.as_ref(), host.hostname.as_ref())
        });
        hosts.get(position.ok()?)
    }

    /// Whether a host is below `name`: it is a cluster's ID, or the end of a dotted one.
    pub(crate) fn has_host_below(&self, name: &str) -> bool {
        self.hosts().iter().any(|host| {
            host.cluster
                .strip_suffix(name)
                .is_some_and(|left| left.is_empty() || left.ends_with('.'))
        })
    }

    /// The names of `address`: of the service itself (none), or of hosts.
    pub(crate) fn hosts_at(&self, address: IpAddr) -> impl Iterator<Item = Option<&Host>> {
        let itself = matches!(self.kind, Kind::ClusterSetIp { .. }).then_some(None);
        let hosts = self.hosts().iter();
        let there = hosts.filter(move |host| host.addresses.contains(&address));
        itself.into_iter().chain(there.map(Some))
    }

    fn hosts(&self) -> &[Host] {
        match &self.kind {
            Kind::ClusterSetIp { .. } => &[],
            Kind::Headless { hosts } => hosts,
        }
    }
}

// === impl Host ===

impl Host {
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    pub(crate) fn hostname(&self) -> &str {
        &self.hostname
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().copied()
    }

    pub(crate) fn v4(&self) -> impl Iterator<Item = Ipv4Addr> + Clone {
        v4(&self.addresses)
    }

    pub(crate) fn v6(&self) -> impl Iterator<Item = Ipv6Addr> + Clone {
        v6(&self.addresses)
    }
}

// === impl ServicePort ===

impl ServicePort {
    /// None if no name is made of its protocol.
    fn new(port: &Port) -> Option<Self> {
        let Port {
            name,
            protocol,
            number,
        } = port;
        let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
        Some(Self {
            name: name.as_ref().map(|name| name.to_ascii_lowercase().into()),
            protocol: protocols
                .into_iter()
                .find(|known| known.label().eq_ignore_ascii_case(protocol))?,
            number: *number,
        })
    }
}

// === impl Protocol ===

impl Protocol {
    fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

// === impl PortFilter ===

impl PortFilter<'_> {
    fn admits(self, port: &ServicePort) -> bool {
        match self {
            Self::All => true,
            Self::Protocol(protocol) => port.name.is_some() && port.protocol.label() == protocol,
            Self::Named { protocol, name } => {
                port.name.as_deref() == Some(name) && port.protocol.label() == protocol
            }
        }
    }

    /// The numbers of the ports that it lets through, each once.
    fn numbers<'a>(self, ports: &'a [ServicePort]) -> impl Iterator<Item = u16> + Clone + 'a
    where
        Self: 'a,
    {
        let admitted = ports.iter().enumerate().filter(move |(position, port)| {
            let twin = |other: &ServicePort| other.number == port.number && self.admits(other);
            self.admits(port) && !ports[..*position].iter().any(twin)
        });
        admitted.map(|(_, port)| port.number)
    }
}

// === impl InvalidImport ===

impl InvalidImport {
    /// A stable word for this error.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Namespace(_) => "InvalidNamespace",
            Self::Name(_) => "InvalidName",
        }
    }
}

/// The hosts of the ready endpoints, sorted as [`Service::host`] searches them.
fn hosts_of(endpoints: Vec<Endpoint>) -> Box<[Host]> {
    let mut hosts: BTreeMap<(Arc<str>, String), Gathered> = BTreeMap::new();
    for endpoint in endpoints {
        let Endpoint {
            cluster,
            hostname,
            addresses,
            ports,
            ready,
        } = endpoint;
        if !ready || !is_dns_subdomain(&cluster) {
            continue;
        }
        for address in addresses {
            let hostname = endpoint_id(hostname.as_deref(), address);
            let host = hosts.entry((cluster.clone(), hostname)).or_default();
            host.addresses.push(address);
            host.ports.extend(ports.iter().filter_map(ServicePort::new));
        }
    }
    hosts
        .into_iter()
        .map(
            |((cluster, hostname), Gathered { addresses, ports })| Host {
                cluster,
                hostname: hostname.into(),
                addresses: distinct(addresses),
                ports: ports.into_iter().collect(),
            },
        )
        .collect()
}

fn distinct(mut addresses: Vec<IpAddr>) -> Box<[IpAddr]> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses.into()
}

fn v4(addresses: &[IpAddr]) -> impl Iterator<Item = Ipv4Addr> + Clone {
    addresses.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    })
}

fn v6(addresses: &[IpAddr]) -> impl Iterator<Item = Ipv6Addr> + Clone {
    addresses.iter().filter_map(|address| match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(*address),
    })
}
