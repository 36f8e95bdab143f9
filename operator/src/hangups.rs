//! Notices at once when a gateway's process ends.
//!
//! To each replica's admin server the operator holds a TCP connection. A process that ends, however
//! it does, takes it along: its kernel closes it, and refuses the next one. Much else may cut a
//! connection or keep one from coming about, and says nothing; but no kernel refuses one to a port
//! on which somebody listens. A node that goes silent says nothing either: its replicas are missed
//! by their heartbeats.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// After so long without an answer none is expected.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(250);

/// What was noticed of the process that listens on an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It answers.
    Answer,
    /// There is none any more.
    Hangup,
}

/// The connections to all replicas.
#[derive(Debug, Default)]
pub struct Hangups(BTreeMap<String, Line>);

#[derive(Debug)]
struct Line {
    address: SocketAddr,
    _held: AbortOnDropHandle<()>,
}

// === impl Hangups ===

impl Hangups {
    /// These are all replicas, by name, and where each one's admin server is. `tell` is told what is
    /// noticed of which.
    pub fn follow<F>(&mut self, replicas: BTreeMap<String, SocketAddr>, tell: F)
    where
        F: Fn(&str, Sign) + Clone + Send + 'static,
    {
        self.0
            .retain(|name, line| replicas.get(name) == Some(&line.address));
        for (name, address) in replicas {
            self.0.entry(name).or_insert_with_key(|name| {
                let (name, tell) = (name.clone(), tell.clone());
                let held = tokio::spawn(hold(address, move |sign| tell(&name, sign)));
                Line {
                    address,
                    _held: AbortOnDropHandle::new(held),
                }
            });
        }
    }
}

/// Holds a connection to `address` and tells what becomes of who listens there. Somebody must have
/// answered before it tells anything.
async fn hold(address: SocketAddr, tell: impl Fn(Sign)) {
    let mut has_answered = false;
    loop {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        match connected {
            Ok(Ok(stream)) => {
                has_answered = true;
                tell(Sign::Answer);
                until_closed(stream).await;
                // What comes of the next attempt says why.
                continue;
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if std::mem::take(&mut has_answered) {
                    tell(Sign::Hangup);
                }
            }
            Ok(Err(_)) | Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Nothing was asked, so nothing but the end is to be read.
async fn until_closed(mut stream: TcpStream) {
    let mut octets = [0; 512];
    while let Ok(1..) = stream.read(&mut octets).await {}
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_process_that_ends_is_noticed_and_so_is_the_next() {
        let address = (Ipv4Addr::LOCALHOST, 0);
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, mut signs) = mpsc::unbounded_channel();
        let tell = move |name: &str, sign| sender.send((name.to_owned(), sign)).unwrap();
        let mut hangups = Hangups::default();
        hangups.follow([("gw-0".to_owned(), address)].into(), tell);
        let (held, _) = listener.accept().await.unwrap();
        assert_eq!(next(&mut signs).await, Sign::Answer);

        // A connection that is cut is no end.
        drop(held);
        let (held, _) = listener.accept().await.unwrap();
        assert_eq!(next(&mut signs).await, Sign::Answer);

        drop(listener);
        drop(held);
        assert_eq!(next(&mut signs).await, Sign::Hangup);

        let listener = TcpListener::bind(address).await.unwrap();
        let _held = listener.accept().await.unwrap();
        assert_eq!(next(&mut signs).await, Sign::Answer);
    }

    #[tokio::test]
    async fn who_never_answered_has_not_hung_up_and_who_is_gone_is_not_followed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let (sender, mut signs) = mpsc::unbounded_channel();
        let tell = move |name: &str, sign| sender.send((name.to_owned(), sign)).unwrap();
        let mut hangups = Hangups::default();
        hangups.follow([("gw-0".to_owned(), address)].into(), tell.clone());
        tokio::task::yield_now().await;

        let listener = TcpListener::bind(address).await.unwrap();
        let (_held, _) = listener.accept().await.unwrap();
        assert_eq!(next(&mut signs).await, Sign::Answer, "and nothing before");

        hangups.follow(BTreeMap::new(), tell);
        assert!(signs.recv().await.is_none(), "nobody is left to tell");
    }

    async fn next(signs: &mut mpsc::UnboundedReceiver<(String, Sign)>) -> Sign {
        let (name, sign) = signs.recv().await.unwrap();
        assert_eq!(name, "gw-0");
        sign
    }
}
