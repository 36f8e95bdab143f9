//! The plugins of a server block, as a question passes them:
//!
//! ```text
//! question ─► errors, log ─► rrl, acl ─► cache ─► rewrite ─► hosts ─► multicluster ─► loop ─► forward
//!                                     │ what is kept                   │ Snapshot        │ upstream
//! answer   ◄─ errors, log ◄─ loadbalance ◄──────────────────────────────────────────────┘
//! ```
//!
//! The order is CoreDNS's, whatever that of the lines in the Corefile. Where none of the plugins before
//! `multicluster` is there, its usual questions are answered from octets to octets, past all of them.

mod cache;
mod errors;
mod forward;
mod hosts;
mod limit;
mod log;
mod looping;
mod metrics;
mod query;
mod rewrite;

use std::sync::Arc;
use std::time::Instant;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use tombolo_dns_corefile::plugins::{Acl, AclAction, Plugins};
use tombolo_dns_zone::{Question, wire};

use crate::publisher::Published;

use self::cache::{Cache, Lookup};
use self::errors::Errors;
use self::forward::Forward;
use self::hosts::Hosts;
use self::limit::{Limit, Verdict};
use self::log::Logs;
use self::looping::LoopDetector;
pub(crate) use self::looping::Loops;
pub(crate) use self::metrics::{Answered, ChainMetrics, CoreMetrics};
pub(crate) use self::query::{Outline, Plugin, Query, Response};
use self::rewrite::Rewrites;

/// A plugin cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// The client side of TLS.
    #[error(transparent)]
    Tls(#[from] forward::TlsError),
}

/// What chains share.
#[derive(Clone)]
pub(crate) struct Shared {
    /// The zone of the clusterset.
    pub(crate) zone: Published,
    /// Where a loop is told.
    pub(crate) loops: Loops,
}

/// The plugins of a server block.
pub(crate) struct Chain {
    pub(crate) metrics: ChainMetrics,
    errors: Option<Errors>,
    log: Logs,
    limit: Option<Limit>,
    acl: Vec<Acl>,
    loadbalance: bool,
    /// Whether nobody but `multicluster` looks at a question of the clusterset or at its answer, so
    /// that octets will do. Its answers come in turn with `loadbalance` or without.
    from_octets: bool,
    cache: Option<Cache>,
    rewrite: Rewrites,
    hosts: Option<Hosts>,
    /// Zones whose names are passed on if they do not exist; none if the block has no names of the
    /// clusterset.
    multicluster: Option<Vec<Name>>,
    loop_detector: Option<LoopDetector>,
    forward: Vec<Forward>,
    shared: Shared,
}

/// What comes out of a chain.
pub(crate) enum Outcome {
    Answer(Response),
    /// The client hears nothing.
    Dropped,
}

// === impl Chain ===

impl Chain {
    /// The chain of a block that answers `zone`.
    pub(crate) fn new(
        plugins: &Plugins,
        zone: &Name,
        shared: Shared,
        metrics: ChainMetrics,
    ) -> Result<Arc<Self>, SetupError> {
        let forward = plugins
            .forward
            .iter()
            .map(|config| Forward::new(config, metrics.core()));
        let from_octets = plugins.log.is_empty()
            && plugins.limit.is_none()
            && plugins.acl.is_empty()
            && plugins.cache.is_none()
            && plugins.rewrite.is_empty()
            && plugins.hosts.is_none();
        Ok(Arc::new(Self {
            from_octets,
            errors: plugins.errors.as_ref().map(Errors::new),
            log: Logs::new(&plugins.log),
            limit: plugins.limit.as_ref().map(Limit::new),
            acl: plugins.acl.clone(),
            loadbalance: plugins.loadbalance,
            cache: plugins
                .cache
                .as_ref()
                .map(|config| Cache::new(config, &metrics)),
            rewrite: Rewrites::new(&plugins.rewrite),
            hosts: plugins.hosts.as_ref().map(Hosts::new),
            multicluster: plugins
                .multicluster
                .as_ref()
                .map(|config| config.fallthrough.clone()),
            loop_detector: plugins.detect_loop.then(|| LoopDetector::new(zone)),
            forward: forward.collect::<Result<_, _>>()?,
            shared,
            metrics,
        }))
    }

    /// Writes the answer to a usual question of the clusterset to `response`; none if it is one for
    /// [`Chain::answer`].
    pub(crate) fn respond(
        &self,
        query: &wire::Query<'_>,
        response: &mut Vec<u8>,
    ) -> Option<ResponseCode> {
        let fallthrough = self.multicluster.as_ref().filter(|_| self.from_octets)?;
        let snapshot = self.shared.zone.load();
        let code = snapshot.respond(query, rotation(), None, response)?;
        let may_be_others = code == ResponseCode::NXDomain && !fallthrough.is_empty();
        (!may_be_others).then_some(code)
    }

