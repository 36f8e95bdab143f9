//! The differences that `docs/dns.md` names, in the order of its table.

use hickory_proto::rr::RecordType;

use crate::answer::{Rr, Said};
use crate::ask::Transport;
use crate::questions::{Asked, Place};

/// What no answer of ours over UDP exceeds.
const MAX_UDP_OCTETS: u16 = 1_232;

/// Both answers to a question.
pub(crate) struct Case<'a> {
    pub(crate) asked: &'a Asked,
    pub(crate) ours: Said,
    pub(crate) theirs: Said,
}

pub(crate) struct Difference {
    /// As `docs/dns.md` has it.
    pub(crate) name: &'static str,
    /// Whether a case shows this difference.
    is: fn(&Case<'_>) -> bool,
    /// Makes their answer as ours is in this respect, and in no other.
    settle: fn(&mut Case<'_>),
}

pub(crate) const ALL: &[Difference] = &[
    Difference {
        name: "dotted cluster IDs",
        is: |case| case.is_at(&[Place::DottedHost]) && case.they_deny_what_is_there(),
        settle: take_all,
    },
    Difference {
        name: "names between others",
        is: |case| {
            let places = [Place::AboveHosts, Place::Protocol, Place::Dns];
            case.is_at(&places) && case.ours.is_no_data() && case.theirs.is_missing()
        },
        settle: take_all,
    },
    Difference {
        name: "names with nothing at them",
        is: |case| {
            let places = [Place::IdleNamespace, Place::Pods, Place::Nothing];
            case.is_at(&places) && case.ours.is_missing() && case.theirs.is_no_data()
        },
        settle: take_all,
    },
    Difference {
        name: "services without ports",
        is: |case| case.is_at(&[Place::Portless]) && case.they_deny_what_is_there(),
        settle: take_all,
    },
    Difference {
        name: "TXT where there is none",
        is: |case| {
            let places = [Place::Apex, Place::Services, Place::Namespace];
            case.is_at(&places)
                && case.is_for(RecordType::TXT)
                && case.ours.is_no_data()
                && case.theirs.is_missing()
        },
        settle: take_all,
    },
    Difference {
        name: "SOA of what does not exist",
        is: |case| {
            case.is_at(&[Place::Missing])
                && case.is_for(RecordType::SOA)
                && case.ours.is_missing()
                && case.theirs.is_no_data()
        },
        settle: take_all,
    },
    Difference {
        name: "ports without underscores",
        is: |case| {
            let found = [RecordType::A, RecordType::AAAA, RecordType::SRV];
            case.is_at(&[Place::HalfPort])
                && case.ours.is_missing()
                && (case.theirs.is_no_data() || found.iter().any(|it| case.theirs.has_only(*it)))
        },
        settle: take_all,
    },
    Difference {
        name: "addresses of ports",
        is: |case| {
            let record_type = case.asked.question.record_type;
            let is_address = matches!(record_type, RecordType::A | RecordType::AAAA);
            case.is_at(&[Place::Port])
                && is_address
                && case.ours.is_no_data()
                && case.theirs.has_only(record_type)
        },
        settle: take_all,
    },
    Difference {
        name: "SRV of a host",
        is: |case| {
            case.is_at(&[Place::Host])
                && case.is_for(RecordType::SRV)
                && case.ours.is_no_data()
                && case.theirs.has_only(RecordType::SRV)
        },
        settle: take_all,
    },
    Difference {
        name: "hosts of ClusterSetIP services",
        is: |case| {
            let record_type = case.asked.question.record_type;
            case.is_at(&[Place::HostOfService])
                && case.ours.is_missing()
                && (case.theirs.is_no_data() || case.theirs.has_only(record_type))
        },
        settle: take_all,
    },
    Difference {
        name: "dns-version",
        is: |case| {
            let of_theirs = case
                .theirs
                .answers
                .iter()
                .map(|record| record.data.as_str());
            let is_older = case.theirs.has_only(RecordType::TXT)
                && case.ours.has_only(RecordType::TXT)
                && of_theirs.eq(["1.1.0"]);
            case.is_at(&[Place::SchemaVersion]) && (is_older || case.they_deny_what_is_there())
        },
        settle: take_all,
    },
    Difference {
        name: "the zone's nameserver",
        is: |case| {
            let is_ns = case.is_at(&[Place::Apex]) && case.is_for(RecordType::NS);
            (is_ns || case.is_at(&[Place::Nameserver]))
                && !case.is_for(RecordType::ANY)
                && case.ours.code == "No Error"
                && (case.theirs.is_no_data() || case.theirs.is_missing())
                && case.differ()
        },
        settle: take_all,
    },
    Difference {
        name: "reverse names",
        is: |case| {
            case.is_at(&[Place::Reverse]) && case.theirs.is_refused() && !case.ours.is_refused()
        },
        settle: take_all,
    },
    Difference {
        name: "ANY",
        is: |case| {
            case.is_for(RecordType::ANY)
                && case.ours.has_only(RecordType::HINFO)
                && (case.theirs.is_no_data() || case.is_at(&[Place::Nameserver]))
        },
        settle: take_all,
    },
    Difference {
        name: "size of datagrams",
        is: |case| {
            let (Transport::Edns(asked) | Transport::Dnssec(asked)) = case.asked.question.transport
            else {
                return false;
            };
            let dnssec_ok = case.ours.edns.is_some_and(|(_, dnssec_ok)| dnssec_ok);
            asked > MAX_UDP_OCTETS
                && case.ours.edns == Some((MAX_UDP_OCTETS, dnssec_ok))
                && case.theirs.edns == Some((asked, dnssec_ok))
        },
        settle: |case| case.theirs.edns = case.ours.edns,
    },
    Difference {
        name: "what is left of a cut answer",
        is: |case| {
            let too_long = case.theirs.octets > usize::from(MAX_UDP_OCTETS);
            case.ours.truncated
                && case.asked.question.transport != Transport::Tcp
                && (case.theirs.truncated || too_long)
                && case.theirs.has_only(case.asked.question.record_type)
                && ttls(&case.ours.answers) == ttls(&case.theirs.answers)
                && case.differ()
        },
        settle: |case| {
            let Case { ours, theirs, .. } = case;
            theirs.truncated = true;
            theirs.answers.clone_from(&ours.answers);
            theirs.additionals.clone_from(&ours.additionals);
        },
    },
    Difference {
        name: "addresses that come with SRV",
        is: |case| {
            let (ours, theirs) = (&case.ours.additionals, &case.theirs.additionals);
            let within = |all: &[Rr], some: &[Rr]| some.iter().all(|record| all.contains(record));
            case.is_for(RecordType::SRV)
                && case.asked.question.transport != Transport::Tcp
                && !case.ours.truncated
                && ours != theirs
                && (within(ours, theirs) || within(theirs, ours))
        },
        settle: |case| {
            case.theirs.additionals.clone_from(&case.ours.additionals);
            // Theirs counts what need not be there.
            case.theirs.truncated = false;
        },
    },
    Difference {
        name: "weights",
        is: |case| {
            let (ours, theirs) = (&case.ours.answers, &case.theirs.answers);
            case.is_for(RecordType::SRV)
                && case.theirs.has_only(RecordType::SRV)
                && ours != theirs
                && without_weight(ours) == without_weight(theirs)
                && (weights(ours), weights(theirs).len()) == (vec!["100"], 1)
        },
        settle: |case| case.theirs.answers.clone_from(&case.ours.answers),
    },
];

// === impl Difference ===

impl Difference {
    /// Settles it, if `case` shows it.
    pub(crate) fn settle(&self, case: &mut Case<'_>) -> bool {
        let is = (self.is)(case);
        if is {
            (self.settle)(case);
        }
        is
    }
}

// === impl Case ===

impl Case<'_> {
    pub(crate) fn differ(&self) -> bool {
        !self.ours.says_the_same_as(&self.theirs)
    }

    fn is_at(&self, places: &[Place]) -> bool {
        places.contains(&self.asked.place)
    }

    fn is_for(&self, record_type: RecordType) -> bool {
        self.asked.question.record_type == record_type
    }

    /// NXDOMAIN, where ours is an answer of the type, or "no data".
    fn they_deny_what_is_there(&self) -> bool {
        let record_type = if self.is_for(RecordType::ANY) {
            RecordType::HINFO
        } else {
            self.asked.question.record_type
        };
        self.theirs.is_missing() && (self.ours.is_no_data() || self.ours.has_only(record_type))
    }
}

/// All but the size of datagrams, which is a difference of its own.
fn take_all(case: &mut Case<'_>) {
    let edns = case.theirs.edns;
    case.theirs = case.ours.clone();
    case.theirs.edns = edns;
}

/// All but the weights.
fn without_weight(records: &[Rr]) -> Vec<(&str, u32, Vec<&str>)> {
    let parts = records.iter().map(|record| {
        let words = record.data.split(' ').enumerate();
        let kept = words.filter_map(|(at, word)| (at != 1).then_some(word));
        (record.name.as_str(), record.ttl, kept.collect())
    });
    let mut parts: Vec<_> = parts.collect();
    parts.sort_unstable();
    parts
}

/// The weights that there are.
fn weights(records: &[Rr]) -> Vec<&str> {
    let words = records
        .iter()
        .filter_map(|record| record.data.split(' ').nth(1));
    let mut weights: Vec<&str> = words.collect();
    weights.sort_unstable();
    weights.dedup();
    weights
}

/// The TTLs that there are.
fn ttls(records: &[Rr]) -> Vec<u32> {
    let mut ttls: Vec<u32> = records.iter().map(|record| record.ttl).collect();
    ttls.sort_unstable();
    ttls.dedup();
    ttls
}
