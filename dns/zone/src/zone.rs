//! What is the same for every snapshot of a zone.

use std::net::IpAddr;

use hickory_proto::rr::{DNSClass, Name, RData, Record, rdata::SOA};
use tombolo_catalog::is_dns_label;

use crate::wire;

/// Longest origin in octets of wire form: leaves room for two whole labels of service and
/// namespace and for the longest port name, so that every record's name fits (RFC 1035, 255).
pub const MAX_ORIGIN_OCTETS: usize = 96;

/// As CoreDNS has them; nobody transfers this zone, so only resolvers' habits are served.
const SOA_REFRESH_SECONDS: i32 = 7_200;
const SOA_RETRY_SECONDS: i32 = 1_800;
const SOA_EXPIRE_SECONDS: i32 = 86_400;
pub(crate) const SOA_TIMES: [i32; 3] = [SOA_REFRESH_SECONDS, SOA_RETRY_SECONDS, SOA_EXPIRE_SECONDS];

/// Labels below the origin.
pub(crate) const NAMESERVER: [&str; 2] = ["ns", "dns"];
pub(crate) const MAILBOX: &str = "hostmaster";

/// A zone: its name, its times, and who serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    origin: Name,
    /// Labels of the origin in lower case, the top-level domain first.
    labels: Vec<Box<[u8]>>,
    /// The origin in wire form, in lower case, with the root's octet.
    octets: Box<[u8]>,
    ttl_seconds: u32,
    negative_ttl_seconds: u32,
    nameserver: Name,
    nameserver_addresses: Vec<IpAddr>,
}

/// A zone cannot have this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidZone {
    /// Not a DNS name, or the root.
    #[error("zone {0:?} is not a DNS name")]
    Name(String),
    /// Names below it would be too long for DNS.
    #[error("zone {0:?} is too long: at most {MAX_ORIGIN_OCTETS} octets leave room for services")]
    TooLong(String),
}

// === impl Zone ===

impl Zone {
    /// The zone `origin` (`clusterset.local`, with or without the last dot), whose records may be
    /// cached for `ttl_seconds`, and whose denials for `negative_ttl_seconds` (RFC 2308).
    ///
    /// # Errors
    /// If no such zone can be.
    pub fn new(
        origin: &str,
        ttl_seconds: u32,
        negative_ttl_seconds: u32,
    ) -> Result<Self, InvalidZone> {
        let lowercase = origin
            .strip_suffix('.')
            .unwrap_or(origin)
            .to_ascii_lowercase();
        if !lowercase.split('.').all(is_dns_label) {
            return Err(InvalidZone::Name(origin.to_owned()));
        }
        // A length octet for each label, and the root's.
        if lowercase.len() + 2 > MAX_ORIGIN_OCTETS {
            return Err(InvalidZone::TooLong(origin.to_owned()));
        }
        let name = Name::from_labels(lowercase.split('.').map(str::as_bytes))
            .map_err(|_| InvalidZone::Name(origin.to_owned()))?;
        let nameserver = Name::from_labels(NAMESERVER.map(str::as_bytes))
            .and_then(|relative| relative.append_domain(&name))
            .map_err(|_| InvalidZone::TooLong(origin.to_owned()))?;
        Ok(Self {
            labels: name.iter().rev().map(Into::into).collect(),
            octets: wire::octets(&name).into(),
            origin: name,
            ttl_seconds,
            negative_ttl_seconds,
            nameserver,
            nameserver_addresses: Vec::new(),
        })
    }

    /// With the addresses of `ns.dns.<origin>`, the server that the NS record names.
    #[must_use]
    pub fn with_nameserver_addresses(mut self, addresses: Vec<IpAddr>) -> Self {
        self.nameserver_addresses = addresses;
        self
    }

    /// Name of the zone.
    #[must_use]
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    pub(crate) fn labels(&self) -> &[Box<[u8]>] {
        &self.labels
    }

    /// The origin in wire form, in lower case, with the root's octet.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    pub(crate) fn ttl_seconds(&self) -> u32 {
        self.ttl_seconds
    }

    pub(crate) fn negative_ttl_seconds(&self) -> u32 {
        self.negative_ttl_seconds
    }

    pub(crate) fn nameserver(&self) -> &Name {
        &self.nameserver
    }

    pub(crate) fn nameserver_addresses(&self) -> &[IpAddr] {
        &self.nameserver_addresses
    }

    /// `name`'s record of `data`, with the zone's TTL.
    pub(crate) fn record(&self, name: Name, data: RData) -> Record {
        self.record_for(name, self.ttl_seconds, data)
    }

    pub(crate) fn record_for(&self, name: Name, ttl_seconds: u32, data: RData) -> Record {
        let mut record = Record::from_rdata(name, ttl_seconds, data);
        record.dns_class = DNSClass::IN;
        record
    }

    /// The SOA record as an answer.
    pub(crate) fn soa(&self, serial: u32) -> Record {
        self.soa_for(self.ttl_seconds, serial)
    }

    /// The SOA record that goes with a denial: its TTL is how long that may be cached (RFC 2308,
    /// section 3).
    pub(crate) fn denial_soa(&self, serial: u32) -> Record {
        self.soa_for(self.negative_ttl_seconds, serial)
    }

    /// The SOA record of a denial at a reverse name, which is a zone of its own.
    pub(crate) fn denial_soa_of(&self, reverse: Name, serial: u32) -> Record {
        let mut soa = self.denial_soa(serial);
        soa.name = reverse;
        soa
    }

    fn soa_for(&self, ttl_seconds: u32, serial: u32) -> Record {
        let mailbox = self.origin.prepend_label(MAILBOX.as_bytes());
        let soa = SOA::new(
            self.nameserver.clone(),
            mailbox.unwrap_or_else(|_| self.origin.clone()),
            serial,
            SOA_REFRESH_SECONDS,
            SOA_RETRY_SECONDS,
            SOA_EXPIRE_SECONDS,
            self.negative_ttl_seconds,
        );
        self.record_for(self.origin.clone(), ttl_seconds, RData::SOA(soa))
    }
}

// === impl InvalidZone ===

impl InvalidZone {
    /// A stable word for this error.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Name(_) => "InvalidName",
            Self::TooLong(_) => "TooLong",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_a_dns_name_in_any_case() {
        for good in [
            "clusterset.local",
            "clusterset.local.",
            "ClusterSet.Local",
            "x",
        ] {
            let zone = Zone::new(good, 5, 0).unwrap();
            assert!(zone.origin().is_fqdn());
            assert_eq!(
                zone.origin().to_ascii(),
                zone.origin().to_ascii().to_lowercase()
            );
        }
        for bad in ["", ".", "a..b", "a b", "_a", "*.local", "-a.local"] {
            assert_eq!(
                Zone::new(bad, 5, 0).unwrap_err().reason(),
                "InvalidName",
                "{bad}"
            );
        }
    }

    #[test]
    fn the_longest_origin_leaves_room_for_the_longest_service() {
        let label = "x".repeat(46);
        let longest = Zone::new(&format!("{label}.{label}x"), 5, 0).unwrap();
        let service = Name::from_labels([[b'a'; 63].as_slice(), &[b'b'; 63], b"svc"]).unwrap();
        let port = Name::from_labels([[b'_'; 16].as_slice(), b"_sctp"]).unwrap();

        assert!(
            port.append_name(&service)
                .unwrap()
                .append_domain(longest.origin())
                .is_ok()
        );
        let error = Zone::new(&format!("{label}x.{label}x"), 5, 0).unwrap_err();
        assert_eq!(error.reason(), "TooLong");
    }
}
