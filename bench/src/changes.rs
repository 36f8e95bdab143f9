//! From a change in the API to the changed answer of each resolver.
//!
//! An address in the API is changed again and again, and all resolvers are asked for it all the while: how
//! long it takes until each of them answers with the new one, from the moment at which the change was sent.
//! All of them see the same changes at the same time.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::figures::percentile;
use crate::say;

/// Between two questions: the error of what is measured.
const PAUSE: Duration = Duration::from_micros(250);
/// Between two changes, so that each meets programs at rest.
const REST: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);
const QUESTION_PATIENCE: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the API is spoken without TLS, as by `kubectl proxy`
    #[arg(long)]
    api: SocketAddr,
    /// The object's path in the API
    #[arg(long)]
    path: String,
    /// A merge patch of it, in which ADDRESS is replaced
    #[arg(long)]
    patch: String,
    /// The name that has the address
    #[arg(long)]
    name: String,
    /// How often it is changed
    #[arg(long, default_value_t = 500)]
    changes: u32,
    /// The resolvers, as name=address:port; the ratio is to the first one's
    #[arg(required = true, value_parser = resolver)]
    resolvers: Vec<(String, SocketAddr)>,
}

/// What all questions are compared with.
struct Shared {
    expected: AtomicU32,
    done: AtomicBool,
}

/// When a resolver, by its place in the list, first answered with an address.
struct Seen {
    resolver: usize,
    address: u32,
    at: Instant,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let shared = Arc::new(Shared {
            expected: AtomicU32::new(0),
            done: AtomicBool::new(false),
        });
        let question = question(&self.name);
        let (sender, seen) = channel();
        let threads: Vec<_> = (0..self.resolvers.len())
            .map(|resolver| {
                let (shared, sender) = (Arc::clone(&shared), sender.clone());
                let (question, server) = (question.clone(), self.resolvers[resolver].1);
                thread::spawn(move || ask(resolver, server, &question, &shared, &sender))
            })
            .collect();
        // The threads alone have it: if they end, so does the waiting.
        drop(sender);
        let measured = self.measure(&shared, &seen);
        shared.done.store(true, Ordering::Relaxed);
        for thread in threads {
            let ended = thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread died"))?;
            ended.context("asking")?;
        }
        self.show(measured?)
    }

    /// Microseconds of the API's answers, and of each resolver's.
    fn measure(&self, shared: &Shared, seen: &Receiver<Seen>) -> anyhow::Result<Vec<Vec<u32>>> {
        let mut micros = vec![Vec::new(); self.resolvers.len() + 1];
        for change in 0..self.changes {
            let address = u32::from(Ipv4Addr::new(10, 200, 0, 0)) + change + 1;
            shared.expected.store(address, Ordering::Relaxed);
            let started = Instant::now();
            self.change(address.into()).context("the change")?;
            let micros_since = |at: Instant| {
                let micros = at.saturating_duration_since(started).as_micros();
                u32::try_from(micros).unwrap_or(u32::MAX)
            };
            micros[0].push(micros_since(Instant::now()));
            let mut missing = self.resolvers.len();
            while missing > 0 {
                let left = PATIENCE.saturating_sub(started.elapsed());
                let seen = seen.recv_timeout(left).context("no new answer")?;
                if seen.address == address {
                    micros[seen.resolver + 1].push(micros_since(seen.at));
                    missing -= 1;
                }
            }
            thread::sleep(REST);
        }
        Ok(micros)
    }

    fn change(&self, address: Ipv4Addr) -> anyhow::Result<()> {
        let body = self.patch.replace("ADDRESS", &address.to_string());
        let mut stream = TcpStream::connect(self.api)?;
        stream.set_nodelay(true)?;
        let request = format!(
            "PATCH {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/merge-patch+json\r\nContent-Length: {}\r\n\r\n{body}",
            self.path,
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.lines().next().unwrap_or_default();
        ensure!(status.contains(" 200 "), "{status}: {answer}");
        Ok(())
    }

    fn show(&self, mut micros: Vec<Vec<u32>>) -> anyhow::Result<()> {
        for sorted in &mut micros {
            sorted.sort_unstable();
        }
        let p99 = |sorted: &[u32]| percentile(sorted, 0.99).max(1.0);
        let first = p99(&micros[1]);
        let names = self.resolvers.iter().map(|(name, _)| name.as_str());
        for (name, sorted) in ["(API server)"].into_iter().chain(names).zip(&micros) {
            let at = |part| percentile(sorted, part) / 1_000.0;
            say(&format!(
                "| {} | {name} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} |",
                self.path.rsplit('/').nth(1).unwrap_or_default(),
                at(0.5),
                at(0.9),
                at(0.99),
                at(1.0),
                p99(sorted) / first,
            ))?;
        }
        Ok(())
    }
}

fn resolver(text: &str) -> Result<(String, SocketAddr), String> {
    let (name, address) = text.split_once('=').ok_or("not name=address:port")?;
    let address = address.parse().map_err(|error| format!("{error}"))?;
    Ok((name.to_owned(), address))
}

/// Asks until it is all done, and tells of each expected address once.
fn ask(
    resolver: usize,
    server: SocketAddr,
    question: &[u8],
    shared: &Shared,
    seen: &Sender<Seen>,
) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(QUESTION_PATIENCE))?;
    let mut last = 0;
    let mut answer = [0; 512];
    while !shared.done.load(Ordering::Relaxed) {
        thread::sleep(PAUSE);
        let expected = shared.expected.load(Ordering::Relaxed);
        if expected == last {
            continue;
        }
        socket.send(question)?;
        let octets = match socket.recv(&mut answer) {
            Ok(octets) => octets,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(error) => bail!(error),
        };
        // The one record, of which the address is the last, as nobody asked for EDNS.
        if answer[..octets].ends_with(&expected.to_be_bytes()) {
            last = expected;
            let at = Instant::now();
            drop(seen.send(Seen {
                resolver,
                address: expected,
                at,
            }));
        }
    }
    Ok(())
}

/// For the address of `name`.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}
