//! A DNS client, and what the tests ask it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};

/// A generous limit for what takes microseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A question.
pub(crate) fn query(name: &str, record_type: RecordType) -> Message {
    let mut message = Message::new(0x7001, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    message
}

/// The same, with EDNS and the largest UDP answer that is taken.
pub(crate) fn with_edns(mut query: Message, max_payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(max_payload);
    query.edns = Some(edns);
    query
}

/// A socket that is connected to the server.
pub(crate) fn udp(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The next answer, and how long it is.
pub(crate) fn receive(socket: &UdpSocket) -> (Message, usize) {
    let mut buffer = [0; 65_535];
    let length = socket.recv(&mut buffer).unwrap();
    (Message::from_vec(&buffer[..length]).unwrap(), length)
}

/// Asks over UDP.
pub(crate) fn ask_udp(server: SocketAddr, query: &Message) -> (Message, usize) {
    let socket = udp(server);
    socket.send(&query.to_vec().unwrap()).unwrap();
    receive(&socket)
}

/// Asks over TCP, all questions on one connection.
pub(crate) fn ask_tcp(server: SocketAddr, queries: &[Message]) -> Vec<Message> {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for query in queries {
        let bytes = query.to_vec().unwrap();
        let length = u16::try_from(bytes.len()).unwrap();
        stream
            .write_all(&[&length.to_be_bytes(), bytes.as_slice()].concat())
            .unwrap();
    }
    queries.iter().map(|_| read_tcp(&mut stream)).collect()
}

fn read_tcp(stream: &mut TcpStream) -> Message {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut bytes = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut bytes).unwrap();
    Message::from_vec(&bytes).unwrap()
}

/// The data of the answers, as text.
pub(crate) fn data(message: &Message) -> Vec<String> {
    message
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect()
}
