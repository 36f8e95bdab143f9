//! Questions as octets, and how they are put.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::rr::RecordType;

/// How a question is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Without EDNS: 512 octets at most.
    Udp,
    /// With EDNS and this size.
    Edns(u16),
    /// With EDNS, this size, and the wish for signatures.
    Dnssec(u16),
    Tcp,
}

#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// In the case in which it is asked, with the last dot.
    pub(crate) name: String,
    pub(crate) record_type: RecordType,
    pub(crate) class: u16,
    pub(crate) transport: Transport,
}

/// As many questions are under way at once. CoreDNS closes a connection after 128.
const WINDOW: usize = 64;
/// Then a datagram is lost.
const LOST: Duration = Duration::from_secs(3);
const TRIES: usize = 20;

// === impl Question ===

impl Question {
    fn octets(&self, id: u16) -> Vec<u8> {
        let edns = match self.transport {
            Transport::Udp | Transport::Tcp => None,
            Transport::Edns(size) => Some((size, 0_u16)),
            Transport::Dnssec(size) => Some((size, 0x8000)),
        };
        let mut octets = id.to_be_bytes().to_vec();
        let additionals = u8::from(edns.is_some());
        // RD, and one question.
        octets.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, additionals]);
        for label in self.name.split_terminator('.') {
            octets.push(u8::try_from(label.len()).unwrap());
            octets.extend(label.as_bytes());
        }
        octets.push(0);
        octets.extend(u16::from(self.record_type).to_be_bytes());
        octets.extend(self.class.to_be_bytes());
        if let Some((size, flags)) = edns {
            octets.extend([0, 0, 41]);
            octets.extend(size.to_be_bytes());
            octets.extend([0, 0]);
            octets.extend(flags.to_be_bytes());
            octets.extend([0, 0]);
        }
        octets
    }
}

/// Puts the questions to `server`, and returns the answers in the same order.
pub(crate) fn ask(server: SocketAddr, questions: &[Question]) -> Vec<Vec<u8>> {
    let mut answers = vec![Vec::new(); questions.len()];
    let (over_tcp, over_udp): (Vec<usize>, Vec<usize>) =
        (0..questions.len()).partition(|at| questions[*at].transport == Transport::Tcp);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(LOST)).unwrap();
    for (round, window) in over_udp.chunks(WINDOW).enumerate() {
        for (at, answer) in ask_udp(&socket, round, questions, window) {
            answers[at] = answer;
        }
    }
    for window in over_tcp.chunks(WINDOW) {
        for (at, answer) in ask_tcp(server, questions, window) {
            answers[at] = answer;
        }
    }
    answers
}

fn ask_udp(
    socket: &UdpSocket,
    round: usize,
    questions: &[Question],
    window: &[usize],
) -> HashMap<usize, Vec<u8>> {
    // No late answer of the last rounds is taken for one of this.
    let first = u16::try_from(round % (1 << 9)).unwrap() << 7;
    let id = |place: usize| first + u16::try_from(place).unwrap();
    let mut answers = HashMap::new();
    let mut buffer = vec![0; 1 << 16];
    for _ in 0..TRIES {
        for (place, at) in window.iter().enumerate() {
            if !answers.contains_key(at) {
                socket.send(&questions[*at].octets(id(place))).unwrap();
            }
        }
        while answers.len() < window.len() {
            let Ok(length) = socket.recv(&mut buffer) else {
                break;
            };
            let place = u16::from_be_bytes([buffer[0], buffer[1]]).wrapping_sub(first);
            if let Some(at) = window.get(usize::from(place)) {
                answers.insert(*at, buffer[..length].to_vec());
            }
        }
        if answers.len() == window.len() {
            return answers;
        }
    }
    let missing = window.iter().filter(|at| !answers.contains_key(at));
    let missing: Vec<&Question> = missing.map(|at| &questions[*at]).collect();
    panic!("no answer from {:?} to {missing:?}", socket.peer_addr());
}

fn ask_tcp(
    server: SocketAddr,
    questions: &[Question],
    window: &[usize],
) -> HashMap<usize, Vec<u8>> {
    let mut stream = TcpStream::connect(server).unwrap();
    for (place, at) in (0..).zip(window) {
        let octets = questions[*at].octets(place);
        let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
        stream
            .write_all(&[&length, octets.as_slice()].concat())
            .unwrap();
    }
    let answers = window.iter().map(|_| {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut answer).unwrap();
        let place = u16::from_be_bytes([answer[0], answer[1]]);
        (window[usize::from(place)], answer)
    });
    answers.collect()
}
