//! A connection to one replica of a peer: its control stream, and the streams that the peer opens.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use quinn::VarInt;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio_util::sync::CancellationToken;
use tombolo_link_wire::{CloseCode, Control, DecodeError, Hello, limits};

use crate::fault::Ended;
use crate::flows::Flows;
use crate::framing::{FrameError, FrameReader};
use crate::heartbeat::{Beat, Heartbeat, INTERVAL, MISSED};
use crate::pool::ConnectionId;
use crate::status::{Carrier, ConnectionStats};
use crate::stream::{InFlight, LinkStream, RecvHalf, SendHalf, StreamError};
use crate::trust::{self, Chain, Role, Trust, TrustError};
use crate::tunnel::{self, Tunnel};
use crate::unreachable::{Hearing, Route};

#[cfg(test)]
mod tests;

/// How long a message may wait for room in the control stream: the peer reads it at once if it is
/// alive.
const CONTROL_WRITE: Duration = INTERVAL.saturating_mul(3);

/// Beats without a stream after which a retired connection is closed: what the peer opened before
/// it heard of the retirement must have arrived.
const IDLE_BEATS: usize = MISSED;

/// Streams of catalog and headcounts that one connection may have: the peer needs one of each, and
/// a second while the first has not been seen to end.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 4;

/// A connection on which both sides have said who they are.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) quic: quinn::Connection,
    pub(crate) endpoint: quinn::Endpoint,
    /// What carries it, if not UDP.
    pub(crate) tunnel: Option<Arc<Tunnel>>,
    pub(crate) control: ControlStream,
    pub(crate) hello: Hello,
    pub(crate) credentials: Credentials,
}

/// The stream on which the sides say that they are alive.
#[derive(Debug)]
pub(crate) struct ControlStream {
    pub(crate) send: SendHalf,
    pub(crate) recv: RecvHalf,
    pub(crate) frames: FrameReader,
}

/// The certificate that a peer presented, kept for the case that its CA bundle changes.
#[derive(Debug)]
pub(crate) struct Credentials {
    certificates: Vec<CertificateDer<'static>>,
    role: Role,
    verified_at: UnixTime,
}

/// A connection in use.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) cluster: Arc<str>,
    pub(crate) replica: Arc<str>,
    pub(crate) hello: Hello,
    pub(crate) quic: quinn::Connection,
    pub(crate) endpoint: quinn::Endpoint,
    tunnel: Option<Arc<Tunnel>>,
    pub(crate) credentials: Credentials,
    /// Streams of catalog and headcounts that the peer has asked for.
    pub(crate) subscriptions: Arc<AtomicUsize>,
    /// Where its datagrams go.
    pub(crate) flows: Arc<Flows>,
    streams: Arc<AtomicUsize>,
    /// In microseconds; 0 before the first answer.
    ping: AtomicU64,
    /// Whether the last ping is without an answer.
    suspect: AtomicBool,
    going_away: AtomicBool,
    retired: CancellationToken,
    closed_with: OnceLock<CloseCode>,
}

/// What happens to a connection in use.
#[derive(Debug)]
pub(crate) enum ConnectionEvent {
    /// Nothing new may be opened through it.
    GoingAway,
    /// It is gone.
    Ended(Ended),
}

#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error("the peer closed the control stream")]
    Finished,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Write(#[from] StreamError),
    #[error("{MISSED} pings were not answered")]
    Unanswered,
    #[error("nobody is there any more")]
    Unreachable,
    #[error("the peer does not read the control stream")]
    Stuck,
}

// === impl Credentials ===

impl Credentials {
    /// What the other side of a connection presented in its handshake, which has just been
    /// checked. `None` if there was nothing, which cannot be after such a check.
    pub(crate) fn of(quic: &quinn::Connection, role: Role) -> Option<Self> {
        let identity = quic.peer_identity()?;
        let certificates = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        Some(Self {
            certificates: *certificates,
            role,
            verified_at: UnixTime::now(),
        })
    }

    pub(crate) fn dialled_by_this_side(&self) -> bool {
        self.role == Role::Listener
    }

    /// Checks them again, as of the time of the handshake: a certificate that has expired since
    /// then does not end its connections.
    pub(crate) fn verify(&self, trust: &Trust, cluster: &str) -> Result<(), TrustError> {
        let Some((end_entity, intermediates)) = self.certificates.split_first() else {
            return Err(TrustError::UnknownCluster(cluster.to_owned()));
        };
        let chain = Chain {
            end_entity,
            intermediates,
        };
        trust.verify(chain, self.role, Some(cluster), self.verified_at)?;
        Ok(())
    }

    pub(crate) fn not_after(&self) -> Option<UnixTime> {
        let (_, not_after) = trust::validity(self.certificates.first()?)?;
        Some(not_after)
    }
}

