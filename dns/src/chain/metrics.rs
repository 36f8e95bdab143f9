//! What is counted, under CoreDNS's names: dashboards and alerts go on working.

mod block;
mod labels;
mod upstream;

use std::net::SocketAddr;

use hickory_proto::rr::Name;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub(crate) use self::block::{Answered, ChainMetrics};
use self::labels::{
    CacheLabels, ChainLabels, ConnectionLabels, KindLabels, PluginLabels, RequestLabels,
    ResponseLabels, SizeLabels, Text, UpstreamLabels, UpstreamRcodeLabels,
};
pub(super) use self::upstream::{Proto, UpstreamMetrics};

use super::log::NAMED_CODES;

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

/// Metrics of one cache.
pub(super) struct CacheMetrics {
    entries: [Gauge; 2],
    hits: [Counter; 2],
    pub(super) misses: Counter,
    pub(super) requests: Counter,
    pub(super) prefetched: Counter,
    pub(super) served_stale: Counter,
}

/// A kind of answers that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Success = 0,
    Denial = 1,
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
        ChainMetrics::new(self, labels)
    }

    /// Tells the plugins of every block, and no others that there were before.
    pub(crate) fn enabled(&self, blocks: &[(ChainMetrics, Vec<&'static str>)]) {
        self.plugins.clear();
        for (chain, names) in blocks {
            for name in names {
                let ChainLabels { server, zone, view } = chain.labels().clone();
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
        UpstreamMetrics::new(self, address)
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

// === impl CacheMetrics ===

impl CacheMetrics {
    pub(super) fn hit(&self, kind: Kind) {
        self.hits[kind as usize].inc();
    }

    pub(super) fn entries(&self, kind: Kind, count: usize) {
        self.entries[kind as usize].set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// As CoreDNS has them.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}
