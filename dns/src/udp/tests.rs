use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// Says everything again, in capitals.
#[derive(Clone)]
struct Capitals;

impl FastPath for Capitals {
    fn answer(&self, query: &[u8], _client: SocketAddr, response: &mut Vec<u8>) -> Verdict {
        if query == b"hush" {
            return Verdict::Dropped;
        }
        response.clear();
        response.extend(query.to_ascii_uppercase());
        Verdict::Answered
    }
}

impl SlowPath for Capitals {
    async fn respond(&self, _request: &Request) -> Option<Vec<u8>> {
        None
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_until_it_is_dropped() {
    let server = socket();
    let address = server.local_addr().unwrap();
    let client = socket();
    client.connect(address).unwrap();
    // More than a batch, all there before the first is answered.
    let queries: Vec<_> = (0..100).map(|n| format!("question {n}")).collect();
    for query in &queries {
        client.send(query.as_bytes()).unwrap();
        client.send(b"hush").unwrap();
    }

    let serving = tokio::spawn(serve(vec![server], Capitals));

    let mut buffer = [0; 100];
    for query in queries {
        let octets = client.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..octets], *query.to_uppercase().as_bytes());
    }
    serving.abort();
    let limit = Instant::now() + PATIENCE;
    while UdpSocket::bind(address).is_err() {
        assert!(Instant::now() < limit, "the socket stays");
        thread::sleep(Duration::from_millis(1));
    }
}
