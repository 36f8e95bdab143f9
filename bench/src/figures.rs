//! What is measured, and how.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::carrier::{Carrier, SERVER_PORT, Started};
use crate::client::Measured;
use crate::lab::{SERVER, Space};
use crate::process::Process;
use crate::udp::search::{Search, is_kept};

/// How often a rate is tried that is not kept: the machine may have had something else to do.
const TRIES: usize = 2;

/// What is measured in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Figure {
    /// One stream from the client to the server
    Up1,
    /// One stream from the server to the client
    Down1,
    /// Eight streams from the client to the server
    Up8,
    /// Eight streams from the server to the client
    Down8,
    /// A plain TCP stream beside one stream, both from the client to the server
    TcpBeside,
    /// Questions and answers, nothing else
    Ask,
    /// Questions and answers beside four streams of bulk
    AskBeside,
    /// Questions and answers over UDP, nothing else
    UdpAsk,
    /// The highest rate of datagrams from the client to the server of which at most 1 % is lost
    UdpRate,
    /// As many datagrams from the client to the server as the client can send
    UdpFlood,
    /// New connections
    Connect,
    /// Memory with 10,000 connections that say nothing
    Idle,
}

/// What one load measured.
struct Trial {
    measured: Measured,
    /// CPU time of the carrier, in seconds.
    cpu: f64,
    /// Idle connections are held for as long as it lives.
    _client: Process,
}

