//! Metrics of one server block at one place.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::chain::log::code;
use crate::chain::query::Plugin;
use crate::metrics::{Held, QuestionType, Transport};

use super::labels::{
    CacheLabels, ChainLabels, KindLabels, RequestLabels, ResponseLabels, SizeLabels, Text,
};
use super::{CacheMetrics, CoreMetrics, NAMED_CODES};

/// Metrics of one server block at one place. Clones are the same.
#[derive(Clone)]
pub(crate) struct ChainMetrics {
    core: CoreMetrics,
    labels: ChainLabels,
    duration: Histogram,
    held: Arc<HeldMetrics>,
}

/// What is counted of every question.
#[derive(Default)]
struct HeldMetrics {
    requests: Held<Counter, { Transport::COUNT * FAMILIES * QuestionType::COUNT }>,
    dnssec_requests: Held<Counter, 1>,
    /// Of the question's message, and the answer's.
    octets: Held<[Histogram; 2], { Transport::COUNT }>,
    responses: Held<Counter, { Plugin::COUNT * NAMED_CODES }>,
}

/// As CoreDNS numbers them.
const FAMILIES: usize = 2;

/// A question and its answer, as far as they are counted.
pub(crate) struct Answered {
    pub(crate) transport: Transport,
    pub(crate) client: IpAddr,
    pub(crate) record_type: RecordType,
    pub(crate) wants_dnssec: bool,
    pub(crate) code: ResponseCode,
    /// Who knew the answer.
    pub(crate) plugin: Plugin,
    /// Of the question's message, and the answer's.
    pub(crate) octets: (usize, usize),
    pub(crate) took: Duration,
}

// === impl ChainMetrics ===

impl ChainMetrics {
    pub(super) fn new(core: &CoreMetrics, labels: ChainLabels) -> Self {
        Self {
            duration: core.duration.get_or_create_owned(&labels),
            core: core.clone(),
            labels,
            held: Arc::default(),
        }
    }

    pub(crate) fn core(&self) -> &CoreMetrics {
        &self.core
    }

    pub(super) fn labels(&self) -> &ChainLabels {
        &self.labels
    }

    pub(crate) fn answered(&self, answered: &Answered) {
        let held = &*self.held;
        self.request(answered).inc();
        if answered.wants_dnssec {
            let counter = held.dnssec_requests.get(0, || {
                self.core.dnssec_requests.get_or_create_owned(&self.labels)
            });
            counter.inc();
        }
        self.duration.observe(answered.took.as_secs_f64());
        let transport = answered.transport;
        let [question, answer] = held
            .octets
            .get(transport as usize, || self.octets(transport));
        question.observe(answered.octets.0 as f64);
        answer.observe(answered.octets.1 as f64);
        let plugin = answered.plugin;
        let number = usize::from(u16::from(answered.code));
        if number < NAMED_CODES {
            let index = plugin as usize * NAMED_CODES + number;
            let make = || self.response(plugin, answered.code);
            held.responses.get(index, make).inc();
        } else {
            self.response(plugin, answered.code).inc();
        }
    }

    fn request(&self, answered: &Answered) -> &Counter {
        let family = usize::from(!answered.client.to_canonical().is_ipv4());
        let question_type = QuestionType::of(Some(answered.record_type));
        let index = (answered.transport as usize * FAMILIES + family) * QuestionType::COUNT
            + question_type.index();
        self.held.requests.get(index, || {
            let ChainLabels { server, zone, view } = self.labels.clone();
            let labels = RequestLabels {
                server,
                zone,
                view,
                proto: answered.transport.as_str(),
                family: ["1", "2"][family],
                r#type: question_type,
            };
            self.core.requests.get_or_create_owned(&labels)
        })
    }

    fn octets(&self, transport: Transport) -> [Histogram; 2] {
        let ChainLabels { server, zone, view } = self.labels.clone();
        let labels = SizeLabels {
            server,
            zone,
            view,
            proto: transport.as_str(),
        };
        let core = &self.core;
        [&core.request_octets, &core.response_octets]
            .map(|family| family.get_or_create_owned(&labels))
    }

    fn response(&self, plugin: Plugin, answer: ResponseCode) -> Counter {
        let ChainLabels { server, zone, view } = self.labels.clone();
        let labels = ResponseLabels {
            server,
            zone,
            view,
            rcode: code(answer),
            plugin: plugin.as_str(),
        };
        self.core.responses.get_or_create_owned(&labels)
    }

    pub(in crate::chain) fn blocked(&self) {
        self.core.blocked.get_or_create(&self.labels).inc();
    }

    pub(in crate::chain) fn filtered(&self) {
        self.core.filtered.get_or_create(&self.labels).inc();
    }

    pub(in crate::chain) fn dropped(&self) {
        self.core.dropped.get_or_create(&self.labels).inc();
    }

    pub(in crate::chain) fn limited(&self) {
        self.core.limited.inc();
    }

    pub(in crate::chain) fn cache(&self, zones: &[Name]) -> CacheMetrics {
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
