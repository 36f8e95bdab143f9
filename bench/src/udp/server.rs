//! The server of datagrams, beside that of connections.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use socket2::SockRef;

use super::report::Report;
use super::{DATAGRAM, Header};
use crate::server::{SINK, TELL};

/// What comes while the server is not scheduled: 16 ms at 2 Gbit/s. The kernel cuts it to
/// `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The datagrams of one load.
struct Sink {
    began: Instant,
    told: Instant,
    arrived: u64,
    sent: u64,
}

// === impl Sink ===

impl Sink {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            told: now,
            arrived: 0,
            sent: 0,
        }
    }

    /// Counts one, and makes a report if it is time.
    fn take(&mut self, number: u64, now: Instant) -> Option<Report> {
        self.arrived += 1;
        self.sent = self.sent.max(number + 1);
        if now - self.told < TELL {
            return None;
        }
        self.told = now;
        let micros = (now - self.began).as_micros();
        Some(Report {
            arrived: self.arrived,
            sent: self.sent,
            micros: u64::try_from(micros).unwrap_or(u64::MAX),
        })
    }
}

/// Where [`serve`] receives.
pub(crate) fn bind(listen: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(listen)?;
    SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
    Ok(socket)
}

/// Gives back what it gets, or counts it and tells every [`TELL`], until the process ends.
pub(crate) fn serve(socket: &UdpSocket) -> io::Result<()> {
    let mut sinks = HashMap::new();
    let mut buffer = [0; DATAGRAM];
    loop {
        let (octets, client) = socket.recv_from(&mut buffer)?;
        let datagram = buffer.get(..octets).unwrap_or_default();
        let Some(header) = Header::read(datagram) else {
            continue;
        };
        // Whoever does not get its answer takes it for lost.
        if header.what != SINK {
            drop(socket.send_to(datagram, client));
            continue;
        }
        let now = Instant::now();
        let sink = sinks.entry(header.load).or_insert_with(|| Sink::new(now));
        if let Some(report) = sink.take(header.number, now) {
            drop(socket.send_to(&report.write(), client));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_tells_what_came_of_what_was_sent() {
        let began = Instant::now();
        let mut sink = Sink::new(began);

        assert_eq!(sink.take(0, began), None);
        assert_eq!(sink.take(4, began + TELL / 2), None);
        let report = sink.take(3, began + TELL);

        let micros = u64::try_from(TELL.as_micros()).unwrap();
        assert_eq!(
            report,
            Some(Report {
                arrived: 3,
                sent: 5,
                micros
            })
        );
        assert_eq!(sink.take(5, began + TELL), None);
    }
}
