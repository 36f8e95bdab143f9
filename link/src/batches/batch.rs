//! Packets for one call of the kernel.

use std::io;
use std::net::{IpAddr, SocketAddr};

use quinn::AsyncUdpSocket;
use quinn::udp::{EcnCodepoint, Transmit};

use crate::datagrams::SEGMENTED;

/// The most that one call of the kernel's segment offload takes, in packets (`UDP_MAX_SEGMENTS`
/// before Linux 6.9).
const SEGMENTS: usize = 64;

/// Packets of one size to one receiver; only the last may be shorter.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    // Of the first packets; `None` if there are none.
    shape: Option<Shape>,
}

/// What all packets of one call have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    destination: SocketAddr,
    ecn: Option<EcnCodepoint>,
    src_ip: Option<IpAddr>,
    segment: usize,
}

// === impl Batch ===

impl Batch {
    /// Adds packets; `false` if they cannot go with the others, or need not be gathered.
    pub(super) fn add(&mut self, transmit: &Transmit<'_>) -> bool {
        let (packets, alone) = (transmit.contents, transmit.segment_size.is_none());
        let segment = transmit.segment_size.unwrap_or(packets.len());
        let mut shape = Shape {
            destination: transmit.destination,
            ecn: transmit.ecn,
            src_ip: transmit.src_ip,
            segment,
        };
        match self.shape {
            // A packet alone may be a probe of the path's MTU, which must take no others with it.
            // Answers come alone as well, and are not copied for nothing.
            None => {
                if alone {
                    return false;
                }
            }
            Some(common) => {
                if alone && segment < common.segment {
                    shape.segment = common.segment;
                }
                if shape != common || !self.fits(packets.len(), common.segment) {
                    return false;
                }
            }
        }
        if self.shape.is_none() {
            self.bytes.reserve_exact(SEGMENTED);
        }
        self.shape = Some(shape);
        self.bytes.extend_from_slice(packets);
        true
    }

    /// Whether as many packets may be added as quinn sends at a time.
    pub(super) fn has_room(&self) -> bool {
        let Some(shape) = self.shape else {
            return false;
        };
        self.fits(10 * shape.segment, shape.segment)
    }

    /// Sends what there is.
    ///
    /// # Errors
    /// Those of the socket; the packets are kept.
    pub(super) fn send(&mut self, socket: &dyn AsyncUdpSocket) -> io::Result<()> {
        let Some(shape) = self.shape else {
            return Ok(());
        };
        socket.try_send(&Transmit {
            destination: shape.destination,
            ecn: shape.ecn,
            contents: &self.bytes,
            segment_size: Some(shape.segment),
            src_ip: shape.src_ip,
        })?;
        // Connections are many, and most say nothing: none keeps memory for what it might send.
        *self = Self::default();
        Ok(())
    }

    fn fits(&self, more: usize, segment: usize) -> bool {
        let closed = !self.bytes.len().is_multiple_of(segment);
        let bytes = self.bytes.len() + more;
        !closed && bytes <= SEGMENTED && bytes.div_ceil(segment) <= SEGMENTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::tests::{Recorder, packets, to};

    #[test]
    fn packets_of_one_size_leave_together() {
        let (mut batch, socket) = (Batch::default(), Recorder::default());
        assert!(batch.add(&packets(&[1; 5000], Some(1000))));
        assert!(batch.add(&packets(&[2; 3000], Some(1000))));
        assert!(batch.add(&packets(&[3; 200], None)), "a shorter last one");
        assert!(!batch.add(&packets(&[4; 1000], None)), "nothing after it");

        batch.send(&socket).unwrap();
        batch.send(&socket).unwrap();

        assert_eq!(socket.sent(), [(8200, Some(1000))]);
    }

    #[test]
    fn a_packet_alone_is_not_gathered() {
        let mut batch = Batch::default();

        assert!(!batch.add(&packets(&[1; 1452], None)));
        assert!(batch.add(&packets(&[1; 2400], Some(1200))));
        assert!(!batch.add(&packets(&[1; 1452], None)), "a probe");
    }

    #[test]
    fn what_differs_does_not_go_with_the_others() {
        let mut batch = Batch::default();
        assert!(batch.add(&packets(&[1; 2400], Some(1200))));
        let elsewhere = Transmit {
            destination: to(2),
            ..packets(&[1; 2400], Some(1200))
        };
        let marked = Transmit {
            ecn: Some(EcnCodepoint::Ce),
            ..packets(&[1; 2400], Some(1200))
        };

        assert!(!batch.add(&elsewhere));
        assert!(!batch.add(&marked));
        assert!(!batch.add(&packets(&[1; 2400], Some(800))));
    }

    #[test]
    fn a_call_takes_so_many_packets_and_so_many_bytes() {
        let mut long = Batch::default();
        let ten = vec![0; 14_520];
        let fitting = (0..10).take_while(|_| long.add(&packets(&ten, Some(1452))));
        assert_eq!(fitting.count(), 4);
        assert!(!long.has_room());

        let mut short = Batch::default();
        let fitting = (0..10).take_while(|_| short.add(&packets(&[0; 1000], Some(100))));
        assert_eq!(fitting.count(), 6);
        assert!(!short.has_room());
    }

    #[test]
    fn what_the_socket_does_not_take_is_kept() {
        let (mut batch, socket) = (Batch::default(), Recorder::default());
        assert!(batch.add(&packets(&[1; 2400], Some(1200))));

        socket.fill();
        assert!(batch.send(&socket).is_err());
        socket.empty();
        batch.send(&socket).unwrap();

        assert_eq!(socket.sent(), [(2400, Some(1200))]);
    }
}
