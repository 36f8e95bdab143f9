use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use quinn::Endpoint;
use rustls_pki_types::PrivateKeyDer;
use tokio::time::timeout;

use super::*;
use crate::unreachable::Unreachable;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_expired_connection_takes_nothing_new_and_ends_with_its_last_stream() {
    let mut end = End::new(Instant::now()).await;

    // Pings come first; what is asked for comes at once all the same.
    loop {
        match end.next().await {
            Control::GoAway => break,
            Control::Ping(seq) => end.say(Control::Pong(seq)).await,
            Control::Pong(_) => {}
        }
    }
    assert!(matches!(
        end.events.lock()[..],
        [ConnectionEvent::GoingAway]
    ));
    let (send, recv) = end.connection.quic.open_bi().await.unwrap();
    let stream = end.connection.stream(send, recv);
    for _ in 0..=IDLE_BEATS + 1 {
        let Control::Ping(seq) = end.next().await else {
            panic!("not a ping");
        };
        end.say(Control::Pong(seq)).await;
    }
    assert!(end.quic.close_reason().is_none());

    drop(stream);

    while let Some(message) = end.poll().await {
        if let Control::Ping(seq) = message {
            end.say(Control::Pong(seq)).await;
        }
    }
    assert_eq!(end.closed().await, CloseCode::Expired);
}

#[tokio::test]
async fn unanswered_pings_make_suspect_and_then_dead() {
    let mut end = End::new(far_off()).await;

    let mut pings = 0;
    let mut was_suspect = false;
    while let Some(message) = end.poll().await {
        assert!(matches!(message, Control::Ping(_)));
        pings += 1;
        was_suspect |= end.connection.is_suspect();
    }

    assert_eq!(pings, MISSED);
    assert!(was_suspect);
    assert_eq!(end.closed().await, CloseCode::Unresponsive);
    let events = end.events.lock();
    let [ConnectionEvent::Ended(ended)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(ended.reason, "Unresponsive");
}

#[tokio::test]
async fn a_drain_is_told_once_and_the_connection_goes_on() {
    let mut end = End::new(far_off()).await;
    end.draining.cancel();

    let mut told = 0;
    let mut pings = 0;
    while pings < MISSED + 1 {
        match end.next().await {
            Control::GoAway => told += 1,
            Control::Ping(seq) => {
                pings += 1;
                end.say(Control::Pong(seq)).await;
            }
            Control::Pong(_) => {}
        }
    }

    assert_eq!(told, 1);
    assert!(end.events.lock().is_empty());
    assert!(end.quic.close_reason().is_none());
}

/// The other end of a connection whose control stream is run.
struct End {
    quic: quinn::Connection,
    control: ControlStream,
    connection: Arc<Connection>,
    draining: CancellationToken,
    events: Arc<Mutex<Vec<ConnectionEvent>>>,
    _endpoint: Endpoint,
}

impl End {
    async fn new(expiry: Instant) -> Self {
        let (listener, certificate) = listener();
        let dialler = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let config = quinn::ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();
        let connecting = dialler.connect_with(config, address, "localhost").unwrap();
        let accepting = async { listener.accept().await.unwrap().await.unwrap() };
        let (quic, other) = tokio::join!(connecting, accepting);
        let quic = quic.unwrap();

        let (send, recv) = quic.open_bi().await.unwrap();
        let mut control = ControlStream::new(send, recv);
        let hello = hello();
        // A stream is there for the other side once something was sent on it.
        control.send.write_chunk(hello.encode()).await.unwrap();
        let (send, recv) = other.accept_bi().await.unwrap();
        let mut others = ControlStream::new(send, recv);
        others.frames.next(&mut others.recv).await.unwrap();
        let established = Established {
            quic: other,
            endpoint: listener,
            tunnel: None,
            control: others,
            hello,
            credentials: Credentials {
                certificates: Vec::new(),
                role: Role::Dialler,
                verified_at: UnixTime::now(),
            },
        };
        let (connection, others) = Connection::new(ConnectionId(0), "east".into(), established);
        let draining = CancellationToken::new();
        let events = Arc::new(Mutex::new(Vec::new()));
        let run = Arc::clone(&connection);
        let (told, drained) = (Arc::clone(&events), draining.clone());
        tokio::spawn(async move {
            let emit = |event| told.lock().push(event);
            let hearing = Unreachable::default().hearing();
            run.run_control(others, hearing, drained, expiry, emit)
                .await;
        });
        Self {
            quic,
            control,
            connection,
            draining,
            events,
            _endpoint: dialler,
        }
    }

    /// The next message; `None` when the connection is closed.
    async fn poll(&mut self) -> Option<Control> {
        let next = self.control.frames.next(&mut self.control.recv);
        let content = timeout(PATIENCE, next).await.unwrap().ok()??;
        Some(Control::decode(content).unwrap())
    }

    async fn next(&mut self) -> Control {
        self.poll().await.unwrap()
    }

    async fn say(&mut self, message: Control) {
        // The connection may have been closed in the meantime.
        let _ = self.control.send.write_chunk(message.encode()).await;
    }

    async fn closed(&self) -> CloseCode {
        let error = timeout(PATIENCE, self.quic.closed()).await.unwrap();
        // The other side's task tells its end a moment later.
        while Arc::strong_count(&self.connection) > 1 {
            tokio::task::yield_now().await;
        }
        Ended::from(&error).by_peer.unwrap()
    }
}

fn listener() -> (Endpoint, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = quinn::ServerConfig::with_single_cert(vec![certificate.clone()], key).unwrap();
    let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    (endpoint, certificate)
}

fn hello() -> Hello {
    Hello {
        protocol_version: 1,
        merge_version: 1,
        clusterset: "prod".to_owned(),
        cluster: "east".to_owned(),
        replica: "east-1".to_owned(),
        siblings: 1,
        incarnation: String::new(),
    }
}

fn far_off() -> Instant {
    Instant::now() + Duration::from_secs(24 * 3600)
}
