//! Kills the far gateway's replicas, one after the other, under new connections.
//!
//! ```text
//! client ── near gateway ──┬── far gateway ──┬── server
//!                          └── far gateway ──┘
//! ```

use std::net::SocketAddr;
use std::path::Path as File;
use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::carrier::{Certificates, SERVER_PORT, Side, gateway, server};
use crate::figures::percentile;
use crate::lab::{FAR, Lab, NEAR, Path, SERVER, Space};
use crate::probe::{Attempt, PATIENCE, millis, now, outage};
use crate::process::Process;
use crate::say;

const REPLICAS: usize = 2;
/// Where clients are taken.
const PORT: u16 = 7070;
/// Where the first far replica listens; the next one listens at the next.
const LINK: u16 = 7071;
/// Where the near gateway has its end of the links.
const NEAR_LINK: u16 = 7080;
/// How long a death, or a new link, may take to be noticed.
const NOTICED: Duration = Duration::from_secs(60);
/// How long one replica is alone, once the near gateway knows.
const ALONE: Duration = Duration::from_secs(1);
/// How long both are there before one is killed.
const BOTH: Duration = Duration::from_secs(1);
/// By so much the kills are spread over the time between two pings of a link.
const SPREAD: Duration = Duration::from_millis(70);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often a replica is killed
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// How it dies
    #[arg(long, value_enum, default_value_t = Death::Kill)]
    how: Death,
    /// New connections a second
    #[arg(long, default_value_t = 50)]
    rate: u32,
}

/// How a replica dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Death {
    /// Its process ends
    Kill,
    /// It does nothing any more, as on a node gone silent; its socket stays
    Stop,
}

/// The processes.
struct Scene<'a> {
    own: &'a File,
    certificates: &'a Certificates,
    far: Vec<Replica>,
    /// How many far replicas there were so far.
    born: usize,
    _near: Process,
    linked: Linked,
    _client: Process,
    ended: mpsc::Receiver<String>,
}

/// A replica of the far gateway.
struct Replica {
    process: Process,
    name: String,
}

/// The replicas to which the near gateway has a connection, as it tells them.
struct Linked {
    lines: mpsc::Receiver<String>,
    names: Vec<String>,
}

/// What came of one kill.
struct Fall {
    outage: u64,
    /// Until the near gateway knew, in milliseconds.
    noticed: u64,
    /// From the successor's start until it was linked, in milliseconds.
    linked: u64,
    /// Of the connections begun since the kill.
    slowest: u64,
    /// Connections without an answer.
    failed: usize,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let own = std::env::current_exe()?;
        let directory = tempfile::tempdir()?;
        let certificates = Certificates::new(directory.path())?;
        let _lab = Lab::new(Path::Clean, &own)?;
        let _server = server(&own)?;
        let mut scene = Scene::new(&own, &certificates, self.rate)?;
        let mut falls = Vec::new();
        let (mut slow_between, mut failed_between) = (0, 0);
        for number in 0..self.kills {
            sleep(BOTH + number % 10 * SPREAD);
            let between = scene.attempts()?;
            slow_between += between.iter().filter(|a| !a.is_good()).count();
            failed_between += between.iter().filter(|a| !a.heard).count();
            let victim = number as usize % REPLICAS;
            let fall = scene
                .fall(victim, self.how)
                .with_context(|| format!("kill {number}"))?;
            say(&format!(
                "{number:4} {:5} ms, noticed after {} ms, linked {} ms after its start; slowest connection {} ms, {} failed",
                fall.outage, fall.noticed, fall.linked, fall.slowest, fall.failed
            ))?;
            falls.push(fall);
        }
        let failed: usize = falls.iter().map(|fall| fall.failed).sum();
        say(&format!("{:?}, {} kills", self.how, self.kills))?;
        say(&distribution("outage", &falls, |fall| fall.outage))?;
        say(&distribution("slowest connection", &falls, |f| f.slowest))?;
        say(&distribution("noticed", &falls, |fall| fall.noticed))?;
        say(&distribution("linked again", &falls, |fall| fall.linked))?;
        say(&format!(
            "{failed} connections failed; {failed_between} between the kills, where {slow_between} were not good"
        ))?;
        Ok(())
    }
}

// === impl Scene ===

