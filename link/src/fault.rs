//! Why a connection ended, in words that metrics and people can use.

use quinn::ConnectionError;
use tombolo_link_wire::CloseCode;

use crate::status::LinkFault;

/// The QUIC transport error with which an endpoint refuses a connection (RFC 9000, 20.1).
const CONNECTION_REFUSED: u64 = 2;
/// QUIC transport errors of TLS alerts (RFC 9001, 4.8).
const CRYPTO_ERRORS: std::ops::Range<u64> = 0x100..0x200;

/// Why a connection ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// One of a bounded set of words.
    pub(crate) reason: &'static str,
    /// For people.
    pub(crate) message: String,
    /// With which code the peer closed it, if it did.
    pub(crate) by_peer: Option<CloseCode>,
    /// Whether the peer refused it before the handshake.
    pub(crate) refused: bool,
}

// === impl Ended ===

impl Ended {
    /// With the TCP connection that carried it.
    pub(crate) fn with_tunnel(why: &str) -> Self {
        Self {
            reason: "TunnelLost",
            message: why.to_owned(),
            by_peer: None,
            refused: false,
        }
    }

    /// The network said that nobody is there, and nobody answered.
    pub(crate) fn unreachable() -> Self {
        Self {
            reason: "Unreachable",
            message: "the network says that nobody is there any more".to_owned(),
            by_peer: None,
            refused: false,
        }
    }

    pub(crate) fn fault(&self) -> LinkFault {
        LinkFault {
            reason: self.reason,
            message: self.message.clone(),
        }
    }

    /// Whether the peer only takes no connections at this replica, at this time.
    pub(crate) fn turned_away(&self) -> bool {
        self.refused || self.by_peer == Some(CloseCode::Draining)
    }
}

impl From<&ConnectionError> for Ended {
    fn from(error: &ConnectionError) -> Self {
        let mut ended = Self {
            reason: "Transport",
            message: error.to_string(),
            by_peer: None,
            refused: false,
        };
        match error {
            ConnectionError::ApplicationClosed(close) => {
                let code = CloseCode::from(close.error_code.into_inner());
                ended.reason = code.as_str();
                ended.by_peer = Some(code);
                ended.message = match close.reason.is_empty() {
                    true => format!("closed by the peer: {code}"),
                    false => {
                        let text = String::from_utf8_lossy(&close.reason);
                        format!("closed by the peer: {code}: {}", excerpt(&text))
                    }
                };
            }
            ConnectionError::ConnectionClosed(close) => {
                let code = u64::from(close.error_code);
                let text = String::from_utf8_lossy(&close.reason);
                if code == CONNECTION_REFUSED {
                    ended.refused = true;
                    ended.reason = "Refused";
                    ended.message = "the gateway takes no connections now".to_owned();
                } else if CRYPTO_ERRORS.contains(&code) {
                    ended.reason = "RefusedByPeer";
                    ended.message = format!(
                        "the peer refused the TLS handshake (alert {}): {}",
                        code - CRYPTO_ERRORS.start,
                        excerpt(&text)
                    );
                }
            }
            ConnectionError::TransportError(error) => {
                if CRYPTO_ERRORS.contains(&u64::from(error.code)) {
                    ended.reason = "Tls";
                }
            }
            ConnectionError::TimedOut => {
                ended.reason = "TimedOut";
                ended.message = "no packet came for too long".to_owned();
            }
            ConnectionError::Reset => {
                ended.reason = "Restarted";
                ended.message = "the peer does not know the connection any longer".to_owned();
            }
            ConnectionError::LocallyClosed => {
                ended.reason = "ClosedHere";
                ended.message = "closed by this side".to_owned();
            }
            ConnectionError::VersionMismatch | ConnectionError::CidsExhausted => {}
        }
        ended
    }
}

fn excerpt(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}
