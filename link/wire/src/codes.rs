//! The numbers with which connections are closed and streams are reset.

use std::fmt;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A code of a later version.
            Unknown(u32),
        }

        impl $name {
            /// The number that is sent.
            #[must_use]
            pub fn code(self) -> u32 {
                match self {
                    $(Self::$variant => $code,)+
                    Self::Unknown(code) => code,
                }
            }

            /// A stable word for it, for metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                    Self::Unknown(_) => "Unknown",
                }
            }
        }

        impl From<u64> for $name {
            fn from(code: u64) -> Self {
                match code {
                    $($code => Self::$variant,)+
                    _ => Self::Unknown(u32::try_from(code).unwrap_or(u32::MAX)),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Unknown(code) => write!(f, "Unknown({code})"),
                    _ => f.write_str(self.as_str()),
                }
            }
        }
    };
}

codes! {
    /// Why a connection was closed.
    CloseCode {
        /// The gateway stops.
        Shutdown = 1,
        /// The dialler has a connection to this replica already and looks for another one.
        Duplicate = 2,
        /// The gateway is about to stop and takes no new connection.
        Draining = 3,
        /// The cluster is no peer any longer.
        PeerRemoved = 4,
        /// The certificate does not chain to the peer's present CA bundle.
        TrustChanged = 5,
        /// The versions have no messages in common.
        VersionMismatch = 6,
        /// What the Hello says is not what the certificate says.
        IdentityMismatch = 7,
        /// The Hello did not come in time.
        HelloTimeout = 8,
        /// The pings were not answered.
        Unresponsive = 9,
        /// A message on the control stream was none.
        Malformed = 10,
        /// The peer has more connections than it needs; this was the oldest.
        Superseded = 11,
        /// The certificate with which the connection began has expired long ago.
        Expired = 12,
    }
}

codes! {
    /// Why a stream was reset, or its reader stopped.
    StreamCode {
        /// The TCP connection behind it was reset.
        TcpReset = 1,
        /// The sender or the reader went away without an end.
        Abandoned = 2,
        /// The first message was none.
        Malformed = 3,
        /// The first message did not come in time.
        Timeout = 4,
        /// There are too many streams.
        Overloaded = 5,
        /// The gateway stops.
        Shutdown = 6,
        /// The catalog's messages came in an order that makes no sense, or named what they must
        /// not.
        CatalogBroken = 7,
        /// There is a newer catalog stream in the same direction, or none is wanted any longer.
        Superseded = 8,
        /// The endpoint of a UDP flow takes no packets: another one may.
        EndpointGone = 12,
        /// A UDP flow is over: idle, or it made room for another.
        FlowOver = 13,
    }
}