impl<'a> Scene<'a> {
    fn new(own: &'a File, certificates: &'a Certificates, rate: u32) -> anyhow::Result<Self> {
        let mut far = Vec::new();
        for place in 0..REPLICAS {
            far.push(Replica::start(place, place, own, certificates)?);
        }
        let links = (0..REPLICAS).map(|place| format!("{FAR}:{}", link(place)));
        let mut near = gateway(Side::Near, own, certificates, NEAR_LINK);
        near.args(["--dial", &links.collect::<Vec<_>>().join(",")]);
        let mut near = Process::start(near.args(["--import", &PORT.to_string()]))?;
        let mut linked = Linked {
            lines: near.lines()?,
            names: Vec::new(),
        };
        linked.wait(|names| names.len() == REPLICAS)?;
        let mut client = Space::Client.command(own);
        client.args(["client", &SocketAddr::from((NEAR, PORT)).to_string()]);
        client.args(["probe", "--rate", &rate.to_string()]);
        let mut client = Process::start(&mut client)?;
        let ended = client.lines()?;
        Ok(Self {
            own,
            certificates,
            far,
            born: REPLICAS,
            _near: near,
            linked,
            _client: client,
            ended,
        })
    }

    /// Kills the replica at a place, and starts another one in its stead.
    fn fall(&mut self, place: usize, death: Death) -> anyhow::Result<Fall> {
        let replica = self.far.get_mut(place).context("no such replica")?;
        let killed = now();
        match death {
            Death::Kill => replica.process.signal("KILL")?,
            Death::Stop => replica.process.signal("STOP")?,
        }
        let noticed = self.linked.wait(|names| !names.contains(&replica.name))?;
        sleep(ALONE);
        replica.process.end();
        // With another name, as another pod has: so its link is not taken for its predecessor's.
        *replica = Replica::start(place, self.born, self.own, self.certificates)?;
        self.born += 1;
        let linked = self.linked.wait(|names| names.contains(&replica.name))?;
        // Only then it is known what becomes of those that were begun before.
        sleep(PATIENCE.saturating_sub(linked));
        let attempts = self.attempts()?;
        let outage = outage(&attempts, killed).context("new connections fail still")?;
        let since = attempts.iter().filter(|attempt| attempt.at >= killed);
        Ok(Fall {
            outage,
            noticed: millis(noticed),
            linked: millis(linked),
            slowest: since.clone().map(|a| a.took).max().unwrap_or(0),
            failed: since.filter(|attempt| !attempt.heard).count(),
        })
    }

    /// The attempts that have ended since the last call.
    fn attempts(&self) -> anyhow::Result<Vec<Attempt>> {
        let lines = self.ended.try_iter();
        let attempts = lines.map(|line| serde_json::from_str(&line));
        Ok(attempts.collect::<Result<_, _>>()?)
    }
}

// === impl Replica ===

impl Replica {
    fn start(
        place: usize,
        number: usize,
        own: &File,
        certificates: &Certificates,
    ) -> anyhow::Result<Self> {
        let name = format!("far-{number}");
        let mut command = gateway(Side::Far, own, certificates, link(place));
        command.args(["--replica", &name]);
        command.args(["--replicas", &REPLICAS.to_string()]);
        command.args(["--export", &format!("{SERVER}:{SERVER_PORT}")]);
        let process = Process::start(&mut command)?;
        Ok(Self { process, name })
    }
}

// === impl Linked ===

impl Linked {
    /// Returns as soon as the names are such, with how long that took.
    fn wait(&mut self, are_such: impl Fn(&[String]) -> bool) -> anyhow::Result<Duration> {
        let began = Instant::now();
        while !are_such(&self.names) {
            let left = NOTICED.saturating_sub(began.elapsed());
            let line = self.lines.recv_timeout(left);
            let line = line.with_context(|| format!("linked are still {:?}", self.names))?;
            self.names = line.split_whitespace().map(str::to_owned).collect();
        }
        Ok(began.elapsed())
    }
}

fn link(place: usize) -> u16 {
    LINK + u16::try_from(place).unwrap_or(0)
}

fn distribution(what: &str, falls: &[Fall], number: impl Fn(&Fall) -> u64) -> String {
    let numbers = falls.iter().map(number);
    let mut numbers: Vec<u32> = numbers
        .map(|n| u32::try_from(n).unwrap_or(u32::MAX))
        .collect();
    numbers.sort_unstable();
    let at = |part| percentile(&numbers, part);
    format!(
        "{what}: median {} ms, 90 % {} ms, 99 % {} ms, slowest {} ms",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    )
}
