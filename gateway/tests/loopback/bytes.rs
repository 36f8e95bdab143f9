//! What happens to a connection's bytes, ends and resets.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tombolo_gateway::metrics::{Direction, Flow};

use crate::backend::{backend, echo};
use crate::site::{Cluster, Site, link};

const PATIENCE: Duration = Duration::from_secs(60);
/// More than every buffer and window on the way.
const MORE_THAN_FITS: usize = 64 << 20;

#[tokio::test]
async fn bulk_comes_through_both_ways_unchanged() {
    let sites = Sites::new(echo().await).await;
    let size = bulk_size();
    let client = TcpStream::connect(sites.web).await.unwrap();
    let (mut read, mut write) = client.into_split();

    let sending = tokio::spawn(async move {
        let mut sent = Checksum::default();
        for chunk in 0..size / CHUNK {
            let chunk = pattern(chunk);
            sent.add(&chunk);
            write.write_all(&chunk).await.unwrap();
        }
        write.shutdown().await.unwrap();
        sent
    });
    let mut received = Checksum::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = timeout(PATIENCE, read.read(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        if read == 0 {
            break;
        }
        received.add(&buffer[..read]);
    }

    let sent = sending.await.unwrap();
    assert_eq!(received, sent);
    assert_eq!(sent.length, size as u64);
    assert_eq!(
        sites.west.metrics.bytes_of(Flow::Sent, "east").get(),
        sent.length
    );
    assert_eq!(
        sites.east.metrics.bytes_of(Flow::Sent, "west").get(),
        sent.length
    );
}

#[tokio::test]
async fn a_client_that_is_done_sending_still_gets_its_answer() {
    let backend = backend(|mut stream| async move {
        let mut question = String::new();
        stream.read_to_string(&mut question).await.unwrap();
        stream
            .write_all(format!("you said {question}").as_bytes())
            .await
            .unwrap();
    })
    .await;
    let sites = Sites::new(backend).await;
    let mut client = TcpStream::connect(sites.web).await.unwrap();

    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, client.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();

    assert_eq!(answer, "you said hello");
    sites.ended("Finished").await;
}

#[tokio::test]
async fn a_server_that_is_done_sending_still_hears_the_client() {
    let (heard, mut hears) = mpsc::channel(1);
    let backend = backend(move |mut stream| {
        let heard = heard.clone();
        async move {
            stream.write_all(b"tell me").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut told = String::new();
            stream.read_to_string(&mut told).await.unwrap();
            heard.send(told).await.unwrap();
        }
    })
    .await;
    let sites = Sites::new(backend).await;
    let mut client = TcpStream::connect(sites.web).await.unwrap();

    let mut said = String::new();
    timeout(PATIENCE, client.read_to_string(&mut said))
        .await
        .unwrap()
        .unwrap();
    client.write_all(b"everything").await.unwrap();
    client.shutdown().await.unwrap();

    assert_eq!(said, "tell me");
    assert_eq!(
        timeout(PATIENCE, hears.recv()).await.unwrap().unwrap(),
        "everything"
    );
    sites.ended("Finished").await;
}

#[tokio::test]
async fn a_clients_reset_reaches_the_server() {
    let (ended, mut ends) = mpsc::channel(1);
    let backend = backend(move |mut stream| {
        let ended = ended.clone();
        async move {
            stream.write_all(b"!").await.unwrap();
            ended
                .send(stream.read_to_end(&mut Vec::new()).await)
                .await
                .unwrap();
        }
    })
    .await;
    let sites = Sites::new(backend).await;
    let mut client = TcpStream::connect(sites.web).await.unwrap();
    client.read_exact(&mut [0]).await.unwrap();

    reset(client);

    let end = timeout(PATIENCE, ends.recv()).await.unwrap().unwrap();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    sites.west.closed(Direction::Outbound, "TcpReset").await;
}

#[tokio::test]
async fn a_servers_reset_reaches_the_client() {
    let backend = backend(|mut stream| async move {
        stream.read_exact(&mut [0]).await.unwrap();
        reset(stream);
    })
    .await;
    let sites = Sites::new(backend).await;
    let mut client = TcpStream::connect(sites.web).await.unwrap();
    client.write_all(b"!").await.unwrap();

    let read = timeout(PATIENCE, client.read(&mut [0])).await.unwrap();

    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
    sites.east.closed(Direction::Inbound, "TcpReset").await;
}

#[tokio::test]
async fn a_reset_is_heard_of_while_the_other_side_takes_nothing() {
    let (ended, mut ends) = mpsc::channel(1);
    let backend = backend(move |stream| {
        let ended = ended.clone();
        async move {
            // Reads nothing until it is told that the client is gone.
            let error = stream.ready(tokio::io::Interest::ERROR).await.unwrap();
            ended.send(error.is_error()).await.unwrap();
        }
    })
    .await;
    let sites = Sites::new(backend).await;
    let mut client = TcpStream::connect(sites.web).await.unwrap();
    fill(&mut client).await;

    reset(client);

    assert!(timeout(PATIENCE, ends.recv()).await.unwrap().unwrap());
}

#[tokio::test]
async fn a_lost_link_is_a_reset_and_never_an_end() {
    let backend = backend(|mut stream| async move {
        stream.write_all(b"!").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let Sites {
        east, west, web, ..
    } = Sites::new(backend).await;
    let mut client = TcpStream::connect(web).await.unwrap();
    client.read_exact(&mut [0]).await.unwrap();

    east.kill();

    let read = timeout(PATIENCE, client.read(&mut [0])).await.unwrap();
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
    west.closed(Direction::Outbound, "LinkLost").await;
}

#[tokio::test]
async fn a_stalled_reader_stops_its_own_stream_only() {
    let (proceed, gate) = tokio::sync::watch::channel(false);
    let backend = backend(move |mut stream| {
        let mut gate = gate.clone();
        async move {
            let mut kind = [0];
            stream.read_exact(&mut kind).await.unwrap();
            if &kind == b"s" {
                gate.wait_for(|open| *open).await.unwrap();
            }
            let received = tokio::io::copy(&mut stream, &mut tokio::io::sink())
                .await
                .unwrap();
            stream.write_all(&received.to_be_bytes()).await.unwrap();
        }
    })
    .await;
    let sites = Sites::new(backend).await;
    let mut stalled = TcpStream::connect(sites.web).await.unwrap();
    stalled.write_all(b"s").await.unwrap();
    let filled = fill(&mut stalled).await;
    assert!(
        filled < MORE_THAN_FITS,
        "{filled} bytes are held for a reader that takes none"
    );

    for _ in 0..3 {
        let mut quick = TcpStream::connect(sites.web).await.unwrap();
        quick.write_all(b"q").await.unwrap();
        quick.write_all(&vec![7; 8 << 20]).await.unwrap();
        quick.shutdown().await.unwrap();
        assert_eq!(
            timeout(PATIENCE, quick.read_u64()).await.unwrap().unwrap(),
            8 << 20
        );
    }

    proceed.send(true).unwrap();
    stalled.shutdown().await.unwrap();
    let received = timeout(PATIENCE, stalled.read_u64())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(received, filled as u64);
}

#[tokio::test]
async fn five_hundred_connections_at_a_time() {
    let sites = Sites::new(echo().await).await;
    let mut clients = Vec::new();
    for number in 0..500_u32 {
        let mut client = TcpStream::connect(sites.web).await.unwrap();
        client.write_u32(number).await.unwrap();
        clients.push(client);
    }

    for (number, client) in (0..500_u32).zip(&mut clients) {
        assert_eq!(
            timeout(PATIENCE, client.read_u32()).await.unwrap().unwrap(),
            number
        );
    }
    for (number, mut client) in (0..500_u32).zip(clients) {
        client.write_u32(!number).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(
            timeout(PATIENCE, client.read_u32()).await.unwrap().unwrap(),
            !number
        );
        assert_eq!(
            timeout(PATIENCE, client.read(&mut [0]))
                .await
                .unwrap()
                .unwrap(),
            0
        );
    }
}

struct Sites {
    _clusters: (Cluster, Cluster),
    east: Site,
    west: Site,
    web: SocketAddr,
}

impl Sites {
    async fn new(backend: SocketAddr) -> Self {
        let (east, west) = (Cluster::new("east"), Cluster::new("west"));
        let (mut at_east, mut at_west) = (east.start("east-0"), west.start("west-0"));
        link((&west, &at_west), (&east, &at_east)).await;
        at_east.export("web", &[backend]);
        let web = at_west.import("web", &["east"]);
        Self {
            _clusters: (east, west),
            east: at_east,
            west: at_west,
            web,
        }
    }

    async fn ended(&self, how: &'static str) {
        self.west.closed(Direction::Outbound, how).await;
        self.east.closed(Direction::Inbound, how).await;
    }
}

const CHUNK: usize = 64 << 10;

/// A length and a sum that depends on the order of the bytes (Fletcher's).
#[derive(Debug, Default, PartialEq)]
struct Checksum {
    length: u64,
    first: u64,
    second: u64,
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        for byte in bytes {
            self.first = (self.first + u64::from(*byte)) % 0xffff_fffb;
            self.second = (self.second + self.first) % 0xffff_fffb;
        }
    }
}

fn bulk_size() -> usize {
    if cfg!(debug_assertions) {
        64 << 20
    } else {
        256 << 20
    }
}

fn pattern(chunk: usize) -> Vec<u8> {
    (0..CHUNK)
        .map(|n| (n.wrapping_mul(31) ^ chunk.wrapping_mul(17)) as u8)
        .collect()
}

/// Sends until nothing more is taken for a while; how much was.
async fn fill(client: &mut TcpStream) -> usize {
    let chunk = vec![1; CHUNK];
    let mut filled = 0;
    while filled < MORE_THAN_FITS {
        match timeout(Duration::from_secs(2), client.write(&chunk)).await {
            Ok(written) => filled += written.unwrap(),
            Err(_) => break,
        }
    }
    filled
}

/// Closes by RST.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}
