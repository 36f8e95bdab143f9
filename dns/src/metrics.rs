//! What is counted of questions and of the zone.

use std::sync::atomic::AtomicU64;
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
    duration: Histogram,
    services: Gauge,
    snapshot_timestamp: Gauge<f64, AtomicU64>,
}

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
pub(crate) struct QuestionType(&'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Rcode(&'static str);

// === impl DnsMetrics ===

impl DnsMetrics {
    /// Adds the metrics to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let (start, factor, length) = DURATION_BUCKETS;
        let metrics = Self {
            requests: Family::default(),
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
        self.requests.get_or_create(&labels).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub(crate) fn published(&self, services: usize, unix_seconds: f64) {
        self.services
            .set(i64::try_from(services).unwrap_or(i64::MAX));
        self.snapshot_timestamp.set(unix_seconds);
    }
}

// === impl Transport ===

impl Transport {
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
    // hickory's enum grows with the registry of types; all that nobody asks us for are one label.
    #[allow(clippy::wildcard_enum_match_arm)]
    pub(crate) fn of(record_type: Option<RecordType>) -> Self {
        Self(match record_type {
            Some(RecordType::A) => "A",
            Some(RecordType::AAAA) => "AAAA",
            Some(RecordType::SRV) => "SRV",
            Some(RecordType::TXT) => "TXT",
            Some(RecordType::SOA) => "SOA",
            Some(RecordType::NS) => "NS",
            Some(RecordType::PTR) => "PTR",
            Some(RecordType::HTTPS) => "HTTPS",
            Some(RecordType::ANY) => "ANY",
            _ => "other",
        })
    }
}

// === impl Rcode ===

impl Rcode {
    // As above: all that we never answer are one label.
    #[allow(clippy::wildcard_enum_match_arm)]
    fn of(code: ResponseCode) -> Self {
        Self(match code {
            ResponseCode::NoError => "NOERROR",
            ResponseCode::FormErr => "FORMERR",
            ResponseCode::ServFail => "SERVFAIL",
            ResponseCode::NXDomain => "NXDOMAIN",
            ResponseCode::NotImp => "NOTIMP",
            ResponseCode::Refused => "REFUSED",
            ResponseCode::BADVERS => "BADVERS",
            _ => "other",
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
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

impl EncodeLabelValue for Rcode {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}
