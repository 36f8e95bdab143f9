//! A server that does what the first byte of each connection, or of each datagram, asks for.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::udp;

/// Takes bytes, and says every [`TELL`] how many they were so far.
pub(crate) const SINK: u8 = b's';
/// Gives bytes until nobody takes them.
pub(crate) const SOURCE: u8 = b'g';
/// Gives back what it gets.
pub(crate) const ECHO: u8 = b'e';

/// Large enough that the ends do not bound what is measured.
pub(crate) const BUFFER: usize = 256 << 10;
pub(crate) const TELL: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen
    listen: SocketAddr,
}

// === impl Args ===

impl Args {
    #[tokio::main]
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        rlimit::increase_nofile_limit(u64::MAX)?;
        // First, as who waits for the server looks for TCP.
        let datagrams = udp::server::bind(self.listen)?;
        std::thread::spawn(move || udp::server::serve(&datagrams));
        let listener = TcpListener::bind(self.listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            // A client that goes away ends its connection by an error.
            tokio::spawn(async move { drop(serve(stream).await) });
        }
    }
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    match stream.read_u8().await? {
        SINK => sink(stream).await,
        SOURCE => {
            let zeros = vec![0; BUFFER];
            loop {
                stream.write_all(&zeros).await?;
            }
        }
        _ => {
            let mut buffer = vec![0; 1 << 10];
            loop {
                match stream.read(&mut buffer).await? {
                    0 => return Ok(()),
                    read => stream.write_all(&buffer[..read]).await?,
                }
            }
        }
    }
}

async fn sink(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut total = 0_u64;
    let mut told = Instant::now();
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => total += read as u64,
        }
        if told.elapsed() >= TELL {
            stream.write_u64(total).await?;
            told = Instant::now();
        }
    }
}