// === impl ControlStream ===

impl ControlStream {
    pub(crate) fn new(send: quinn::SendStream, recv: quinn::RecvStream) -> Self {
        Self {
            send: SendHalf::new(send, None),
            recv: RecvHalf::new(recv, None),
            frames: FrameReader::new(limits::CONTROL),
        }
    }
}

// === impl Connection ===

impl Connection {
    /// Puts a connection into use, with the control stream still to be [run](Self::run_control).
    pub(crate) fn new(
        id: ConnectionId,
        cluster: Arc<str>,
        established: Established,
    ) -> (Arc<Self>, ControlStream) {
        let Established {
            quic,
            endpoint,
            tunnel,
            control,
            hello,
            credentials,
        } = established;
        let connection = Self {
            id,
            cluster,
            replica: hello.replica.as_str().into(),
            hello,
            quic,
            endpoint,
            tunnel,
            credentials,
            subscriptions: Arc::default(),
            flows: Arc::default(),
            streams: Arc::default(),
            ping: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
            going_away: AtomicBool::new(false),
            retired: CancellationToken::new(),
            closed_with: OnceLock::new(),
        };
        (Arc::new(connection), control)
    }

    /// Whether something may be opened through it.
    pub(crate) fn is_usable(&self) -> bool {
        !self.going_away.load(Ordering::Relaxed)
    }

    /// What carries it.
    pub(crate) fn carrier(&self) -> Carrier {
        Carrier::of(self.tunnel.as_deref())
    }

    /// Opens nothing new through it, asks the peer for the same, and closes it after its last
    /// stream.
    pub(crate) fn retire(&self) {
        self.retired.cancel();
    }

    /// Streams in use, in either direction.
    pub(crate) fn load(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Whether the other end may be dead: others come first then.
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// The other end has not answered what it must have got: others come first until it does.
    pub(crate) fn suspect(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }

    /// Datagrams that came so far. Whoever lives acknowledges what it gets, so if none came within
    /// [`Connection::patience`] after something was sent, the other end may be dead.
    pub(crate) fn received(&self) -> u64 {
        self.quic.stats().udp_rx.datagrams
    }

    /// Room for a loss, its retransmission, and an end that is busy.
    pub(crate) fn patience(&self) -> Duration {
        const LEAST: Duration = Duration::from_millis(250);
        (4 * self.quic.rtt()).max(LEAST)
    }

    /// The round-trip time by the last answered ping.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        let ping = self.ping.load(Ordering::Relaxed);
        (ping != 0).then(|| Duration::from_micros(ping))
    }

    pub(crate) fn close(&self, code: CloseCode) {
        // The first code is the one that the peer is told.
        let _ = self.closed_with.set(code);
        self.quic.close(VarInt::from_u32(code.code()), b"");
    }

    /// A stream that counts as in use.
    pub(crate) fn stream(
        self: &Arc<Self>,
        send: quinn::SendStream,
        recv: quinn::RecvStream,
    ) -> LinkStream {
        let in_flight = InFlight::new(&self.streams);
        LinkStream::new(send, recv, in_flight, Arc::clone(self))
    }

    pub(crate) fn stats(&self) -> ConnectionStats {
        let stats = self.quic.stats();
        ConnectionStats {
            cluster: Arc::clone(&self.cluster),
            replica: Arc::clone(&self.replica),
            dialled: self.credentials.dialled_by_this_side(),
            carrier: self.carrier(),
            ping: self.round_trip(),
            rtt: stats.path.rtt,
            congestion_window: stats.path.cwnd,
            sent_packets: stats.path.sent_packets,
            lost_packets: stats.path.lost_packets,
            congestion_events: stats.path.congestion_events,
            black_holes: stats.path.black_holes_detected,
            mtu: stats.path.current_mtu,
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            streams: self.load(),
        }
    }

    /// By which way its packets go; nothing if TCP carries them.
    fn route(&self) -> Option<Route> {
        if self.tunnel.is_some() {
            return None;
        }
        let own = self.endpoint.local_addr().ok()?;
        Some(Route::new(own.port(), self.quic.remote_address()))
    }

