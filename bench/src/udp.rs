//! The loads of UDP.
//!
//! A datagram begins with what the server is to do with it, as a connection does, and with two
//! numbers: which load it is of, and which one of that it is. So the server knows how many were
//! sent besides how many came, and what it tells in a [`Report`] needs no clock of the client: a
//! report that is late or lost changes nothing.

mod pace;
mod report;
pub(crate) mod search;
pub(crate) mod server;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use tokio::time::timeout;

use self::pace::Pace;
use self::report::Report;
use crate::client::Measured;
use crate::load::{QUESTION, Time};
use crate::server::{ECHO, SINK, TELL};

/// What a datagram of the rate has: what a QUIC client sends first, and what fits into a packet of
/// every carrier.
const DATAGRAM: usize = 1_200;
/// After this, an answer counts as lost: many round trips of any path.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two bursts of the rate: several times what it takes to be woken.
const NAP: Duration = Duration::from_micros(100);

/// What a datagram begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    what: u8,
    /// The load.
    load: u64,
    /// Of the datagrams of the load, the first being 0.
    number: u64,
}

// === impl Header ===

impl Header {
    /// Of a new load.
    fn new(what: u8) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanos = now.unwrap_or_default().as_nanos();
        Self {
            what,
            load: u64::try_from(nanos).unwrap_or(u64::MAX),
            number: 0,
        }
    }

    fn write(self, datagram: &mut [u8]) {
        let (load, number) = (self.load.to_be_bytes(), self.number.to_be_bytes());
        let octets = [self.what].into_iter().chain(load).chain(number);
        for (place, octet) in datagram.iter_mut().zip(octets) {
            *place = octet;
        }
    }

    fn read(datagram: &[u8]) -> Option<Self> {
        let (what, rest) = datagram.split_first()?;
        let (load, rest) = rest.split_first_chunk()?;
        let (number, _) = rest.split_first_chunk()?;
        Some(Self {
            what: *what,
            load: u64::from_be_bytes(*load),
            number: u64::from_be_bytes(*number),
        })
    }
}

/// A question after the answer to the one before, or after it was given up.
pub(crate) async fn ask(target: SocketAddr, time: Time) -> anyhow::Result<Measured> {
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(target).await?;
    let mut header = Header::new(ECHO);
    let mut question = [0; QUESTION];
    let mut measured = Measured {
        seconds: time.measured.as_secs_f64(),
        ..Measured::default()
    };
    let began = Instant::now();
    loop {
        header.write(&mut question);
        header.number += 1;
        let asked = Instant::now();
        let heard = timeout(PATIENCE, exchange(&socket, &question)).await;
        let answered = Instant::now();
        if answered - began > time.warm_up + time.measured {
            break;
        }
        if asked - began < time.warm_up {
            continue;
        }
        measured.sent += 1;
        match heard {
            Ok(Ok(())) => {
                let micros = (answered - asked).as_micros();
                let micros = u32::try_from(micros).unwrap_or(u32::MAX);
                measured.answers.push(micros);
            }
            Ok(Err(_)) | Err(_) => measured.lost += 1,
        }
    }
    measured.answers.sort_unstable();
    Ok(measured)
}

async fn exchange(socket: &tokio::net::UdpSocket, question: &[u8]) -> io::Result<()> {
    socket.send(question).await?;
    let mut answer = [0; QUESTION];
    // An answer to an earlier question may come after all.
    while answer != *question {
        socket.recv(&mut answer).await?;
    }
    Ok(())
}

/// Datagrams at a steady rate, or as fast as the socket takes them.
///
/// Blocks: a timer of the runtime is too coarse for the rate.
pub(crate) fn rate(
    target: SocketAddr,
    time: Time,
    megabits: Option<f64>,
) -> anyhow::Result<Measured> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(TELL))?;
    let began = Instant::now();
    let end = began + time.warm_up + time.measured;
    let pace = megabits.map(|megabits| Pace::new(megabits * 1e6 / 8.0 / DATAGRAM as f64, began));
    let sender = socket.try_clone()?;
    let sending = std::thread::spawn(move || send(&sender, pace, end));
    let (mut first, mut last) = (None, Report::default());
    let mut buffer = [0; Report::LENGTH];
    while Instant::now() < end {
        // Where nothing comes, or nobody listens, nothing was measured.
        let Ok(octets) = socket.recv(&mut buffer) else {
            continue;
        };
        let Some(report) = buffer.get(..octets).and_then(Report::read) else {
            continue;
        };
        if began.elapsed() >= time.warm_up {
            first.get_or_insert(report);
        }
        last = last.later(report);
    }
    sending.join().map_err(|_| anyhow!("a thread died"))?;
    let between = last.since(first.unwrap_or(last));
    Ok(Measured {
        streams: vec![between.arrived * DATAGRAM as u64],
        all_bytes: last.arrived * DATAGRAM as u64,
        seconds: Duration::from_micros(between.micros).as_secs_f64(),
        sent: between.sent,
        lost: between.lost(),
        ..Measured::default()
    })
}

fn send(socket: &UdpSocket, mut pace: Option<Pace>, end: Instant) {
    let mut header = Header::new(SINK);
    let mut datagram = [0; DATAGRAM];
    loop {
        let now = Instant::now();
        if now >= end {
            return;
        }
        let due = pace.as_mut().map_or(1, |pace| pace.due(now));
        for _ in 0..due {
            header.write(&mut datagram);
            // If nobody listens, the server's count says so.
            if socket.send(&datagram).is_ok() {
                header.number += 1;
            }
        }
        if pace.is_some() {
            std::thread::sleep(NAP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let header = Header {
            what: SINK,
            load: 7,
            number: u64::MAX,
        };
        let mut datagram = [0; DATAGRAM];

        header.write(&mut datagram);

        assert_eq!(Header::read(&datagram), Some(header));
        assert_eq!(Header::read(&datagram[..16]), None);
    }
}
