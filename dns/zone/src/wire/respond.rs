//! The answers to usual questions.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use crate::answer::{MAX_RECORDS, SRV_PRIORITY, SRV_WEIGHT};
use crate::service::{Host, PortFilter, Target};
use crate::snapshot::Node;
use crate::zone::{MAILBOX, NAMESERVER, SOA_TIMES};
use crate::{Service, Snapshot, Zone};

use super::writer::{QUESTION, Section, Writer};
use super::{Query, ServerCookie};

/// Octets of a name, with the root's (RFC 1035).
const MAX_NAME: usize = 255;
const SERVICES: &str = "svc";

/// A response under way to a question whose name ends with the origin at a place.
struct Response<'a, 'o> {
    snapshot: &'a Snapshot,
    zone: &'a Zone,
    origin_at: usize,
    rotation: usize,
    writer: Writer<'o>,
}

impl Snapshot {
    /// Writes the response to `query` over UDP to `response`, which is cleared before, and returns
    /// its code. `server_cookie` goes with the client's, if it sent one. None if the question is one
    /// for [`Snapshot::answer`], or if the response must be cut; then `response` is of no use.
    pub fn respond(
        &self,
        query: &Query<'_>,
        rotation: usize,
        server_cookie: Option<ServerCookie>,
        response: &mut Vec<u8>,
    ) -> Option<ResponseCode> {
        let record_type = RecordType::from(query.record_type());
        if matches!(
            record_type,
            RecordType::ANY | RecordType::AXFR | RecordType::IXFR
        ) {
            return None;
        }
        let zone = self.zone();
        let (name, origin_at) = query.relative_to(zone.octets())?;
        let node = self.find(&name)?;
        let mut response = Response {
            snapshot: self,
            zone,
            origin_at,
            rotation,
            writer: Writer::new(query, response),
        };
        let code = response.fill(node, record_type)?;
        response.writer.finish(code, server_cookie)
    }
}

// === impl Response ===

impl Response<'_, '_> {
    /// None for what is not answered here.
    fn fill(&mut self, node: Node<'_>, record_type: RecordType) -> Option<ResponseCode> {
        match node {
            Node::Apex | Node::SchemaVersion | Node::Nameserver => return None,
            Node::Missing => {
                self.denial();
                return Some(ResponseCode::NXDomain);
            }
            Node::Service(service) if record_type == RecordType::SRV => {
                self.targets(service, PortFilter::All)?;
            }
            Node::Ports(service, filter) if record_type == RecordType::SRV => {
                self.targets(service, filter)?;
            }
            Node::Service(service) => self.addresses(record_type, service.v4(), service.v6()),
            Node::Host(host) => self.addresses(record_type, host.v4(), host.v6()),
            Node::Empty | Node::Ports(..) => self.denial(),
        }
        Some(ResponseCode::NoError)
    }

    fn addresses(
        &mut self,
        record_type: RecordType,
        v4: impl Iterator<Item = Ipv4Addr> + Clone,
        v6: impl Iterator<Item = Ipv6Addr> + Clone,
    ) {
        let written = if record_type == RecordType::A {
            self.rotated(v4, |this, address| {
                this.address(Section::Answer, at(QUESTION), &address.octets());
            })
        } else if record_type == RecordType::AAAA {
            self.rotated(v6, |this, address| {
                this.address(Section::Answer, at(QUESTION), &address.octets());
            })
        } else {
            false
        };
        if !written {
            self.denial();
        }
    }

    /// None once no more fits.
    fn targets(&mut self, service: &Service, filter: PortFilter<'_>) -> Option<()> {
        let zone = self.zone;
        let targets = service
            .targets(filter)
            .take(MAX_RECORDS)
            .filter(|target| octets(zone, service, target.host) <= MAX_NAME);
        if !self.rotated(targets.clone(), |this, target| this.srv(service, &target)) {
            self.denial();
            return Some(());
        }
        let mut last = None;
        for Target { host, .. } in targets {
            // A host's targets follow each other, and there is one host or none of a name.
            let name = host.map(|host| (host.hostname(), host.cluster()));
            if last.replace(name) == Some(name) {
                continue;
            }
            match host {
                Some(host) => self.glue(service, Some(host), host.v4(), host.v6())?,
                None => self.glue(service, None, service.v4(), service.v6())?,
            }
        }
        Some(())
    }

