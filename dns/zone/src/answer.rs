//! Question and snapshot in, answer out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, HINFO, NS, PTR, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::owner::RelativeName;
use crate::service::{Host, PortFilter, Target};
use crate::snapshot::Node;
use crate::{Service, Snapshot, reverse};

/// Most records of an answer. A headless service with more endpoints is answered with a subset,
/// the same for A and AAAA as KEP-1645 asks.
pub const MAX_RECORDS: usize = 1_024;

/// KEP-1645, DNS specification, section 2.2.
const SCHEMA_VERSION: &str = "1.0.0";
/// The specification writes this TTL out, where it leaves the others open.
const SCHEMA_VERSION_TTL_SECONDS: u32 = 28_800;
/// All targets are alike. The priority is the best one.
pub(crate) const SRV_PRIORITY: u16 = 0;
pub(crate) const SRV_WEIGHT: u16 = 100;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The name in the case in which it was asked, which answers repeat (0x20).
    pub name: &'a Name,
    /// The type.
    pub record_type: RecordType,
    /// The class.
    pub class: DNSClass,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// NOERROR, NXDOMAIN, REFUSED or SERVFAIL.
    pub code: ResponseCode,
    /// Whether the zone's owner says so (AA).
    pub authoritative: bool,
    /// What was asked for.
    pub answers: Vec<Record>,
    /// The SOA, where there is nothing to answer.
    pub authorities: Vec<Record>,
    /// Addresses of the names in the answers; may be left out.
    pub additionals: Vec<Record>,
}

/// A snapshot on its way to the answer of a question about `name`.
struct Responder<'a> {
    snapshot: &'a Snapshot,
    name: &'a Name,
    rotation: usize,
}

impl Snapshot {
    /// The answer to `question`. Where it has several records, `rotation` says with which it
    /// begins: counted up from question to question, each record comes first equally often.
    #[must_use]
    pub fn answer(&self, question: &Question<'_>, rotation: usize) -> Answer {
        let Question {
            name,
            record_type,
            class,
        } = *question;
        if class != DNSClass::IN || matches!(record_type, RecordType::AXFR | RecordType::IXFR) {
            return Answer::without_authority(ResponseCode::Refused);
        }
        let responder = Responder {
            snapshot: self,
            name,
            rotation,
        };
        if let Some(relative) = RelativeName::new(self.zone(), name) {
            return match self.find(&relative) {
                Some(node) => responder.respond(node, record_type),
                None => Answer::without_authority(ResponseCode::ServFail),
            };
        }
        match reverse::address(name) {
            Some(address) => responder.reverse(address, record_type),
            None => Answer::without_authority(ResponseCode::Refused),
        }
    }
}

// === impl Answer ===

impl Answer {
    fn without_authority(code: ResponseCode) -> Self {
        Self {
            code,
            authoritative: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
        }
    }
}

// === impl Responder ===

