//! `cache`: answers that are kept, by CoreDNS's rules of what may be kept and how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use parking_lot::Mutex;
use tombolo_dns_corefile::plugins::{Cache as Config, CacheKind};

use super::metrics::{CacheMetrics, ChainMetrics, Kind};
use super::query::{Plugin, Query, Response};

/// How long an answer without any record is kept.
const NO_RECORD_TTL: u32 = 5;

/// Answers that are kept.
pub(super) struct Cache {
    config: Config,
    success: Store,
    denial: Store,
    metrics: CacheMetrics,
}

type Store = quick_cache::sync::Cache<Key, Arc<Item>>;

/// What an answer depends on besides the zone's own will.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// In lower case.
    name: Name,
    record_type: RecordType,
    class: DNSClass,
    dnssec: bool,
    checking_disabled: bool,
}

#[derive(Debug)]
struct Item {
    response: Response,
    stored: Instant,
    ttl: u32,
    kind: Kind,
    /// How often it was asked for lately, and when that counting began.
    asked: AtomicU32,
    counted_from: Mutex<Instant>,
    refreshing: AtomicBool,
}

/// What there is for a question.
pub(super) enum Lookup {
    Hit(Response),
    /// An answer, and it is time to ask again.
    Refresh(Response),
    /// Only good if there is no better one.
    Stale(Response),
    Miss,
}

// === impl Cache ===

impl Cache {
    pub(super) fn new(config: &Config, metrics: &ChainMetrics) -> Self {
        let store = |kind: &CacheKind| Store::new(kind.capacity.max(1));
        Self {
            success: store(&config.success),
            denial: store(&config.denial),
            config: config.clone(),
            metrics: metrics.cache(&config.zones),
        }
    }

    pub(super) fn concerns(&self, query: &Query) -> bool {
        self.config
            .zones
            .iter()
            .any(|zone| zone.zone_of(&query.name))
    }

    pub(super) fn get(&self, query: &Query, now: Instant) -> Lookup {
        self.metrics.requests.inc();
        let key = Key::of(query);
        let found = self.success.get(&key).or_else(|| self.denial.get(&key));
        let Some(item) = found else {
            self.metrics.misses.inc();
            return Lookup::Miss;
        };
        let left = i64::from(item.ttl) - seconds(now.saturating_duration_since(item.stored));
        if left > 0 {
            self.metrics.hit(item.kind);
            let response = self.aged(&item, left);
            if self.is_to_be_prefetched(&item, left, now) {
                self.metrics.prefetched.inc();
                return Lookup::Refresh(response);
            }
            return Lookup::Hit(response);
        }
        let Some(stale) = self.config.serve_stale else {
            self.metrics.misses.inc();
            return Lookup::Miss;
        };
        if -left >= seconds(stale.duration) {
            self.metrics.misses.inc();
            return Lookup::Miss;
        }
        let response = self.aged(&item, 0);
        if stale.verify {
            return Lookup::Stale(response);
        }
        let response = self.stale(response);
        if item.refreshing.swap(true, Ordering::Relaxed) {
            Lookup::Hit(response)
        } else {
            Lookup::Refresh(response)
        }
    }

    /// Counts that an answer past its time was given.
    pub(super) fn stale(&self, response: Response) -> Response {
        self.metrics.served_stale.inc();
        response
    }

    /// Keeps what may be kept, and bounds its TTLs, so that the first who asks hears no other than
    /// those who come after.
    pub(super) fn put(&self, query: &Query, response: &mut Response, now: Instant) {
        let Some((kind, ttl)) = self.lifetime(query, response) else {
            return;
        };
        let kept = response.clone();
        if !self.config.keep_ttl {
            for record in response.all_records_mut() {
                record.ttl = ttl;
            }
        }
        let key = Key::of(query);
        // What is stale and good is better than a new failure.
        if response.code == ResponseCode::ServFail
            && self.config.serve_stale.is_some()
            && self.success.peek(&key).is_some()
        {
            return;
        }
        let item = Arc::new(Item {
            response: kept,
            stored: now,
            ttl,
            kind,
            asked: AtomicU32::new(0),
            counted_from: Mutex::new(now),
            refreshing: AtomicBool::new(false),
        });
        let (store, other) = match kind {
            Kind::Success => (&self.success, &self.denial),
            Kind::Denial => (&self.denial, &self.success),
        };
        other.remove(&key);
        store.insert(key, item);
        self.metrics.entries(Kind::Success, self.success.len());
        self.metrics.entries(Kind::Denial, self.denial.len());
    }

