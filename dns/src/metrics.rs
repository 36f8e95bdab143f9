//! What is counted of questions and of the zone.

use std::array;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;

/// From 10 microseconds to a third of a second.
const DURATION_BUCKETS: (f64, f64, u16) = (10e-6, 2.0, 16);

/// Metrics of questions and of the zone.
#[derive(Clone, Debug)]
pub struct DnsMetrics {
    requests: Family<RequestLabels, Counter>,
    held: Arc<HeldRequests>,
    duration: Histogram,
    services: Gauge,
    snapshot_timestamp: Gauge<f64, AtomicU64>,
}

type HeldRequests = Held<Counter, { Transport::COUNT * QuestionType::COUNT * Rcode::COUNT }>;

/// Metrics of a family, by numbers: to look one up by its labels takes longer than to answer. Each is
/// made when it is first needed, as those that are made are shown.
#[derive(Debug)]
pub(crate) struct Held<M, const N: usize>([OnceLock<M>; N]);

/// Of what a client may ask, labels take only what is bounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    protocol: Transport,
    r#type: QuestionType,
    rcode: Rcode,
}

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    Udp,
    Tcp,
    Tls,
    Quic,
    Https,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct QuestionType(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Rcode(usize);

// === impl DnsMetrics ===

impl DnsMetrics {
    /// Adds the metrics to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let (start, factor, length) = DURATION_BUCKETS;
        let metrics = Self {
            requests: Family::default(),
            held: Arc::default(),
            duration: Histogram::new(exponential_buckets(start, factor, length)),
            services: Gauge::default(),
            snapshot_timestamp: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("dns");
        registry.register("requests", "Questions answered", metrics.requests.clone());
        registry.register(
            "request_duration_seconds",
            "From the question to the answer handed to the socket",
            metrics.duration.clone(),
        );
        registry.register(
            "services",
            "Services of the zone that lead to an address",
            metrics.services.clone(),
        );
        registry.register(
            "snapshot_timestamp_seconds",
            "When the zone last changed (its age is the time less this), 0 before it is complete",
            metrics.snapshot_timestamp.clone(),
        );
        metrics
    }

    pub(crate) fn answered(
        &self,
        protocol: Transport,
        record_type: Option<RecordType>,
        code: ResponseCode,
        took: Duration,
    ) {
        let labels = RequestLabels {
            protocol,
            r#type: QuestionType::of(record_type),
            rcode: Rcode::of(code),
        };
        let index = (protocol as usize * QuestionType::COUNT + labels.r#type.0) * Rcode::COUNT
            + labels.rcode.0;
        let requests = || self.requests.get_or_create_owned(&labels);
        self.held.get(index, requests).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub(crate) fn published(&self, services: usize, unix_seconds: f64) {
        self.services
            .set(i64::try_from(services).unwrap_or(i64::MAX));
        self.snapshot_timestamp.set(unix_seconds);
    }
}

// === impl Held ===

impl<M, const N: usize> Held<M, N> {
    /// The one of this number, below `N`, which `make` looks up.
    pub(crate) fn get(&self, number: usize, make: impl FnOnce() -> M) -> &M {
        self.0[number].get_or_init(make)
    }
}

impl<M, const N: usize> Default for Held<M, N> {
    fn default() -> Self {
        Self(array::from_fn(|_| OnceLock::new()))
    }
}

// === impl Transport ===

impl Transport {
    pub(crate) const COUNT: usize = 5;

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::Https => "https",
        }
    }
}

// === impl QuestionType ===

impl QuestionType {
    pub(crate) const COUNT: usize = Self::NAMES.len();
    const NAMES: [&str; 10] = [
        "A", "AAAA", "SRV", "TXT", "SOA", "NS", "PTR", "HTTPS", "ANY", "other",
    ];

    // hickory's enum grows with the registry of types; all that nobody asks us for are one label.
    #[allow(clippy::wildcard_enum_match_arm)]
    pub(crate) fn of(record_type: Option<RecordType>) -> Self {
        Self(match record_type {
            Some(RecordType::A) => 0,
            Some(RecordType::AAAA) => 1,
            Some(RecordType::SRV) => 2,
            Some(RecordType::TXT) => 3,
            Some(RecordType::SOA) => 4,
            Some(RecordType::NS) => 5,
            Some(RecordType::PTR) => 6,
            Some(RecordType::HTTPS) => 7,
            Some(RecordType::ANY) => 8,
            _ => 9,
        })
    }

    /// Below [`QuestionType::COUNT`].
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

// === impl Rcode ===

impl Rcode {
    const COUNT: usize = Self::NAMES.len();
    const NAMES: [&str; 8] = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "BADVERS", "other",
    ];

    // As above: all that we never answer are one label.
    #[allow(clippy::wildcard_enum_match_arm)]
    fn of(code: ResponseCode) -> Self {
        Self(match code {
            ResponseCode::NoError => 0,
            ResponseCode::FormErr => 1,
            ResponseCode::ServFail => 2,
            ResponseCode::NXDomain => 3,
            ResponseCode::NotImp => 4,
            ResponseCode::Refused => 5,
            ResponseCode::BADVERS => 6,
            _ => 7,
        })
    }
}

impl EncodeLabelValue for Transport {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

impl EncodeLabelValue for QuestionType {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&Self::NAMES[self.0], encoder)
    }
}

impl EncodeLabelValue for Rcode {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&Self::NAMES[self.0], encoder)
    }
}