    /// Writes `items`, beginning with the one whose turn it is. Whether there were any.
    fn rotated<T>(
        &mut self,
        items: impl Iterator<Item = T> + Clone,
        write: impl Fn(&mut Self, T),
    ) -> bool {
        let items = items.take(MAX_RECORDS);
        let count = items.clone().count();
        let Some(first) = self.rotation.checked_rem(count) else {
            return false;
        };
        for item in items.clone().skip(first).chain(items.take(first)) {
            write(self, item);
            if self.writer.is_full() {
                break;
            }
        }
        true
    }

    fn address(&mut self, section: Section, owner: impl FnOnce(&mut Writer<'_>), octets: &[u8]) {
        let record_type = match octets.len() {
            4 => RecordType::A,
            _ => RecordType::AAAA,
        };
        let ttl = self.zone.ttl_seconds();
        self.writer
            .record(section, owner, record_type.into(), ttl, |writer| {
                writer.bytes(octets);
            });
    }

    fn srv(&mut self, service: &Service, target: &Target<'_>) {
        let zone = self.zone;
        let record_type = RecordType::SRV.into();
        let ttl = zone.ttl_seconds();
        self.writer
            .record(Section::Answer, at(QUESTION), record_type, ttl, |writer| {
                writer.u16(SRV_PRIORITY);
                writer.u16(SRV_WEIGHT);
                writer.u16(target.port);
                // RFC 2782: the target is not compressed.
                host_labels(writer, target.host);
                service
                    .key()
                    .split('.')
                    .for_each(|label| writer.label(label));
                writer.label(SERVICES);
                writer.bytes(zone.octets());
            });
    }

    fn glue(
        &mut self,
        service: &Service,
        host: Option<&Host>,
        v4: impl Iterator<Item = Ipv4Addr>,
        v6: impl Iterator<Item = Ipv6Addr>,
    ) -> Option<()> {
        // The question's name ends with the service's.
        let service_at = self.origin_at - below_origin(service);
        let owner = |writer: &mut Writer<'_>| {
            host_labels(writer, host);
            writer.pointer(service_at);
        };
        for address in v4 {
            self.address(Section::Additional, owner, &address.octets());
            self.room()?;
        }
        for address in v6 {
            self.address(Section::Additional, owner, &address.octets());
            self.room()?;
        }
        Some(())
    }

    fn room(&self) -> Option<()> {
        (!self.writer.is_full()).then_some(())
    }

    /// The SOA record that goes with a denial: its TTL is how long that may be cached (RFC 2308,
    /// section 3).
    fn denial(&mut self) {
        let (origin_at, serial) = (self.origin_at, self.snapshot.serial());
        let ttl = self.zone.negative_ttl_seconds();
        let record_type = RecordType::SOA.into();
        self.writer.record(
            Section::Authority,
            at(origin_at),
            record_type,
            ttl,
            |writer| {
                for labels in [NAMESERVER.as_slice(), &[MAILBOX]] {
                    labels.iter().for_each(|label| writer.label(label));
                    writer.pointer(origin_at);
                }
                writer.u32(serial);
                for seconds in SOA_TIMES {
                    writer.u32(seconds.unsigned_abs());
                }
                writer.u32(ttl);
            },
        );
    }
}

fn at(position: usize) -> impl Fn(&mut Writer<'_>) + Copy {
    move |writer| writer.pointer(position)
}

/// The labels of a host that are before those of its service.
fn host_labels(writer: &mut Writer<'_>, host: Option<&Host>) {
    let Some(host) = host else { return };
    writer.label(host.hostname());
    host.cluster()
        .split('.')
        .for_each(|label| writer.label(label));
}

/// Octets of a target's name.
fn octets(zone: &Zone, service: &Service, host: Option<&Host>) -> usize {
    // A length octet in place of each dot, and one before the first label.
    let own = host.map_or(0, |host| {
        host.hostname().len() + 1 + host.cluster().len() + 1
    });
    own + below_origin(service) + zone.octets().len()
}

/// Octets of a service's name without the origin.
fn below_origin(service: &Service) -> usize {
    service.key().len() + 1 + SERVICES.len() + 1
}
