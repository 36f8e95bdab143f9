//! `forward`: upstreams, which are asked in the order of a policy, and looked at when they fail.

mod tls;
mod upstream;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::Name;
use rand::seq::SliceRandom;
use tokio::time::{Instant, timeout_at};
use tombolo_dns_corefile::plugins::{Forward as Config, Policy};

use crate::metrics::Transport;

pub(crate) use self::tls::TlsError;
use self::upstream::{Over, Upstream};
use super::metrics::CoreMetrics;
use super::query::{Query, Response};

/// As CoreDNS: clients ask again after five seconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rounds through all upstreams: one that refuses at once would be asked thousands of times.
const ROUNDS: usize = 2;
const MIN_ATTEMPTS: usize = 3;

/// Other resolvers.
pub(super) struct Forward {
    config: Config,
    upstreams: Vec<Arc<Upstream>>,
    turn: AtomicUsize,
    waiting: AtomicUsize,
    metrics: CoreMetrics,
}

/// A question that waits.
struct Waiting<'a>(&'a AtomicUsize);

// === impl Forward ===

impl Forward {
    pub(super) fn new(config: &Config, metrics: &CoreMetrics) -> Result<Self, TlsError> {
        let upstreams = config.upstreams.iter().map(|upstream| {
            let metrics = metrics.upstream(upstream.address);
            Upstream::new(upstream, config, metrics).map(Arc::new)
        });
        Ok(Self {
            upstreams: upstreams.collect::<Result<_, _>>()?,
            config: config.clone(),
            turn: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            metrics: metrics.clone(),
        })
    }

    pub(super) fn concerns(&self, name: &Name) -> bool {
        let is_in = |zones: &[Name]| zones.iter().any(|zone| zone.zone_of(name));
        is_in(&self.config.from) && !is_in(&self.config.except)
    }

    /// Whether the next plugin is to be asked, too.
    pub(super) fn passes_on(&self, code: ResponseCode) -> bool {
        self.config.next.contains(&u16::from(code))
    }

    pub(super) async fn answer(&self, query: &Query) -> Response {
        let Some(_waiting) = Waiting::new(&self.waiting, self.config.max_concurrent) else {
            self.metrics.too_many_waiting.inc();
            return Response::of_code(ResponseCode::Refused).with_error(format!(
                "more than {} questions wait",
                self.config.max_concurrent
            ));
        };
        let deadline = Instant::now() + PATIENCE;
        let over = self.over(query.transport);
        let order = self.order();
        let most = match self.config.max_connect_attempts {
            0 => (ROUNDS * order.len()).max(MIN_ATTEMPTS),
            attempts => usize::try_from(attempts).unwrap_or(usize::MAX),
        };
        let mut down = 0;
        let mut attempts = 0;
        let mut error = "no upstream is up".to_owned();
        for upstream in order.iter().cycle() {
            if attempts >= most || Instant::now() >= deadline {
                break;
            }
            let all_down = down >= order.len();
            if upstream.is_down() && !all_down {
                down += 1;
                if down < order.len() {
                    continue;
                }
                self.metrics.all_upstreams_down.inc();
                if self.config.fail_fast {
                    break;
                }
                // They may be up and only not answer health checks: one is asked all the same.
            }
            attempts += 1;
            let asked = timeout_at(deadline, upstream.ask(query, over)).await;
            match asked {
                Ok(Ok(response)) => return response,
                Ok(Err(failed)) => error = format!("{}: {failed}", upstream.address()),
                Err(_) => error = format!("{}: no answer in time", upstream.address()),
            }
            upstream.look_after();
            if down >= order.len() {
                break;
            }
        }
        Response::error(error)
    }

    /// The transport of the client, as CoreDNS: a truncated answer over UDP is for the client to
    /// come back with over TCP.
    fn over(&self, client: Transport) -> Over {
        let by_client = match client {
            Transport::Udp => Over::Udp,
            Transport::Tcp | Transport::Tls | Transport::Quic | Transport::Https => Over::Tcp,
        };
        match (self.config.force_tcp, self.config.prefer_udp) {
            (true, _) => Over::Tcp,
            (false, true) => Over::UdpThenTcp,
            (false, false) => by_client,
        }
    }

    fn order(&self) -> Vec<&Arc<Upstream>> {
        let mut order: Vec<&Arc<Upstream>> = self.upstreams.iter().collect();
        match self.config.policy {
            Policy::Random => order.shuffle(&mut rand::rng()),
            Policy::RoundRobin => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                order.rotate_left(turn % self.upstreams.len());
            }
            Policy::Sequential => {}
        }
        order
    }
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize, most: usize) -> Option<Self> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let waiting = Self(count);
        (most == 0 || before < most).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
