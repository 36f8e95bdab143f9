//! UDP servers that stand for pods, and clients that ask them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use crate::site::fresh_address;

/// A server at an address of its own, until it is stopped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: AbortHandle,
}

impl Server {
    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

/// Answers each packet with what `answer` makes of it and of whom it came from.
pub(crate) async fn server<A>(answer: A) -> Server
where
    A: Fn(SocketAddr, &[u8]) -> Vec<u8> + Send + Sync + 'static,
{
    let socket = UdpSocket::bind((fresh_address(), 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = vec![0; 65_535];
        loop {
            // An earlier client that is gone is no error of the next.
            let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
                continue;
            };
            let answer = answer(client, &buffer[..length]);
            let _ = socket.send_to(&answer, client).await;
        }
    });
    Server {
        address,
        task: task.abort_handle(),
    }
}

/// Sends back what it gets.
pub(crate) async fn echo() -> Server {
    server(|_, packet| packet.to_vec()).await
}

/// Says its name and the port that asked, to whatever it is asked.
pub(crate) async fn named(name: &'static str) -> Server {
    server(move |client, _| format!("{name} {}", client.port()).into_bytes()).await
}

/// A client with an address and port of its own, that hears only `server`.
pub(crate) async fn client(server: SocketAddr) -> Arc<UdpSocket> {
    client_at(fresh_address().into(), server).await
}

pub(crate) async fn client_at(address: IpAddr, server: SocketAddr) -> Arc<UdpSocket> {
    let socket = UdpSocket::bind((address, 0)).await.unwrap();
    socket.connect(server).await.unwrap();
    Arc::new(socket)
}

/// Asks once; what is answered within a while.
pub(crate) async fn ask(client: &UdpSocket, question: &[u8]) -> Option<Vec<u8>> {
    client.send(question).await.unwrap();
    answer(client, Duration::from_secs(30)).await
}

/// What is answered within `patience`.
pub(crate) async fn answer(client: &UdpSocket, patience: Duration) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 65_535];
    let received = tokio::time::timeout(patience, client.recv(&mut buffer)).await;
    let length = received.ok()?.ok()?;
    buffer.truncate(length);
    Some(buffer)
}
