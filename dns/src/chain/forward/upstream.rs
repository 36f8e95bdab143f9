//! One upstream: how it is asked, over connections that are kept, and whether it seems to be up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt;
use hickory_net::NetError;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tcp::TcpClientStream;
use hickory_net::tls::tls_client_connect;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsExchange, DnsHandle, DnsMultiplexer};
use hickory_proto::op::{DnsRequest, DnsRequestOptions, Edns, Message, Query as Question};
use hickory_proto::rr::RecordType;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::{Instant, sleep, timeout};
use tombolo_dns_corefile::plugins::{Forward, HealthCheck, Upstream as Config};
use tombolo_dns_zone::wire::MAX_UDP_PAYLOAD;

use super::super::metrics::{Proto, UpstreamMetrics};
use super::super::query::{Query, Response};
use super::tls::{self, TlsError};

/// As CoreDNS has it: then another upstream may be asked within the time that clients wait.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);
/// Questions that wait on one connection.
const MAX_UNDER_WAY: usize = 4_096;

type Exchange = DnsExchange<TokioRuntimeProvider>;

/// How an upstream is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Udp,
    Tcp,
    /// TCP if the answer over UDP was cut.
    UdpThenTcp,
}

/// Another resolver.
pub(super) struct Upstream {
    address: SocketAddr,
    /// Connections of TCP end with it.
    provider: TokioRuntimeProvider,
    /// Each question has a socket, and so a port, of its own.
    udp: Exchange,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    stream: Mutex<Option<Connection>>,
    expire: Duration,
    health: HealthCheck,
    max_fails: u32,
    fails: AtomicU32,
    is_looked_after: AtomicBool,
    metrics: UpstreamMetrics,
}

#[derive(Clone)]
struct Connection {
    exchange: Exchange,
    used: Instant,
}

/// An upstream gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("{0}")]
    Net(#[from] NetError),
    #[error("no connection in time")]
    ConnectTimeout,
    #[error("no answer in time")]
    Timeout,
    #[error("the connection ended")]
    Ended,
    #[error("it answered another question")]
    OtherQuestion,
}

// === impl Upstream ===