    /// Keeps the control stream until the connection ends. From `expiry` on, when it is retired, or
    /// when this side drains, the peer is asked to open nothing new.
    pub(crate) async fn run_control(
        &self,
        mut control: ControlStream,
        mut hearing: Hearing,
        draining: CancellationToken,
        expiry: Instant,
        emit: impl Fn(ConnectionEvent),
    ) {
        let mut heartbeat = Heartbeat::new(Instant::now());
        let mut told_drain = false;
        let mut retired: Option<CloseCode> = None;
        let mut idle_beats = 0;
        let ended = loop {
            let timeout = match retired {
                Some(_) => heartbeat.poll_timeout(),
                None => heartbeat.poll_timeout().min(expiry),
            };
            let step = tokio::select! {
                // The end of the connection explains the errors of its streams.
                biased;
                error = self.quic.closed() => break Ended::from(&error),
                why = tunnel::lost(self.tunnel.as_deref()) => {
                    // Nobody hears it, but the streams end at once.
                    self.quic.close(VarInt::from_u32(CloseCode::Unresponsive.code()), b"");
                    break Ended::with_tunnel(why);
                }
                () = self.retired.cancelled(), if retired.is_none() => {
                    retired = Some(CloseCode::Superseded);
                    self.go_away(&emit);
                    write(&mut control.send, Control::GoAway).await
                }
                () = draining.cancelled(), if !told_drain => {
                    told_drain = true;
                    write(&mut control.send, Control::GoAway).await
                }
                Ok(lost) = hearing.recv() => {
                    if Some(lost) == self.route() {
                        self.suspect();
                        heartbeat.handle_unreachable(Instant::now(), self.received(), self.patience());
                    }
                    Ok(())
                }
                frame = control.frames.next(&mut control.recv) => {
                    self.handle_frame(frame, &mut control.send, &mut heartbeat, &emit).await
                }
                () = tokio::time::sleep_until(timeout.into()) => {
                    let now = Instant::now();
                    self.suspect.store(heartbeat.is_suspect(now), Ordering::Relaxed);
                    if now >= expiry && retired.is_none() {
                        retired = Some(CloseCode::Expired);
                        self.go_away(&emit);
                        write(&mut control.send, Control::GoAway).await
                    } else {
                        idle_beats = match self.load() {
                            0 if retired.is_some() => idle_beats + 1,
                            _ => 0,
                        };
                        if let Some(code) = retired
                            && idle_beats > IDLE_BEATS
                        {
                            self.close(code);
                        }
                        let beat = heartbeat.handle_timeout(now, self.received());
                        obey(&mut control.send, beat).await
                    }
                }
            };
            if let Err(error) = step {
                tracing::debug!(cluster = %self.cluster, replica = %self.replica, %error, "control stream");
                if let ControlError::Unreachable = error {
                    self.quic
                        .close(VarInt::from_u32(error.close_code().code()), b"");
                    break Ended::unreachable();
                }
                self.close(error.close_code());
                break Ended::from(&self.quic.closed().await);
            }
        };
        emit(ConnectionEvent::Ended(self.explain(ended)));
    }

    async fn handle_frame(
        &self,
        frame: Result<Option<bytes::Bytes>, FrameError>,
        send: &mut SendHalf,
        heartbeat: &mut Heartbeat,
        emit: &impl Fn(ConnectionEvent),
    ) -> Result<(), ControlError> {
        let content = frame?.ok_or(ControlError::Finished)?;
        match Control::decode(content)? {
            Control::Ping(seq) => write(send, Control::Pong(seq)).await?,
            Control::Pong(seq) => {
                if let Some(rtt) = heartbeat.handle_pong(Instant::now(), seq) {
                    self.suspect.store(false, Ordering::Relaxed);
                    let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
                    self.ping.store(micros.max(1), Ordering::Relaxed);
                }
            }
            Control::GoAway => self.go_away(emit),
        }
        Ok(())
    }

    /// A peer may say it as often as it likes; it is told once.
    fn go_away(&self, emit: &impl Fn(ConnectionEvent)) {
        if !self.going_away.swap(true, Ordering::Relaxed) {
            emit(ConnectionEvent::GoingAway);
        }
    }

    fn explain(&self, ended: Ended) -> Ended {
        match self.closed_with.get() {
            Some(code) if ended.by_peer.is_none() => Ended {
                reason: code.as_str(),
                message: format!("closed by this side: {code}"),
                ..ended
            },
            _ => ended,
        }
    }
}

// === impl ControlError ===

impl ControlError {
    fn close_code(&self) -> CloseCode {
        match self {
            Self::Finished | Self::Frame(_) | Self::Decode(_) | Self::Write(_) => {
                CloseCode::Malformed
            }
            Self::Unanswered | Self::Unreachable | Self::Stuck => CloseCode::Unresponsive,
        }
    }
}

async fn obey(send: &mut SendHalf, beat: Beat) -> Result<(), ControlError> {
    match beat {
        Beat::Ping(seq) => write(send, Control::Ping(seq)).await,
        Beat::Dead => Err(ControlError::Unanswered),
        Beat::Unreachable => Err(ControlError::Unreachable),
        Beat::NotDue => Ok(()),
    }
}

async fn write(send: &mut SendHalf, message: Control) -> Result<(), ControlError> {
    match tokio::time::timeout(CONTROL_WRITE, send.write_chunk(message.encode())).await {
        Ok(written) => Ok(written?),
        Err(_) => Err(ControlError::Stuck),
    }
}
