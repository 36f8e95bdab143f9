//! The figures of the links, read when they are asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use tombolo_link::{Carrier, ConnectionStats, Links};

/// Shows the figures of the links.
#[derive(Debug)]
pub struct LinkMetrics {
    links: Links,
}

/// What the connections to one cluster add up to.
#[derive(Default)]
struct Sum {
    connections: u64,
    over_tcp: u64,
    streams: u64,
    rtt: Option<Duration>,
    congestion_window: u64,
    lost_packets: u64,
    congestion_events: u64,
    black_holes: u64,
    mtu: u16,
}

type Figure = fn(&Sum) -> u64;

// === impl LinkMetrics ===

impl LinkMetrics {
    /// Has `registry` show the figures of `links`.
    pub fn register(registry: &mut Registry, links: Links) {
        registry
            .sub_registry_with_prefix("link")
            .register_collector(Box::new(Self { links }));
    }
}

impl Collector for LinkMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut sums: BTreeMap<String, Sum> = self
            .links
            .status()
            .borrow()
            .keys()
            .map(|c| (c.clone(), Sum::default()))
            .collect();
        for connection in self.links.connections() {
            sums.entry(connection.cluster.to_string())
                .or_default()
                .add(&connection);
        }
        let gauges: [(&str, &str, Figure); 8] = [
            ("connections", "QUIC connections in use", |sum| {
                sum.connections
            }),
            (
                "tcp_connections",
                "Connections in use that TCP carries, since UDP is not answered",
                |sum| sum.over_tcp,
            ),
            ("streams", "Streams in flight", |sum| sum.streams),
            (
                "congestion_window_bytes",
                "Sum of the congestion windows",
                |sum| sum.congestion_window,
            ),
            (
                "lost_packets",
                "Packets lost by connections in use",
                |sum| sum.lost_packets,
            ),
            ("congestion_events", "Cuts of windows in use", |sum| {
                sum.congestion_events
            }),
            (
                "black_holes",
                "Path MTU black holes of connections in use",
                |sum| sum.black_holes,
            ),
            (
                "mtu_bytes",
                "Smallest UDP payload that large packets have",
                |sum| sum.mtu.into(),
            ),
        ];
        for (name, help, value) in gauges {
            let values = sums
                .iter()
                .map(|(cluster, sum)| (cluster.as_str(), value(sum)));
            family(
                &mut encoder,
                name,
                help,
                values.map(|(c, v)| (c, ConstGauge::new(v))),
            )?;
        }
        let up = sums
            .iter()
            .map(|(c, sum)| (c.as_str(), u64::from(sum.connections > 0)));
        family(
            &mut encoder,
            "up",
            "Whether there is a link",
            up.map(|(c, v)| (c, ConstGauge::new(v))),
        )?;
        let rtt = sums
            .iter()
            .filter_map(|(c, sum)| Some((c.as_str(), sum.rtt?.as_secs_f64())));
        family(
            &mut encoder,
            "rtt_seconds",
            "Shortest round-trip time",
            rtt.map(|(c, v)| (c, ConstGauge::new(v))),
        )?;

        let mut counts: BTreeMap<&'static str, Vec<(&'static str, u64)>> = BTreeMap::new();
        for count in self.links.counts() {
            counts
                .entry(count.event.name())
                .or_default()
                .push((count.reason, count.value));
        }
        for (name, values) in counts {
            let counter = ConstCounter::new(0_u64);
            let mut descriptor = encoder.encode_descriptor(
                name,
                "What happened on the links, by reason",
                None::<&Unit>,
                counter.metric_type(),
            )?;
            for (reason, value) in values {
                let labels = [("reason", reason)];
                ConstCounter::new(value).encode(descriptor.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

// === impl Sum ===

impl Sum {
    fn add(&mut self, connection: &ConnectionStats) {
        self.connections += 1;
        self.over_tcp += u64::from(connection.carrier == Carrier::Tcp);
        self.streams += connection.streams as u64;
        let rtt = connection.ping.unwrap_or(connection.rtt);
        self.rtt = Some(self.rtt.map_or(rtt, |least| least.min(rtt)));
        self.congestion_window += connection.congestion_window;
        self.lost_packets += connection.lost_packets;
        self.congestion_events += connection.congestion_events;
        self.black_holes += connection.black_holes;
        self.mtu = match self.mtu {
            0 => connection.mtu,
            least => least.min(connection.mtu),
        };
    }
}

fn family<'a, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (&'a str, M)>,
) -> Result<(), fmt::Error> {
    let mut values = values.peekable();
    let Some((_, first)) = values.peek() else {
        return Ok(());
    };
    let kind = first.metric_type();
    let mut descriptor = encoder.encode_descriptor(name, help, None::<&Unit>, kind)?;
    for (cluster, metric) in values {
        let labels = [("cluster", cluster)];
        encode(&metric, &mut descriptor, &labels)?;
    }
    Ok(())
}

fn encode(
    metric: &impl EncodeMetric,
    descriptor: &mut prometheus_client::encoding::MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
) -> Result<(), fmt::Error> {
    metric.encode(descriptor.encode_family(labels)?)
}
