//! What is counted, under CoreDNS's names: dashboards and alerts go on working.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::metrics::{QuestionType, Transport};

use super::log::code;
use super::query::Response;

const PREFIX: &str = "coredns";
/// As CoreDNS has them.
const OCTETS: [f64; 14] = [
    0.0, 100.0, 200.0, 300.0, 400.0, 511.0, 1_023.0, 2_047.0, 4_095.0, 8_291.0, 16_000.0, 32_000.0,
    48_000.0, 64_000.0,
];

/// Metrics of all server blocks.
#[derive(Clone)]
pub(crate) struct CoreMetrics {
    requests: Family<RequestLabels, Counter>,
    dnssec_requests: Family<ChainLabels, Counter>,
    duration: Family<ChainLabels, Histogram, fn() -> Histogram>,
    request_octets: Family<SizeLabels, Histogram, fn() -> Histogram>,
    response_octets: Family<SizeLabels, Histogram, fn() -> Histogram>,
    responses: Family<ResponseLabels, Counter>,
    plugins: Family<PluginLabels, Gauge>,
    blocked: Family<ChainLabels, Counter>,
    filtered: Family<ChainLabels, Counter>,
    dropped: Family<ChainLabels, Counter>,
    limited: Counter,
    cache_entries: Family<KindLabels, Gauge>,
    cache_hits: Family<KindLabels, Counter>,
    cache_misses: Family<CacheLabels, Counter>,
    cache_requests: Family<CacheLabels, Counter>,
    cache_prefetched: Family<CacheLabels, Counter>,
    cache_served_stale: Family<CacheLabels, Counter>,
    upstream_duration: Family<UpstreamRcodeLabels, Histogram, fn() -> Histogram>,
    upstream_health_failures: Family<UpstreamLabels, Counter>,
    upstream_reused: Family<ConnectionLabels, Counter>,
    upstream_connected: Family<ConnectionLabels, Counter>,
    pub(super) all_upstreams_down: Counter,
    pub(super) too_many_waiting: Counter,
    reload_failed: Counter,
}

/// Metrics of one server block at one place.
#[derive(Clone)]
pub(crate) struct ChainMetrics {
    core: CoreMetrics,
    labels: ChainLabels,
    duration: Histogram,
}

/// A question and its answer, as far as they are counted.
pub(crate) struct Answered {
    pub(crate) transport: Transport,
    pub(crate) client: IpAddr,
    pub(crate) record_type: RecordType,
    pub(crate) wants_dnssec: bool,
    pub(crate) code: ResponseCode,
    /// Who knew the answer.
    pub(crate) plugin: &'static str,
    /// Of the question's message, and the answer's.
    pub(crate) octets: (usize, usize),
    pub(crate) took: Duration,
}

/// Metrics of one cache.
pub(super) struct CacheMetrics {
    entries: [Gauge; 2],
    hits: [Counter; 2],
    pub(super) misses: Counter,
    pub(super) requests: Counter,
    pub(super) prefetched: Counter,
    pub(super) served_stale: Counter,
}

/// Metrics of one upstream.
pub(super) struct UpstreamMetrics {
    core: CoreMetrics,
    to: Text,
    pub(super) health_failures: Counter,
}

/// A kind of answers that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Success = 0,
    Denial = 1,
}