/// A number of a figure; its name is the column's.
pub(crate) type Number = (&'static str, f64);

// === impl Figure ===

impl Figure {
    /// Whether only those carriers have it that carry datagrams.
    pub(crate) fn is_of_udp(self) -> bool {
        match self {
            Self::UdpAsk | Self::UdpRate | Self::UdpFlood => true,
            Self::Up1
            | Self::Down1
            | Self::Up8
            | Self::Down8
            | Self::TcpBeside
            | Self::Ask
            | Self::AskBeside
            | Self::Connect
            | Self::Idle => false,
        }
    }

    /// Measures it once.
    pub(crate) fn measure(
        self,
        carried: &Started,
        own: &Path,
        seconds: f64,
        warm_up: f64,
    ) -> anyhow::Result<Vec<Number>> {
        let plain = SocketAddr::from((SERVER, SERVER_PORT));
        let rival = plain.to_string();
        let words: &[&str] = match self {
            Self::Up1 => &["bulk"],
            Self::Down1 => &["bulk", "--down"],
            Self::Up8 => &["bulk", "--streams", "8"],
            Self::Down8 => &["bulk", "--streams", "8", "--down"],
            Self::TcpBeside => &["bulk", "--rival", &rival],
            Self::Ask => &["ask"],
            Self::AskBeside => &["ask", "--beside", "4"],
            Self::UdpAsk => &["udp-ask"],
            Self::UdpRate | Self::UdpFlood => &["udp-rate"],
            Self::Connect => &["connect"],
            Self::Idle => &["idle"],
        };
        // An idle virtual CPU takes longer to wake up than all else takes.
        let awake = match matches!(self, Self::Ask | Self::UdpAsk) {
            true => vec![spinner(own)?, spinner(own)?],
            false => Vec::new(),
        };
        let memory_before = carried.memory()?;
        let put = |target, words: &[&str]| {
            let cpu_before = carried.cpu()?;
            let (measured, client) = load(target, own, (warm_up, seconds), words)?;
            let cpu = carried.cpu()? - cpu_before;
            anyhow::Ok(Trial {
                measured,
                cpu,
                _client: client,
            })
        };
        let trial = match self == Self::UdpRate {
            true => highest_kept(|rate| put(carried.target, &[words, rate].concat()))?,
            false => put(carried.target, words)?,
        };
        let memory = carried.memory()?;
        drop(awake);
        let mut numbers = self.numbers(&trial, memory, memory - memory_before);
        drop(trial);
        if self == Self::TcpBeside && carried.carrier == Carrier::Plain {
            settle();
            let alone = put(plain, &["bulk"])?;
            numbers.push(("tcp alone Mbit/s", bits_a_second(&alone.measured) / 1e6));
        }
        Ok(numbers)
    }

    fn numbers(self, trial: &Trial, memory: f64, more: f64) -> Vec<Number> {
        let measured = &trial.measured;
        let rate = bits_a_second(measured) / 1e6;
        let cpu_a_gigabyte = trial.cpu / (measured.all_bytes.max(1) as f64 / 1e9);
        match self {
            Self::Up1 => vec![("up 1 Mbit/s", rate), ("up 1 CPU-s/GB", cpu_a_gigabyte)],
            Self::Down1 => vec![("down 1 Mbit/s", rate), ("down 1 CPU-s/GB", cpu_a_gigabyte)],
            Self::Up8 => vec![
                ("up 8 Mbit/s", rate),
                ("up 8 CPU-s/GB", cpu_a_gigabyte),
                ("up 8 Jain", jain(&measured.streams)),
            ],
            Self::Down8 => vec![
                ("down 8 Mbit/s", rate),
                ("down 8 CPU-s/GB", cpu_a_gigabyte),
                ("down 8 Jain", jain(&measured.streams)),
            ],
            Self::TcpBeside => vec![
                (
                    "tcp beside this Mbit/s",
                    measured.rival as f64 * 8.0 / measured.seconds / 1e6,
                ),
                ("this beside tcp Mbit/s", rate),
            ],
            Self::Ask => vec![
                ("ask p50 µs", percentile(&measured.answers, 0.5)),
                ("ask p99 µs", percentile(&measured.answers, 0.99)),
            ],
            Self::AskBeside => vec![
                ("beside bulk p50 µs", percentile(&measured.answers, 0.5)),
                ("beside bulk p99 µs", percentile(&measured.answers, 0.99)),
            ],
            Self::UdpAsk => vec![
                ("udp ask p50 µs", percentile(&measured.answers, 0.5)),
                ("udp ask p99 µs", percentile(&measured.answers, 0.99)),
                ("udp ask lost %", lost_percent(measured)),
            ],
            Self::UdpRate => vec![
                ("udp Mbit/s", rate),
                ("udp datagrams/s", arrived_a_second(measured)),
                ("udp lost %", lost_percent(measured)),
                ("udp CPU-s/GB", cpu_a_gigabyte),
            ],
            Self::UdpFlood => vec![
                ("udp flood Mbit/s", rate),
                ("udp flood lost %", lost_percent(measured)),
            ],
            Self::Connect => vec![
                (
                    "connections/s",
                    measured.connections as f64 / measured.seconds,
                ),
                ("connections failed", measured.failed as f64),
            ],
            Self::Idle => vec![
                ("idle held", measured.connections as f64),
                ("idle MB", memory / 1e6),
                ("idle MB more", more / 1e6),
            ],
        }
    }
}

/// Puts a load on what leads to `target`, for so long before it is measured, and then.
fn load(
    target: SocketAddr,
    own: &Path,
    (warm_up, seconds): (f64, f64),
    words: &[&str],
) -> anyhow::Result<(Measured, Process)> {
    let mut command = Space::Client.command(own);
    command.arg("client").arg(target.to_string());
    command.args(["--seconds", &seconds.to_string()]);
    command.args(["--warm-up", &warm_up.to_string()]);
    let mut client = Process::start(command.args(words))?;
    let measured = serde_json::from_str(&client.line()?)?;
    Ok((measured, client))
}

/// The trial of the highest rate of datagrams that was kept, or the last one if none was.
fn highest_kept(put: impl Fn(&[&str]) -> anyhow::Result<Trial>) -> anyhow::Result<Trial> {
    let mut search = Search::default();
    let (mut best, mut last) = (None, None);
    while let Some(megabits) = search.next() {
        let mut kept = false;
        for _ in 0..TRIES {
            let trial = put(&["--megabits", &megabits.to_string()])?;
            kept = is_kept(&trial.measured, megabits);
            if kept {
                best = Some(trial);
                break;
            }
            last = Some(trial);
            settle();
        }
        search.tried(megabits, kept);
    }
    best.or(last).context("no rate was tried")
}

fn spinner(own: &Path) -> anyhow::Result<Process> {
    let mut command = std::process::Command::new("chrt");
    let spinner = Process::start(command.args(["--idle", "0"]).arg(own).arg("spin"));
    spinner.context("cannot keep the CPUs awake")
}

/// Lets what one measurement left in queues drain before the next.
pub(crate) fn settle() {
    std::thread::sleep(Duration::from_millis(500));
}

fn bits_a_second(measured: &Measured) -> f64 {
    let bytes: u64 = measured.streams.iter().sum();
    bytes as f64 * 8.0 / measured.seconds.max(f64::MIN_POSITIVE)
}

fn arrived_a_second(measured: &Measured) -> f64 {
    let arrived = measured.sent.saturating_sub(measured.lost);
    arrived as f64 / measured.seconds.max(f64::MIN_POSITIVE)
}

/// All, if as far as the server knows nothing was sent.
fn lost_percent(measured: &Measured) -> f64 {
    match measured.sent {
        0 => 100.0,
        sent => measured.lost as f64 * 100.0 / sent as f64,
    }
}

/// Jain's index: 1 if all have the same, 1/n if one has all.
fn jain(shares: &[u64]) -> f64 {
    let sum: f64 = shares.iter().map(|share| *share as f64).sum();
    let squares: f64 = shares.iter().map(|share| (*share as f64).powi(2)).sum();
    match squares {
        0.0 => 0.0,
        squares => sum.powi(2) / (shares.len() as f64 * squares),
    }
}

pub(crate) fn percentile(ascending: &[u32], part: f64) -> f64 {
    let last = ascending.len().saturating_sub(1);
    let index = (last as f64 * part).round() as usize;
    ascending
        .get(index)
        .map_or(f64::NAN, |value| f64::from(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shares_have_an_index_of_one() {
        assert_eq!(jain(&[7, 7, 7, 7]), 1.0);
        assert_eq!(jain(&[7, 0, 0, 0]), 0.25);
        assert_eq!(jain(&[0, 0]), 0.0);
    }

    #[test]
    fn what_nothing_is_known_of_is_lost() {
        let measured = |sent, lost| Measured {
            sent,
            lost,
            ..Measured::default()
        };

        assert_eq!(lost_percent(&measured(200, 1)), 0.5);
        assert_eq!(lost_percent(&Measured::default()), 100.0);
    }

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let answers: Vec<u32> = (0..=100).collect();

        assert_eq!(percentile(&answers, 0.5), 50.0);
        assert_eq!(percentile(&answers, 0.99), 99.0);
        assert!(percentile(&[], 0.5).is_nan());
    }
}
