//! How the gateway's parts name a port of a service.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Transport protocol of a service port.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Protocol {
    /// The default of Kubernetes.
    #[default]
    Tcp,
    /// Carried as flows.
    Udp,
    /// Not carried.
    Sctp,
}

impl Protocol {
    /// Reads the word of the Kubernetes API, `None` for one that it does not know.
    #[must_use]
    pub fn from_api(word: &str) -> Option<Self> {
        match word {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }

    /// Whether it is carried between clusters.
    #[must_use]
    pub fn is_carried(self) -> bool {
        self.on_link().is_some()
    }

    /// As the link names it, if it is carried between clusters.
    #[must_use]
    pub fn on_link(self) -> Option<tombolo_link::Protocol> {
        match self {
            Self::Tcp => Some(tombolo_link::Protocol::Tcp),
            Self::Udp => Some(tombolo_link::Protocol::Udp),
            Self::Sctp => None,
        }
    }

    /// The word of the Kubernetes API.
    #[must_use]
    pub fn as_api(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_api())
    }
}

/// A port number of the API, which holds them as `i32`; `None` outside 1–65535.
#[must_use]
pub fn port_number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}