/// Text that is shared by many labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Text(Arc<str>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChainLabels {
    server: Text,
    zone: Text,
    view: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    server: Text,
    zone: Text,
    view: &'static str,
    proto: &'static str,
    family: &'static str,
    r#type: QuestionType,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SizeLabels {
    server: Text,
    zone: Text,
    view: &'static str,
    proto: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResponseLabels {
    server: Text,
    zone: Text,
    view: &'static str,
    rcode: Cow<'static, str>,
    plugin: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabels {
    server: Text,
    zone: Text,
    view: &'static str,
    name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    server: Text,
    zones: Text,
    view: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    server: Text,
    r#type: &'static str,
    zones: Text,
    view: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    proxy_name: &'static str,
    to: Text,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamRcodeLabels {
    proxy_name: &'static str,
    to: Text,
    rcode: Cow<'static, str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    proxy_name: &'static str,
    to: Text,
    proto: &'static str,
}

// === impl CoreMetrics ===

impl CoreMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let octets: fn() -> Histogram = || Histogram::new(OCTETS);
        let metrics = Self {
            requests: Family::default(),
            dnssec_requests: Family::default(),
            duration: Family::new_with_constructor(durations as fn() -> Histogram),
            request_octets: Family::new_with_constructor(octets),
            response_octets: Family::new_with_constructor(octets),
            responses: Family::default(),
            plugins: Family::default(),
            blocked: Family::default(),
            filtered: Family::default(),
            dropped: Family::default(),
            limited: Counter::default(),
            cache_entries: Family::default(),
            cache_hits: Family::default(),
            cache_misses: Family::default(),
            cache_requests: Family::default(),
            cache_prefetched: Family::default(),
            cache_served_stale: Family::default(),
            upstream_duration: Family::new_with_constructor(durations as fn() -> Histogram),
            upstream_health_failures: Family::default(),
            upstream_reused: Family::default(),
            upstream_connected: Family::default(),
            all_upstreams_down: Counter::default(),
            too_many_waiting: Counter::default(),
            reload_failed: Counter::default(),
        };
        metrics.register_all(registry.sub_registry_with_prefix(PREFIX));
        metrics
    }

    /// The metrics of a block that answers `zone` at `server`.
    pub(crate) fn chain(&self, server: &str, zone: &Name) -> ChainMetrics {
        let labels = ChainLabels {
            server: Text(server.into()),
            zone: Text(zone.to_ascii().into()),
            view: "",
        };
        ChainMetrics {
            duration: self.duration.get_or_create_owned(&labels),
            core: self.clone(),
            labels,
        }
    }

    /// Tells the plugins of every block, and no others that there were before.
    pub(crate) fn enabled(&self, blocks: &[(ChainMetrics, Vec<&'static str>)]) {
        self.plugins.clear();
        for (chain, names) in blocks {
            for name in names {
                let ChainLabels { server, zone, view } = chain.labels.clone();
                let plugin = PluginLabels {
                    server,
                    zone,
                    view,
                    name,
                };
                self.plugins.get_or_create(&plugin).set(1);
            }
        }
    }

    pub(crate) fn reload_failed(&self) {
        self.reload_failed.inc();
    }

    pub(super) fn upstream(&self, address: SocketAddr) -> UpstreamMetrics {
        let to = Text(address.to_string().into());
        let labels = UpstreamLabels {
            proxy_name: "forward",
            to: to.clone(),
        };
        UpstreamMetrics {
            core: self.clone(),
            to,
            health_failures: self.upstream_health_failures.get_or_create_owned(&labels),
        }
    }

    fn register_all(&self, registry: &mut Registry) {
        let version = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("revision", "tombolo-dns"),
        ];
        registry.register(
            "build",
            "The program that serves in CoreDNS's place",
            Info::new(version),
        );
        registry.register("dns_requests", "Questions", self.requests.clone());
        registry.register(
            "dns_do_requests",
            "Questions with the DO bit",
            self.dnssec_requests.clone(),
        );
        registry.register(
            "dns_request_duration_seconds",
            "From question to answer",
            self.duration.clone(),
        );
        registry.register(
            "dns_request_size_bytes",
            "Octets of questions",
            self.request_octets.clone(),
        );
        registry.register(
            "dns_response_size_bytes",
            "Octets of answers",
            self.response_octets.clone(),
        );
        registry.register("dns_responses", "Answers", self.responses.clone());
        registry.register(
            "plugin_enabled",
            "1 for each plugin of a server block",
            self.plugins.clone(),
        );
        registry.register(
            "acl_blocked_requests",
            "Questions refused",
            self.blocked.clone(),
        );
        registry.register(
            "acl_filtered_requests",
            "Questions answered without records",
            self.filtered.clone(),
        );
        registry.register(
            "acl_dropped_requests",
            "Questions not answered",
            self.dropped.clone(),
        );
        registry.register(
            "rrl_responses_exceeded",
            "Answers withheld or cut by the rate limit",
            self.limited.clone(),
        );
        registry.register(
            "cache_entries",
            "Answers that are kept",
            self.cache_entries.clone(),
        );
        registry.register(
            "cache_hits",
            "Questions answered from the cache",
            self.cache_hits.clone(),
        );
        registry.register(
            "cache_misses",
            "Questions that were not",
            self.cache_misses.clone(),
        );
        registry.register(
            "cache_requests",
            "Questions put to the cache",
            self.cache_requests.clone(),
        );
        registry.register(
            "cache_prefetch",
            "Answers fetched before they expired",
            self.cache_prefetched.clone(),
        );
        registry.register(
            "cache_served_stale",
            "Answers given after they expired",
            self.cache_served_stale.clone(),
        );
        registry.register(
            "proxy_request_duration_seconds",
            "How long upstreams took",
            self.upstream_duration.clone(),
        );
        registry.register(
            "proxy_healthcheck_failures",
            "Health checks that failed",
            self.upstream_health_failures.clone(),
        );
        registry.register(
            "proxy_conn_cache_hits",
            "Questions sent on a connection that was there",
            self.upstream_reused.clone(),
        );
        registry.register(
            "proxy_conn_cache_misses",
            "Questions that needed a connection",
            self.upstream_connected.clone(),
        );
        registry.register(
            "forward_healthcheck_broken",
            "Questions when all upstreams seemed down",
            self.all_upstreams_down.clone(),
        );
        registry.register(
            "forward_max_concurrent_rejects",
            "Questions refused because too many waited",
            self.too_many_waiting.clone(),
        );
        registry.register(
            "reload_failed",
            "Corefiles that could not be followed",
            self.reload_failed.clone(),
        );
    }
}

// === impl ChainMetrics ===

impl ChainMetrics {
    pub(crate) fn core(&self) -> &CoreMetrics {
        &self.core
    }

    pub(crate) fn answered(&self, answered: &Answered) {
        let ChainLabels { server, zone, view } = self.labels.clone();
        let proto = answered.transport.as_str();
        let family = if answered.client.to_canonical().is_ipv4() {
            "1"
        } else {
            "2"
        };
        let r#type = QuestionType::of(Some(answered.record_type));
        let request = RequestLabels {
            server: server.clone(),
            zone: zone.clone(),
            view,
            proto,
            family,
            r#type,
        };
        self.core.requests.get_or_create(&request).inc();
        if answered.wants_dnssec {
            self.core.dnssec_requests.get_or_create(&self.labels).inc();
        }
        self.duration.observe(answered.took.as_secs_f64());
        let size = SizeLabels {
            server: server.clone(),
            zone: zone.clone(),
            view,
            proto,
        };
        self.core
            .request_octets
            .get_or_create(&size)
            .observe(answered.octets.0 as f64);
        self.core
            .response_octets
            .get_or_create(&size)
            .observe(answered.octets.1 as f64);
        let response = ResponseLabels {
            server,
            zone,
            view,
            rcode: code(answered.code),
            plugin: answered.plugin,
        };
        self.core.responses.get_or_create(&response).inc();
    }

    pub(super) fn blocked(&self) {
        self.core.blocked.get_or_create(&self.labels).inc();
    }

    pub(super) fn filtered(&self) {
        self.core.filtered.get_or_create(&self.labels).inc();
    }

    pub(super) fn dropped(&self) {
        self.core.dropped.get_or_create(&self.labels).inc();
    }

    pub(super) fn limited(&self) {
        self.core.limited.inc();
    }

    pub(super) fn cache(&self, zones: &[Name]) -> CacheMetrics {
        let zones: Vec<String> = zones.iter().map(Name::to_ascii).collect();
        let labels = CacheLabels {
            server: self.labels.server.clone(),
            zones: Text(zones.join(",").into()),
            view: "",
        };
        let of_kind = |r#type| KindLabels {
            server: labels.server.clone(),
            r#type,
            zones: labels.zones.clone(),
            view: "",
        };
        let kinds = [of_kind("success"), of_kind("denial")];
        let core = &self.core;
        CacheMetrics {
            entries: kinds
                .each_ref()
                .map(|labels| core.cache_entries.get_or_create_owned(labels)),
            hits: kinds
                .each_ref()
                .map(|labels| core.cache_hits.get_or_create_owned(labels)),
            misses: core.cache_misses.get_or_create_owned(&labels),
            requests: core.cache_requests.get_or_create_owned(&labels),
            prefetched: core.cache_prefetched.get_or_create_owned(&labels),
            served_stale: core.cache_served_stale.get_or_create_owned(&labels),
        }
    }
}

// === impl CacheMetrics ===

impl CacheMetrics {
    pub(super) fn hit(&self, kind: Kind) {
        self.hits[kind as usize].inc();
    }

    pub(super) fn entries(&self, kind: Kind, count: usize) {
        self.entries[kind as usize].set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

// === impl UpstreamMetrics ===

impl UpstreamMetrics {
    pub(super) fn answered(&self, response: &Response, took: Duration) {
        let labels = UpstreamRcodeLabels {
            proxy_name: "forward",
            to: self.to.clone(),
            rcode: code(response.code),
        };
        self.core
            .upstream_duration
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// Whether a question found a connection.
    pub(super) fn connection(&self, proto: &'static str, was_there: bool) {
        let labels = ConnectionLabels {
            proxy_name: "forward",
            to: self.to.clone(),
            proto,
        };
        let counters = if was_there {
            &self.core.upstream_reused
        } else {
            &self.core.upstream_connected
        };
        counters.get_or_create(&labels).inc();
    }
}

// === impl Text ===

impl EncodeLabelValue for Text {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&&*self.0, encoder)
    }
}

/// As CoreDNS has them.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}
