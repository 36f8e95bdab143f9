//! What an answer says, so that two of them can be compared.

use std::fmt;

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record, RecordType};

use crate::ask::Question;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: String,
    pub(crate) authoritative: bool,
    pub(crate) truncated: bool,
    /// RD, RA, AD and CD
    flags: [bool; 4],
    /// Whether the question came back, octet by octet.
    repeats: bool,
    pub(crate) answers: Vec<Rr>,
    pub(crate) authorities: Vec<Rr>,
    pub(crate) additionals: Vec<Rr>,
    /// Size and DO bit.
    pub(crate) edns: Option<(u16, bool)>,
    pub(crate) octets: usize,
}

/// A record; names in lower case, as they are compared (RFC 4343).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rr {
    pub(crate) name: String,
    pub(crate) record_type: RecordType,
    pub(crate) ttl: u32,
    pub(crate) data: String,
}

// === impl Said ===

impl Said {
    /// Records are a set (RFC 2181, section 5): their order says nothing.
    pub(crate) fn new(question: &Question, octets: &[u8]) -> Self {
        let message = Message::from_vec(octets)
            .unwrap_or_else(|error| panic!("{error} in the answer to {question:?}: {octets:?}"));
        let metadata = message.metadata;
        let repeats = message.queries.iter().any(|query| {
            query.name().to_ascii() == question.name && query.query_type() == question.record_type
        });
        Self {
            code: metadata.response_code.to_str().to_owned(),
            authoritative: metadata.authoritative,
            truncated: metadata.truncation,
            flags: [
                metadata.recursion_desired,
                metadata.recursion_available,
                metadata.authentic_data,
                metadata.checking_disabled,
            ],
            repeats: repeats && message.queries.len() == 1,
            answers: records(&message.answers),
            authorities: records(&message.authorities),
            additionals: records(&message.additionals),
            edns: message
                .edns
                .as_ref()
                .map(|edns| (edns.max_payload(), edns.flags().dnssec_ok)),
            octets: octets.len(),
        }
    }

    /// However many octets it takes.
    pub(crate) fn says_the_same_as(&self, other: &Self) -> bool {
        let octets = self.octets;
        let other = Self {
            octets,
            ..other.clone()
        };
        *self == other
    }

    /// NOERROR with nothing but the SOA.
    pub(crate) fn is_no_data(&self) -> bool {
        self.is_denial("No Error")
    }

    /// NXDOMAIN with nothing but the SOA.
    pub(crate) fn is_missing(&self) -> bool {
        self.is_denial("Non-Existent Domain")
    }

    /// A whole answer with records of this type and no others.
    pub(crate) fn has_only(&self, record_type: RecordType) -> bool {
        let mut types = self.answers.iter().map(|record| record.record_type);
        self.code == "No Error"
            && self.authoritative
            && !self.answers.is_empty()
            && types.all(|it| it == record_type)
    }

    pub(crate) fn is_refused(&self) -> bool {
        let is_empty = self.answers.is_empty() && self.authorities.is_empty();
        self.code == "Query Refused" && !self.authoritative && is_empty
    }

    fn is_denial(&self, code: &str) -> bool {
        let of_soa = self
            .authorities
            .iter()
            .all(|it| it.record_type == RecordType::SOA);
        self.code == code
            && self.authoritative
            && self.answers.is_empty()
            && self.authorities.len() == 1
            && of_soa
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            flags,
            edns,
            octets,
            ..
        } = self;
        let aa = if self.authoritative { " AA" } else { "" };
        let tc = if self.truncated { " TC" } else { "" };
        let strange = if self.repeats {
            ""
        } else {
            ", another question"
        };
        writeln!(
            f,
            "{code}{aa}{tc}, RD RA AD CD {flags:?}, EDNS {edns:?}, {octets} octets{strange}"
        )?;
        for (section, records) in [
            ("answer", &self.answers),
            ("authority", &self.authorities),
            ("additional", &self.additionals),
        ] {
            for record in records.iter().take(6) {
                let Rr {
                    name,
                    record_type,
                    ttl,
                    data,
                } = record;
                writeln!(f, "  {section}: {name} {ttl} {record_type} {data}")?;
            }
            if records.len() > 6 {
                writeln!(f, "  {section}: {} more", records.len() - 6)?;
            }
        }
        Ok(())
    }
}

fn records(records: &[Record]) -> Vec<Rr> {
    let records = records.iter().map(|record| Rr {
        name: record.name.to_ascii().to_ascii_lowercase(),
        record_type: record.record_type(),
        ttl: record.ttl,
        data: data(&record.data).to_ascii_lowercase(),
    });
    let mut records: Vec<Rr> = records.collect();
    records.sort_unstable();
    records
}

/// Without the SOA's serial, which each counts on its own.
// All others are as they are.
#[allow(clippy::wildcard_enum_match_arm)]
fn data(data: &RData) -> String {
    match data {
        RData::SOA(soa) => format!(
            "{} {} serial {} {} {} {}",
            soa.mname, soa.rname, soa.refresh, soa.retry, soa.expire, soa.minimum
        ),
        other => other.to_string(),
    }
}