    /// As [`Cache::put`], for an answer that was asked for beforehand: if it is none, the one that
    /// is there stays, and may be asked for again.
    pub(super) fn refreshed(&self, query: &Query, mut response: Response, now: Instant) {
        if response.code != ResponseCode::ServFail {
            self.put(query, &mut response, now);
        }
        let key = Key::of(query);
        if let Some(item) = self.success.peek(&key).or_else(|| self.denial.peek(&key)) {
            item.refreshing.store(false, Ordering::Relaxed);
        }
    }

    /// As what, and for how many seconds, a response is kept; none: it is not.
    fn lifetime(&self, query: &Query, response: &Response) -> Option<(Kind, u32)> {
        if response.truncated || query.record_type == RecordType::AXFR {
            return None;
        }
        let (kind, config) = match classify(query, response)? {
            Class::Success => (Kind::Success, &self.config.success),
            Class::Denial => (Kind::Denial, &self.config.denial),
            Class::Failure => {
                let ttl = u32::try_from(self.config.servfail.as_secs()).unwrap_or(u32::MAX);
                return (ttl > 0).then_some((Kind::Denial, ttl));
            }
        };
        if config.capacity == 0 || config.disabled.iter().any(|zone| zone.zone_of(&query.name)) {
            return None;
        }
        let ttl = smallest_ttl(response).clamp(config.min_ttl, config.max_ttl);
        (ttl > 0).then_some((kind, ttl))
    }

    fn aged(&self, item: &Item, left: i64) -> Response {
        let mut response = item.response.clone();
        response.plugin = Plugin::Cache;
        if !self.config.keep_ttl {
            let ttl = u32::try_from(left).unwrap_or_default();
            for record in response.all_records_mut() {
                record.ttl = ttl;
            }
        }
        response
    }

    fn is_to_be_prefetched(&self, item: &Item, left: i64, now: Instant) -> bool {
        let Some(prefetch) = self.config.prefetch else {
            return false;
        };
        {
            let mut counted_from = item.counted_from.lock();
            if now.saturating_duration_since(*counted_from) > prefetch.duration {
                *counted_from = now;
                item.asked.store(0, Ordering::Relaxed);
            }
        }
        let asked = item.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let threshold = i64::from(item.ttl) * i64::from(prefetch.percentage) / 100;
        asked >= prefetch.amount
            && left <= threshold.max(1)
            && !item.refreshing.swap(true, Ordering::Relaxed)
    }
}

// === impl Key ===

impl Key {
    fn of(query: &Query) -> Self {
        Self {
            name: query.name.to_lowercase(),
            record_type: query.record_type,
            class: query.class,
            dnssec: query.wants_dnssec(),
            checking_disabled: query.checking_disabled,
        }
    }
}

enum Class {
    Success,
    Denial,
    Failure,
}

/// What is neither (REFUSED, a referral, …) is not kept.
// All other codes are the same to a cache.
#[allow(clippy::wildcard_enum_match_arm)]
fn classify(query: &Query, response: &Response) -> Option<Class> {
    match response.code {
        ResponseCode::NoError => {
            let is_answer = |record_type| {
                record_type == query.record_type
                    || record_type == RecordType::CNAME
                    || query.record_type == RecordType::ANY
            };
            if response
                .answers
                .iter()
                .any(|record| is_answer(record.record_type()))
            {
                return Some(Class::Success);
            }
            // Without an SOA it is not known for how long there is nothing (RFC 2308, section 5).
            has_soa(response).then_some(Class::Denial)
        }
        ResponseCode::NXDomain => has_soa(response).then_some(Class::Denial),
        ResponseCode::ServFail | ResponseCode::NotImp => Some(Class::Failure),
        _ => None,
    }
}

fn has_soa(response: &Response) -> bool {
    response
        .authorities
        .iter()
        .any(|record| record.record_type() == RecordType::SOA)
}

fn smallest_ttl(response: &Response) -> u32 {
    let is_denial = response.answers.is_empty();
    let ttls = response.all_records().map(|record| {
        if let (RData::SOA(soa), true) = (&record.data, is_denial) {
            // RFC 2308, section 5.
            return record.ttl.min(soa.minimum);
        }
        record.ttl
    });
    ttls.min().unwrap_or(NO_RECORD_TTL)
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
