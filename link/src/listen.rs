//! Taking the connections that peers dial.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::VarInt;
use tokio::sync::Semaphore;
use tombolo_link_wire::{CloseCode, Control};

use crate::connection::{ControlStream, Credentials, Established};
use crate::counts::Event;
use crate::fault::Ended;
use crate::hello::{self, HelloError};
use crate::identity::ClusterId;
use crate::local::Local;
use crate::tls::{self, TlsError};
use crate::trust::{PeerVerifier, Role, TrustError};
use crate::tunnel::Tunnel;

const HANDSHAKE: Duration = Duration::from_secs(5);

/// By which way a connection comes.
pub(crate) struct Arriving {
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) tunnel: Option<Arc<Tunnel>>,
    /// Whose connection it must be, if somebody has vouched for that already.
    pub(crate) expected: Option<String>,
}

/// Why a dialler was not taken.
#[derive(Debug, thiserror::Error)]
enum AcceptError {
    #[error(transparent)]
    Config(#[from] TlsError),
    #[error(transparent)]
    Untrusted(#[from] TrustError),
    #[error("the handshake took longer than {} s", HANDSHAKE.as_secs())]
    Timeout,
    #[error("{}", .0.message)]
    Ended(Ended),
    #[error(transparent)]
    Hello(#[from] HelloError),
    #[error("the dialler found a connection to this replica already")]
    NotWanted,
}

/// Takes connections until all is closed.
pub(crate) async fn listen(local: Arc<Local>) {
    let handshakes = Arc::new(Semaphore::new(local.config.max_handshakes));
    // Diallers that prove their address cost a round trip; asked for under load only.
    let unproven = local.config.max_handshakes / 4;
    loop {
        let incoming = tokio::select! {
            biased;
            () = local.closed.cancelled() => break,
            incoming = local.endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else {
            break;
        };
        let remote = incoming.remote_address();
        if local.draining.is_cancelled() {
            local.refuse(
                Event::Accept,
                "Draining",
                remote,
                &"this replica is about to stop",
            );
            incoming.refuse();
            continue;
        }
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            local.refuse(
                Event::Accept,
                "Overloaded",
                remote,
                &"too many handshakes at a time",
            );
            incoming.ignore();
            continue;
        };
        let under_way = local.config.max_handshakes - handshakes.available_permits();
        if !incoming.remote_address_validated() && under_way > unproven {
            // It fails only for a dialler that has proven its address.
            let _ = incoming.retry();
            continue;
        }
        let handshake_of = Arc::clone(&local);
        local.spawn(async move {
            let arriving = Arriving {
                endpoint: handshake_of.endpoint.clone(),
                tunnel: None,
                expected: None,
            };
            accept(&handshake_of, incoming, arriving).await;
            drop(permit);
        });
    }
    local
        .endpoint
        .close(VarInt::from_u32(CloseCode::Shutdown.code()), b"");
}

/// Takes a connection, or says why not.
pub(crate) async fn accept(local: &Local, incoming: quinn::Incoming, arriving: Arriving) {
    let remote = incoming.remote_address();
    if let Err(error) = negotiate(local, incoming, arriving).await {
        local.refuse(Event::Accept, error.reason(), remote, &error);
    }
}

async fn negotiate(
    local: &Local,
    incoming: quinn::Incoming,
    arriving: Arriving,
) -> Result<(), AcceptError> {
    let remote = incoming.remote_address();
    let (verifier, outcome) = PeerVerifier::new(
        Arc::clone(&local.trust),
        arriving.expected.clone(),
        Arc::clone(&local.provider),
    );
    let tls = tls::listener(&local.provider, &local.identity.load(), verifier)?;
    let mut config = local.server_config.clone();
    config.crypto = Arc::new(tls);
    let connecting = incoming
        .accept_with(Arc::new(config))
        .map_err(|error| AcceptError::Ended(Ended::from(&error)))?;
    let handshake = tokio::time::timeout(HANDSHAKE, connecting)
        .await
        .map_err(|_| AcceptError::Timeout)?;
    let quic = match (handshake, outcome.get()) {
        (_, Some(Err(error))) => return Err(error.clone().into()),
        (Err(error), _) => return Err(AcceptError::Ended(Ended::from(&error))),
        (Ok(quic), _) => quic,
    };
    let Some(Ok(cluster)) = outcome.get() else {
        return Err(AcceptError::Timeout);
    };
    let introduced =
        tokio::time::timeout(hello::TIMEOUT, introduce(local, cluster, &quic, arriving))
            .await
            .unwrap_or(Err(HelloError::Timeout.into()));
    let established = match introduced {
        Ok(established) => established,
        Err(error) => return Err(give_up(&quic, error)),
    };
    deliver(local, cluster, remote, established);
    Ok(())
}

async fn introduce(
    local: &Local,
    cluster: &str,
    quic: &quinn::Connection,
    arriving: Arriving,
) -> Result<Established, AcceptError> {
    let (send, recv) = quic
        .accept_bi()
        .await
        .map_err(|error| AcceptError::Ended(Ended::from(&error)))?;
    let mut control = ControlStream::new(send, recv);
    let certified = ClusterId {
        clusterset: local.own.clusterset.clone(),
        cluster: cluster.to_owned(),
    };
    let own = local.hello();
    let hello = hello::exchange(&own, &certified, &mut control.send, &mut control.recv).await?;
    // A dialler that has a connection to this replica already closes this one now. Its first ping
    // says that it keeps it; until then nothing is opened through it, which would be cut.
    let first = control
        .frames
        .next(&mut control.recv)
        .await
        .map_err(HelloError::from)?
        .ok_or(HelloError::Missing)?;
    if let Control::Ping(seq) = Control::decode(first).map_err(HelloError::from)? {
        let pong = Control::Pong(seq).encode();
        control
            .send
            .write_chunk(pong)
            .await
            .map_err(|error| HelloError::Frame(error.into()))?;
    }
    let unknown = || TrustError::UnknownCluster(cluster.to_owned());
    Ok(Established {
        quic: quic.clone(),
        endpoint: arriving.endpoint,
        tunnel: arriving.tunnel,
        control,
        hello,
        credentials: Credentials::of(quic, Role::Dialler).ok_or_else(unknown)?,
    })
}

/// Closes a connection that is not taken. If it has ended already, its end says more than the
/// error of a stream.
fn give_up(quic: &quinn::Connection, error: AcceptError) -> AcceptError {
    if let Some(reason) = quic.close_reason() {
        let ended = Ended::from(&reason);
        return match ended.by_peer {
            Some(CloseCode::Duplicate) => AcceptError::NotWanted,
            _ => AcceptError::Ended(ended),
        };
    }
    let code = match &error {
        AcceptError::Hello(error) => error.close_code(),
        AcceptError::Untrusted(_)
        | AcceptError::Config(_)
        | AcceptError::Timeout
        | AcceptError::Ended(_)
        | AcceptError::NotWanted => CloseCode::PeerRemoved,
    };
    quic.close(VarInt::from_u32(code.code()), error.to_string().as_bytes());
    error
}

fn deliver(local: &Local, cluster: &str, remote: SocketAddr, established: Established) {
    let Some(peer) = local.peer(cluster) else {
        // The Peer went away during the handshake.
        local.refuse(Event::Accept, "UnknownCluster", remote, &"no longer a peer");
        let code = CloseCode::PeerRemoved.code();
        established.quic.close(VarInt::from_u32(code), b"");
        return;
    };
    peer.add_inbound(established);
}

// === impl AcceptError ===

impl AcceptError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Config(_) => "Config",
            Self::Untrusted(error) => error.reason(),
            Self::Timeout => "TimedOut",
            Self::Ended(ended) => ended.reason,
            Self::Hello(error) => error.reason(),
            Self::NotWanted => "Duplicate",
        }
    }
}
