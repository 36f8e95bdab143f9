//! Questions answered from the snapshot: from octets to octets where that can be, else as hickory's
//! server has them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use hickory_proto::op::{Header, HeaderCounts, Metadata};
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use tombolo_dns_zone::wire::{Cookies, Query, ServerCookie};

use crate::metrics::{DnsMetrics, Transport};
use crate::publisher::Published;
use crate::reply::Reply;
use crate::udp::{FastPath, SlowPath, Verdict};

/// Answers each question from the snapshot of the moment. Clones are one handler.
#[derive(Clone)]
pub struct Handler {
    published: Published,
    metrics: DnsMetrics,
    asked: Arc<AtomicUsize>,
    cookies: Cookies,
}

// === impl Handler ===

impl Handler {
    /// A handler that answers from what is `published`.
    #[must_use]
    pub fn new(published: Published, metrics: DnsMetrics) -> Self {
        Self {
            published,
            metrics,
            asked: Arc::default(),
            cookies: Cookies::new(rand::random()),
        }
    }

    fn reply(&self, request: &Request) -> Reply {
        let transport = transport(request.protocol());
        let cookie = |of_client| self.cookie(of_client, request.src().ip());
        let snapshot = self.published.load_full();
        Reply::to(request, &snapshot, self.rotation(), transport, cookie)
    }

    fn rotation(&self) -> usize {
        scatter(self.asked.fetch_add(1, Ordering::Relaxed))
    }

    fn cookie(&self, of_client: [u8; 8], address: IpAddr) -> ServerCookie {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        // RFC 9018: seconds modulo 2^32.
        let seconds = now.unwrap_or_default().as_secs() as u32;
        self.cookies.server(of_client, address, seconds)
    }
}

impl FastPath for Handler {
    fn answer(&self, query: &[u8], client: SocketAddr, response: &mut Vec<u8>) -> Verdict {
        let started = Instant::now();
        let Some(query) = Query::parse(query) else {
            return Verdict::HandOn;
        };
        let cookie = query
            .client_cookie()
            .map(|of_client| self.cookie(of_client, client.ip()));
        let snapshot = self.published.load();
        let Some(code) = snapshot.respond(&query, self.rotation(), cookie, response) else {
            return Verdict::HandOn;
        };
        let record_type = Some(query.record_type().into());
        self.metrics
            .answered(Transport::Udp, record_type, code, started.elapsed());
        Verdict::Answered
    }
}

impl SlowPath for Handler {
    async fn respond(&self, request: &Request) -> Option<Vec<u8>> {
        let started = Instant::now();
        let reply = self.reply(request);
        let octets = octets(&reply, request);
        count(&reply, request, &self.metrics, started);
        octets
    }
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        response_handle: R,
    ) -> ResponseInfo {
        let started = Instant::now();
        let reply = self.reply(request);
        send(&reply, request, response_handle, &self.metrics, started).await
    }
}

/// Sends the reply to a request, and counts it.
pub(crate) async fn send<R: ResponseHandler>(
    reply: &Reply,
    request: &Request,
    mut response_handle: R,
    metrics: &DnsMetrics,
    started: Instant,
) -> ResponseInfo {
    let sent = response_handle.send_response(reply.message(request)).await;
    count(reply, request, metrics, started);
    sent.unwrap_or_else(|error| {
        tracing::debug!(source = %request.src(), %error, "answer not sent");
        nothing(reply.metadata)
    })
}

pub(crate) fn count(reply: &Reply, request: &Request, metrics: &DnsMetrics, started: Instant) {
    let questions = request.queries.queries();
    let record_type = questions.first().map(|question| question.query_type());
    let code = reply.metadata.response_code;
    let transport = transport(request.protocol());
    metrics.answered(transport, record_type, code, started.elapsed());
}

/// The message that `reply` is; none if there is no such message.
pub(crate) fn octets(reply: &Reply, request: &Request) -> Option<Vec<u8>> {
    let encoded = reply.encode(request, transport(request.protocol()));
    if let Err(error) = &encoded {
        tracing::debug!(source = %request.src(), %error, "answer not encoded");
    }
    encoded.ok()
}

/// For hickory's server, where nothing was sent.
pub(crate) fn nothing(metadata: Metadata) -> ResponseInfo {
    Header {
        metadata,
        counts: HeaderCounts::default(),
    }
    .into()
}

// hickory's enum has protocols that need its features; these are all that are compiled in.
#[allow(clippy::wildcard_enum_match_arm)]
pub(crate) fn transport(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::Udp => Transport::Udp,
        Protocol::Tls => Transport::Tls,
        Protocol::Quic => Transport::Quic,
        Protocol::Https => Transport::Https,
        _ => Transport::Tcp,
    }
}

/// Resolvers ask in patterns (A, then AAAA, then A…), with which a plain count would beat: every
/// other record would never come first. This is `SplitMix64`, which scatters the count evenly.
fn scatter(count: usize) -> usize {
    let mut z = (count as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_a_few_records_comes_first_about_equally_often_in_every_pattern() {
        for records in 2..=5 {
            for step in 1..=4 {
                let mut firsts = vec![0_usize; records];
                for asked in (0..4_000).step_by(step) {
                    firsts[scatter(asked) % records] += 1;
                }
                let fair = 4_000 / step / records;
                for count in firsts {
                    assert!(
                        count.abs_diff(fair) < fair / 4,
                        "{records} records, step {step}"
                    );
                }
            }
        }
    }
}