impl Responder<'_> {
    fn respond(&self, node: Node<'_>, record_type: RecordType) -> Answer {
        if matches!(node, Node::Missing) {
            return self.denial(ResponseCode::NXDomain);
        }
        if record_type == RecordType::ANY && !matches!(node, Node::Empty) {
            return self.minimal();
        }
        match node {
            Node::Missing | Node::Empty => self.denial(ResponseCode::NoError),
            Node::Apex => self.apex(record_type),
            Node::SchemaVersion => self.schema_version(record_type),
            Node::Nameserver => {
                self.addresses(record_type, self.nameserver_v4(), self.nameserver_v6())
            }
            Node::Service(service) if record_type == RecordType::SRV => {
                self.targets(service, PortFilter::All)
            }
            Node::Service(service) => self.addresses(record_type, service.v4(), service.v6()),
            Node::Ports(service, filter) if record_type == RecordType::SRV => {
                self.targets(service, filter)
            }
            Node::Ports(..) => self.denial(ResponseCode::NoError),
            Node::Host(host) => self.addresses(record_type, host.v4(), host.v6()),
        }
    }

    /// The names of an address. Of the rest of the reverse tree nothing is known, whoever has it.
    fn reverse(&self, address: IpAddr, record_type: RecordType) -> Answer {
        let Some(services) = self.snapshot.services_at(address) else {
            return Answer::without_authority(ResponseCode::ServFail);
        };
        if services.is_empty() {
            return Answer::without_authority(ResponseCode::Refused);
        }
        if record_type == RecordType::ANY {
            return self.minimal();
        }
        let mut records = Vec::new();
        if record_type == RecordType::PTR {
            for service in services {
                let Some(name) = self.service_name(service) else {
                    continue;
                };
                let names = service
                    .hosts_at(address)
                    .filter_map(|host| target_name(host, &name));
                records.extend(names.map(|name| self.record(RData::PTR(PTR(name)))));
            }
        }
        records.truncate(MAX_RECORDS);
        let mut answer = self.rotated(records);
        if answer.answers.is_empty() {
            let zone = self.snapshot.zone();
            answer.authorities =
                vec![zone.denial_soa_of(self.name.clone(), self.snapshot.serial())];
        }
        answer
    }

    /// RFC 8482, section 4.2: one small record in place of all.
    fn minimal(&self) -> Answer {
        let minimal = HINFO::new("RFC8482".to_owned(), String::new());
        self.found(vec![self.record(RData::HINFO(minimal))])
    }

    fn apex(&self, record_type: RecordType) -> Answer {
        let zone = self.snapshot.zone();
        if record_type == RecordType::SOA {
            let mut soa = zone.soa(self.snapshot.serial());
            soa.name = self.name.clone();
            return self.found(vec![soa]);
        }
        if record_type != RecordType::NS {
            return self.denial(ResponseCode::NoError);
        }
        let nameserver = zone.nameserver().clone();
        let mut answer = self.found(vec![self.record(RData::NS(NS(nameserver.clone())))]);
        answer.additionals = zone
            .nameserver_addresses()
            .iter()
            .map(|address| zone.record(nameserver.clone(), address_data(*address)))
            .collect();
        answer
    }

    fn schema_version(&self, record_type: RecordType) -> Answer {
        if record_type != RecordType::TXT {
            return self.denial(ResponseCode::NoError);
        }
        let version = RData::TXT(TXT::new(vec![SCHEMA_VERSION.to_owned()]));
        let zone = self.snapshot.zone();
        self.found(vec![zone.record_for(
            self.name.clone(),
            SCHEMA_VERSION_TTL_SECONDS,
            version,
        )])
    }

    fn addresses(
        &self,
        record_type: RecordType,
        v4: impl Iterator<Item = Ipv4Addr>,
        v6: impl Iterator<Item = Ipv6Addr>,
    ) -> Answer {
        let records = if record_type == RecordType::A {
            v4.take(MAX_RECORDS)
                .map(|address| self.record(RData::A(A(address))))
                .collect()
        } else if record_type == RecordType::AAAA {
            v6.take(MAX_RECORDS)
                .map(|address| self.record(RData::AAAA(AAAA(address))))
                .collect()
        } else {
            Vec::new()
        };
        self.rotated(records)
    }

    fn targets(&self, service: &Service, filter: PortFilter<'_>) -> Answer {
        let Some(service_name) = self.service_name(service) else {
            return self.denial(ResponseCode::NoError);
        };
        let mut records = Vec::new();
        let mut additionals = Vec::new();
        let mut last_target = None;
        for Target { host, port } in service.targets(filter).take(MAX_RECORDS) {
            let Some(target) = target_name(host, &service_name) else {
                continue;
            };
            let srv = SRV::new(SRV_PRIORITY, SRV_WEIGHT, port, target.clone());
            records.push(self.record(RData::SRV(srv)));
            if last_target.as_ref() != Some(&target) {
                match host {
                    Some(host) => self.push_glue(&mut additionals, &target, host.v4(), host.v6()),
                    None => self.push_glue(&mut additionals, &target, service.v4(), service.v6()),
                }
                last_target = Some(target);
            }
        }
        let mut answer = self.rotated(records);
        answer.additionals = additionals;
        answer
    }

    fn push_glue(
        &self,
        additionals: &mut Vec<Record>,
        target: &Name,
        v4: impl Iterator<Item = Ipv4Addr>,
        v6: impl Iterator<Item = Ipv6Addr>,
    ) {
        let addresses = v4
            .map(|v4| RData::A(A(v4)))
            .chain(v6.map(|v6| RData::AAAA(AAAA(v6))));
        let zone = self.snapshot.zone();
        let room = MAX_RECORDS.saturating_sub(additionals.len());
        additionals.extend(
            addresses
                .take(room)
                .map(|data| zone.record(target.clone(), data)),
        );
    }

    fn rotated(&self, mut records: Vec<Record>) -> Answer {
        if records.is_empty() {
            return self.denial(ResponseCode::NoError);
        }
        let first = self.rotation % records.len();
        records.rotate_left(first);
        self.found(records)
    }

    fn found(&self, answers: Vec<Record>) -> Answer {
        Answer {
            code: ResponseCode::NoError,
            authoritative: true,
            answers,
            authorities: Vec::new(),
            additionals: Vec::new(),
        }
    }

    /// NXDOMAIN, or NOERROR for a name that has no record of the type (RFC 2308).
    fn denial(&self, code: ResponseCode) -> Answer {
        Answer {
            code,
            authoritative: true,
            answers: Vec::new(),
            authorities: vec![self.snapshot.zone().denial_soa(self.snapshot.serial())],
            additionals: Vec::new(),
        }
    }

    fn record(&self, data: RData) -> Record {
        self.snapshot.zone().record(self.name.clone(), data)
    }

    fn service_name(&self, service: &Service) -> Option<Name> {
        let labels = service.key().split('.').chain(["svc"]).map(str::as_bytes);
        Name::from_labels(labels)
            .ok()?
            .append_domain(self.snapshot.zone().origin())
            .ok()
    }

    fn nameserver_v4(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.snapshot
            .zone()
            .nameserver_addresses()
            .iter()
            .filter_map(|address| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            })
    }

    fn nameserver_v6(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.snapshot
            .zone()
            .nameserver_addresses()
            .iter()
            .filter_map(|address| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(*address),
            })
    }
}

/// The name that an SRV record points to; none if a dotted cluster ID makes it too long for DNS.
fn target_name(host: Option<&Host>, service: &Name) -> Option<Name> {
    let Some(host) = host else {
        return Some(service.clone());
    };
    let labels = [host.hostname()]
        .into_iter()
        .chain(host.cluster().split('.'));
    Name::from_labels(labels.map(str::as_bytes))
        .ok()?
        .append_domain(service)
        .ok()
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}