    /// Answers `query`, however long that takes.
    pub(crate) async fn answer(self: &Arc<Self>, query: &Query) -> Outcome {
        let action = self.acl.iter().find_map(|acl| {
            let action = acl.action(&query.name, query.record_type, query.client.ip());
            (action != AclAction::Allow).then_some(action)
        });
        let outcome = match action {
            Some(AclAction::Drop) => {
                self.metrics.dropped();
                return Outcome::Dropped;
            }
            Some(AclAction::Block) => {
                self.metrics.blocked();
                Response::of_code(ResponseCode::Refused)
            }
            Some(AclAction::Filter) => {
                self.metrics.filtered();
                Response::of_code(ResponseCode::NoError)
            }
            Some(AclAction::Allow) | None => {
                let mut response = self.cached(query).await;
                if self.loadbalance {
                    response.turn(rotation());
                }
                response
            }
        };
        self.limited(query, outcome)
    }

    fn limited(&self, query: &Query, response: Response) -> Outcome {
        let verdict = self.limit.as_ref().map_or(Verdict::Sent, |limit| {
            limit.verdict(query, &response, Instant::now())
        });
        match verdict {
            Verdict::Sent => Outcome::Answer(response),
            Verdict::Cut => {
                self.metrics.limited();
                Outcome::Answer(Response::cut(response.code))
            }
            Verdict::Withheld => {
                self.metrics.limited();
                Outcome::Dropped
            }
        }
    }

    /// Writes what happened to the logs that the Corefile asks for.
    pub(crate) fn log(&self, query: &Query, response: &Outline, octets: usize, started: Instant) {
        self.log.write(query, response, octets, started.elapsed());
        if let (Some(errors), Some(error)) = (&self.errors, &response.error) {
            errors.write(query, response.code, error);
        }
    }

    /// Looks for a loop, now that questions can come in.
    pub(crate) async fn detect_loop(self: &Arc<Self>) {
        if let Some(detector) = &self.loop_detector {
            let query = detector.query();
            self.resolve(&query).await;
            detector.done();
        }
    }

    async fn cached(self: &Arc<Self>, query: &Query) -> Response {
        let Some(cache) = self.cache.as_ref().filter(|cache| cache.concerns(query)) else {
            return self.resolve(query).await;
        };
        match cache.get(query, Instant::now()) {
            Lookup::Hit(response) => response,
            Lookup::Refresh(response) => {
                self.refresh(query);
                response
            }
            Lookup::Stale(stale) => {
                let mut fresh = self.resolve(query).await;
                if fresh.code == ResponseCode::ServFail {
                    return cache.stale(stale);
                }
                cache.put(query, &mut fresh, Instant::now());
                fresh
            }
            Lookup::Miss => {
                let mut response = self.resolve(query).await;
                cache.put(query, &mut response, Instant::now());
                response
            }
        }
    }

    /// Asks again while the client has its answer.
    fn refresh(self: &Arc<Self>, query: &Query) {
        let this = Arc::clone(self);
        let query = query.clone();
        drop(tokio::spawn(async move {
            let response = this.resolve(&query).await;
            if let Some(cache) = &this.cache {
                cache.refreshed(&query, response, Instant::now());
            }
        }));
    }

    async fn resolve(&self, query: &Query) -> Response {
        let Some((rewritten, rewriting)) = self.rewrite.query(query) else {
            return self.find(query).await;
        };
        let response = self.find(&rewritten).await;
        rewriting.response(response)
    }

    async fn find(&self, query: &Query) -> Response {
        if let Some(response) = self.hosts.as_ref().and_then(|hosts| hosts.answer(query)) {
            return response;
        }
        if let Some(response) = self.of_the_clusterset(query) {
            return response;
        }
        if let Some(detector) = &self.loop_detector
            && detector.has_come_back(query)
        {
            self.shared.loops.tell(detector.zone());
            return Response::of_code(ResponseCode::ServFail);
        }
        let mut last = None;
        for forward in &self.forward {
            if !forward.concerns(&query.name) {
                continue;
            }
            let response = forward.answer(query).await;
            if !forward.passes_on(response.code) {
                return response;
            }
            last = Some(response);
        }
        last.unwrap_or_else(|| {
            Response::error("no plugin of the server block answers this name".to_owned())
        })
    }

    fn of_the_clusterset(&self, query: &Query) -> Option<Response> {
        let fallthrough = self.multicluster.as_ref()?;
        let snapshot = self.shared.zone.load();
        let is_of_the_zone = snapshot.zone().origin().zone_of(&query.name);
        let question = Question {
            name: &query.name,
            record_type: query.record_type,
            class: query.class,
        };
        let response = Response::from(snapshot.answer(&question, rotation()));
        if !is_of_the_zone {
            // Reverse names of the clusterset's addresses; all other names are for others.
            return response.authoritative.then_some(response);
        }
        let passes_on = response.code == ResponseCode::NXDomain
            && fallthrough.iter().any(|zone| zone.zone_of(&query.name));
        (!passes_on).then_some(response)
    }
}

/// Any number: with it each of a few records comes first as often as the others, whatever the pattern
/// of the questions.
fn rotation() -> usize {
    rand::random::<u32>() as usize
}

/// Whether records of this type are addresses, whose order clients go by.
fn is_address(record_type: RecordType) -> bool {
    matches!(record_type, RecordType::A | RecordType::AAAA)
}
