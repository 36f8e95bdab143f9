//! Who is at the other end of a connection.

use bytes::Bytes;
use prost::Message;
use tombolo_catalog::{is_dns_label, is_dns_subdomain};

use crate::error::DecodeError;
use crate::frame::frame;
use crate::proto;

/// The version of the messages that this program speaks.
pub const PROTOCOL_VERSION: u32 = 1;
/// The oldest version of the messages that it still understands.
pub const OLDEST_PROTOCOL_VERSION: u32 = 1;
/// The version of the rules by which exports merge into an import.
pub const MERGE_VERSION: u32 = 1;

/// The first message on the control stream, in both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The version of the messages that the sender speaks.
    pub protocol_version: u32,
    /// The version of the rules by which it merges exports.
    pub merge_version: u32,
    /// The clusterset that it belongs to.
    pub clusterset: String,
    /// Its cluster. Its certificate must name the same.
    pub cluster: String,
    /// The gateway replica: its Pod's name.
    pub replica: String,
    /// How many gateway replicas its cluster has, itself included; 0 if it does not know.
    pub siblings: u32,
    /// The UID of its cluster's namespace `kube-system`: tells a rebuilt cluster from the one
    /// before. Empty if it does not know.
    pub incarnation: String,
}

impl Hello {
    /// The message in its frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        frame(&proto::Hello {
            protocol_version: self.protocol_version,
            merge_version: self.merge_version,
            clusterset: self.clusterset.clone(),
            cluster: self.cluster.clone(),
            replica: self.replica.clone(),
            siblings: self.siblings,
            incarnation: self.incarnation.clone(),
        })
    }

    /// Reads the content of a frame.
    ///
    /// # Errors
    /// When it is no `Hello`, or a name in it is none.
    pub fn decode(content: Bytes) -> Result<Self, DecodeError> {
        let hello = proto::Hello::decode(content)?;
        if !is_dns_subdomain(&hello.clusterset) {
            return Err(DecodeError::field("clusterset", hello.clusterset));
        }
        if !is_dns_label(&hello.cluster) {
            return Err(DecodeError::field("cluster", hello.cluster));
        }
        if !is_dns_subdomain(&hello.replica) {
            return Err(DecodeError::field("replica", hello.replica));
        }
        if hello.incarnation.len() > 64 || !hello.incarnation.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(DecodeError::field("incarnation", hello.incarnation));
        }
        Ok(Self {
            protocol_version: hello.protocol_version,
            merge_version: hello.merge_version,
            clusterset: hello.clusterset,
            cluster: hello.cluster,
            replica: hello.replica,
            siblings: hello.siblings,
            incarnation: hello.incarnation,
        })
    }
}
