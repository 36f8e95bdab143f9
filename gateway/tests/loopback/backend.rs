//! TCP servers that stand for pods.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::site::fresh_address;

/// A server at an address of its own, which does `serve` with each connection.
pub(crate) async fn backend<S, F>(serve: S) -> SocketAddr
where
    S: Fn(TcpStream) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    backend_at(fresh_address().into(), serve).await
}

/// A server at `address`, which does `serve` with each connection.
pub(crate) async fn backend_at<S, F>(address: IpAddr, serve: S) -> SocketAddr
where
    S: Fn(TcpStream) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Says its name and closes.
pub(crate) async fn named(name: &'static str) -> SocketAddr {
    backend(move |mut stream| async move {
        stream.write_all(name.as_bytes()).await.unwrap();
    })
    .await
}

/// Sends back what it gets, and its end.
pub(crate) async fn echo() -> SocketAddr {
    backend(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    })
    .await
}

/// An address at which nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind((fresh_address(), 0)).unwrap();
    listener.local_addr().unwrap()
}

/// What a server says that says something and closes.
pub(crate) async fn fetch(address: SocketAddr) -> std::io::Result<String> {
    read_all(TcpStream::connect(address).await?).await
}

/// The same for a client at an address of its own.
pub(crate) async fn fetch_from(client: IpAddr, address: SocketAddr) -> std::io::Result<String> {
    let socket = match client {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind((client, 0).into())?;
    read_all(socket.connect(address).await?).await
}

async fn read_all(mut stream: TcpStream) -> std::io::Result<String> {
    let mut said = String::new();
    let reading = stream.read_to_string(&mut said);
    tokio::time::timeout(Duration::from_secs(30), reading)
        .await
        .unwrap()?;
    Ok(said)
}
