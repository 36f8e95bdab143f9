//! Metrics of one upstream.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::chain::log::code;
use crate::chain::query::Response;
use crate::metrics::Held;

use super::labels::{ConnectionLabels, Text, UpstreamLabels, UpstreamRcodeLabels};
use super::{CoreMetrics, NAMED_CODES};

const FORWARD: &str = "forward";

/// Metrics of one upstream.
pub(in crate::chain) struct UpstreamMetrics {
    core: CoreMetrics,
    to: Text,
    durations: Held<Histogram, NAMED_CODES>,
    reused: Held<Counter, { Proto::COUNT }>,
    connected: Held<Counter, { Proto::COUNT }>,
    pub(in crate::chain) health_failures: Counter,
}

/// How an upstream is asked on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::chain) enum Proto {
    Tcp,
    Tls,
}

// === impl UpstreamMetrics ===

impl UpstreamMetrics {
    pub(super) fn new(core: &CoreMetrics, address: SocketAddr) -> Self {
        let to = Text(address.to_string().into());
        let labels = UpstreamLabels {
            proxy_name: FORWARD,
            to: to.clone(),
        };
        Self {
            core: core.clone(),
            to,
            durations: Held::default(),
            reused: Held::default(),
            connected: Held::default(),
            health_failures: core.upstream_health_failures.get_or_create_owned(&labels),
        }
    }

    pub(in crate::chain) fn answered(&self, response: &Response, took: Duration) {
        let number = usize::from(u16::from(response.code));
        let seconds = took.as_secs_f64();
        if number < NAMED_CODES {
            let make = || self.duration(response.code);
            self.durations.get(number, make).observe(seconds);
        } else {
            self.duration(response.code).observe(seconds);
        }
    }

    /// Whether a question found a connection.
    pub(in crate::chain) fn connection(&self, proto: Proto, was_there: bool) {
        let (held, family) = if was_there {
            (&self.reused, &self.core.upstream_reused)
        } else {
            (&self.connected, &self.core.upstream_connected)
        };
        let counter = held.get(proto as usize, || {
            let labels = ConnectionLabels {
                proxy_name: FORWARD,
                to: self.to.clone(),
                proto: proto.as_str(),
            };
            family.get_or_create_owned(&labels)
        });
        counter.inc();
    }

    fn duration(&self, answer: ResponseCode) -> Histogram {
        let labels = UpstreamRcodeLabels {
            proxy_name: FORWARD,
            to: self.to.clone(),
            rcode: code(answer),
        };
        self.core.upstream_duration.get_or_create_owned(&labels)
    }
}

// === impl Proto ===

impl Proto {
    const COUNT: usize = 2;

    fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tcp-tls",
        }
    }
}
