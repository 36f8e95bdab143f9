//! Another resolver, of a few lines: it answers every name below `example.org` over UDP and TCP, and
//! counts.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// Runs until the test's process ends.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

// === impl Upstream ===

impl Upstream {
    /// Answers A with an address that ends in `octet`.
    pub(crate) fn start(octet: u8) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok((length, client)) = udp.recv_from(&mut buffer) {
                count.fetch_add(1, Ordering::SeqCst);
                let response = respond(&buffer[..length], octet, true);
                drop(udp.send_to(&response, client));
            }
        });
        let count = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.unwrap();
                let count = Arc::clone(&count);
                thread::spawn(move || {
                    let mut length = [0; 2];
                    while stream.read_exact(&mut length).is_ok() {
                        let mut query = vec![0; u16::from_be_bytes(length).into()];
                        stream.read_exact(&mut query).unwrap();
                        count.fetch_add(1, Ordering::SeqCst);
                        let response = respond(&query, octet, false);
                        let length = u16::try_from(response.len()).unwrap().to_be_bytes();
                        drop(stream.write_all(&[&length, response.as_slice()].concat()));
                    }
                });
            }
        });
        Self { address, asked }
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// `big…` is cut over UDP, `none…` does not exist, all others have one address.
fn respond(query: &[u8], octet: u8, is_udp: bool) -> Vec<u8> {
    let query = Message::from_vec(query).unwrap();
    let question = query.queries[0].clone();
    let name = question.name().clone();
    let first = name.iter().next().unwrap_or_default().to_ascii_lowercase();
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_query(question.clone());
    if first.starts_with(b"none") {
        response.metadata.response_code = ResponseCode::NXDomain;
        let root = Name::from_ascii("example.org.").unwrap();
        let soa = SOA::new(root.clone(), root.clone(), 1, 1, 1, 1, 60);
        response.add_authority(Record::from_rdata(root, 60, RData::SOA(soa)));
    } else if first.starts_with(b"big") && is_udp {
        response.metadata.truncation = true;
    } else if question.query_type() == RecordType::A {
        let data = RData::A(A(Ipv4Addr::new(192, 0, 2, octet)));
        response.add_answer(Record::from_rdata(name, 300, data));
    }
    response.to_vec().unwrap()
}