impl Upstream {
    pub(super) fn new(
        config: &Config,
        forward: &Forward,
        metrics: UpstreamMetrics,
    ) -> Result<Self, TlsError> {
        let tls = if config.tls {
            let name = config
                .server_name
                .as_deref()
                .or(forward.tls.server_name.as_deref());
            Some((
                tls::config(&forward.tls)?,
                tls::server_name(name, config.address.ip())?,
            ))
        } else {
            None
        };
        let provider = TokioRuntimeProvider::new();
        let udp = UdpClientStream::builder(config.address, provider.clone())
            .with_timeout(Some(READ_TIMEOUT))
            // Another upstream is a better second try than the same.
            .with_max_retries(1)
            .with_os_port_selection(true);
        Ok(Self {
            address: config.address,
            provider,
            udp: udp.exchange(),
            tls,
            stream: Mutex::new(None),
            expire: forward.expire,
            health: forward.health_check.clone(),
            max_fails: forward.max_fails,
            fails: AtomicU32::new(0),
            is_looked_after: AtomicBool::new(false),
            metrics,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn is_down(&self) -> bool {
        self.max_fails > 0 && self.fails.load(Ordering::Relaxed) >= self.max_fails
    }

    pub(super) async fn ask(&self, query: &Query, over: Over) -> Result<Response, AskError> {
        let started = Instant::now();
        let message = message(query);
        let answer = match over {
            Over::Udp | Over::UdpThenTcp if self.tls.is_none() => {
                let answer = send(&self.udp, message.clone()).await?;
                if answer.metadata.truncation && over == Over::UdpThenTcp {
                    self.over_stream(message).await?
                } else {
                    answer
                }
            }
            Over::Udp | Over::Tcp | Over::UdpThenTcp => self.over_stream(message).await?,
        };
        let is_of_the_question = answer
            .queries
            .iter()
            .all(|asked| asked.query_type() == query.record_type && *asked.name() == query.name);
        if !is_of_the_question {
            return Err(AskError::OtherQuestion);
        }
        let response = Response::from(answer);
        self.metrics.answered(&response, started.elapsed());
        Ok(response)
    }

    /// Asks it again and again, until it answers: meanwhile others are preferred. Does nothing if
    /// somebody does already.
    pub(super) fn look_after(self: &Arc<Self>) {
        if self.max_fails == 0 || self.is_looked_after.swap(true, Ordering::Relaxed) {
            return;
        }
        // Weakly, so that it ends with the Corefile that names the upstream.
        let this = Arc::downgrade(self);
        let interval = self.health.interval;
        drop(tokio::spawn(async move {
            while let Some(upstream) = this.upgrade() {
                if upstream.is_healthy().await {
                    upstream.fails.store(0, Ordering::Relaxed);
                    upstream.is_looked_after.store(false, Ordering::Relaxed);
                    return;
                }
                upstream.fails.fetch_add(1, Ordering::Relaxed);
                upstream.metrics.health_failures.inc();
                drop(upstream);
                sleep(interval).await;
            }
        }));
    }

    /// Any answer will do.
    async fn is_healthy(&self) -> bool {
        let mut message = Message::query();
        message.metadata.recursion_desired = self.health.recursion;
        message.add_query(Question::query(self.health.domain.clone(), RecordType::NS));
        let asked = async {
            match self.tls {
                None => send(&self.udp, message).await,
                Some(_) => self.over_stream(message).await,
            }
        };
        matches!(timeout(HEALTH_TIMEOUT, asked).await, Ok(Ok(_)))
    }

    /// On the connection that is there; if that has ended meanwhile, on a new one.
    async fn over_stream(&self, message: Message) -> Result<Message, AskError> {
        let proto = if self.tls.is_some() {
            Proto::Tls
        } else {
            Proto::Tcp
        };
        let kept = self.kept();
        self.metrics.connection(proto, kept.is_some());
        if let Some(exchange) = kept {
            match send(&exchange, message.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(_) => *self.stream.lock() = None,
            }
        }
        let exchange = timeout(CONNECT_TIMEOUT, self.connect())
            .await
            .map_err(|_| AskError::ConnectTimeout)??;
        *self.stream.lock() = Some(Connection {
            exchange: exchange.clone(),
            used: Instant::now(),
        });
        let answer = send(&exchange, message).await;
        if answer.is_err() {
            *self.stream.lock() = None;
        }
        answer
    }

    fn kept(&self) -> Option<Exchange> {
        let mut stream = self.stream.lock();
        let now = Instant::now();
        let expire = self.expire;
        let kept = stream
            .as_mut()
            .filter(|kept| now.saturating_duration_since(kept.used) < expire);
        match kept {
            Some(kept) => {
                kept.used = now;
                Some(kept.exchange.clone())
            }
            None => {
                *stream = None;
                None
            }
        }
    }

    async fn connect(&self) -> Result<Exchange, NetError> {
        let provider = self.provider.clone();
        let Some((config, name)) = &self.tls else {
            let most = Some(MAX_UNDER_WAY);
            return TcpClientStream::exchange(self.address, None, READ_TIMEOUT, most, provider)
                .await;
        };
        let (connecting, sender) =
            tls_client_connect(self.address, name.clone(), Arc::clone(config), provider);
        let multiplexer = DnsMultiplexer::new(connecting.await?, sender)
            .with_timeout(READ_TIMEOUT)
            .with_max_active_requests(MAX_UNDER_WAY);
        let (exchange, background) = Exchange::from_stream(multiplexer);
        // Ends with the last handle.
        drop(tokio::spawn(background));
        Ok(exchange)
    }
}

async fn send(exchange: &Exchange, message: Message) -> Result<Message, AskError> {
    let mut answers = exchange.send(DnsRequest::new(message, DnsRequestOptions::default()));
    let answer = timeout(READ_TIMEOUT, answers.next())
        .await
        .map_err(|_| AskError::Timeout)?;
    Ok(answer.ok_or(AskError::Ended)??.into_message())
}

/// The question as the client put it, in a message of our own.
fn message(query: &Query) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = query.recursion_desired;
    message.metadata.checking_disabled = query.checking_disabled;
    message.metadata.authentic_data = query.authentic_data;
    let mut question = Question::query(query.name.clone(), query.record_type);
    question.set_query_class(query.class);
    message.add_query(question);
    if let Some((octets, dnssec)) = query.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(octets.min(MAX_UDP_PAYLOAD));
        edns.set_dnssec_ok(dnssec);
        message.set_edns(edns);
    }
    message
}
