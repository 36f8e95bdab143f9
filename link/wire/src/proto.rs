//! The messages as protobuf has them. Field numbers are for ever; a removed one is never used
//! again.

use std::collections::BTreeMap;

use prost::{Enumeration, Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Hello {
    #[prost(uint32, tag = "1")]
    pub(crate) protocol_version: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) merge_version: u32,
    #[prost(string, tag = "3")]
    pub(crate) clusterset: String,
    #[prost(string, tag = "4")]
    pub(crate) cluster: String,
    #[prost(string, tag = "5")]
    pub(crate) replica: String,
    #[prost(uint32, tag = "6")]
    pub(crate) siblings: u32,
    #[prost(string, tag = "7")]
    pub(crate) incarnation: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Control {
    #[prost(oneof = "ControlKind", tags = "1, 2, 3")]
    pub(crate) kind: Option<ControlKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum ControlKind {
    #[prost(message, tag = "1")]
    Ping(Sequence),
    #[prost(message, tag = "2")]
    Pong(Sequence),
    #[prost(message, tag = "3")]
    GoAway(Empty),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Sequence {
    #[prost(uint64, tag = "1")]
    pub(crate) seq: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Preface {
    #[prost(oneof = "PrefaceKind", tags = "1, 2, 10, 20")]
    pub(crate) kind: Option<PrefaceKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum PrefaceKind {
    #[prost(message, boxed, tag = "1")]
    Connect(Box<Connect>),
    #[prost(message, tag = "2")]
    Catalog(Empty),
    /// A `Connect` with an endpoint. A gateway that knew only `Connect` would skip the endpoint and
    /// dial any; this it refuses.
    #[prost(message, boxed, tag = "10")]
    ConnectEndpoint(Box<Connect>),
    #[prost(message, tag = "20")]
    Headcounts(Empty),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Connect {
    #[prost(string, tag = "1")]
    pub(crate) namespace: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(enumeration = "Protocol", tag = "3")]
    pub(crate) protocol: i32,
    #[prost(uint32, tag = "4")]
    pub(crate) port: u32,
    #[prost(message, optional, tag = "5")]
    pub(crate) source: Option<Source>,
    #[prost(string, repeated, tag = "6")]
    pub(crate) path: Vec<String>,
    #[prost(string, tag = "7")]
    pub(crate) traceparent: String,
    #[prost(string, optional, tag = "10")]
    pub(crate) endpoint: Option<String>,
    #[prost(btree_map = "string, string", tag = "20")]
    pub(crate) selector: BTreeMap<String, String>,
    #[prost(string, tag = "21")]
    pub(crate) zone: String,
    #[prost(bool, optional, tag = "22")]
    pub(crate) affinity: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(crate) enum Protocol {
    Unspecified = 0,
    Tcp = 1,
    Udp = 2,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Source {
    #[prost(string, tag = "1")]
    pub(crate) cluster: String,
    #[prost(string, tag = "2")]
    pub(crate) namespace: String,
    #[prost(string, tag = "3")]
    pub(crate) pod: String,
    #[prost(string, tag = "4")]
    pub(crate) service_account: String,
    #[prost(string, tag = "5")]
    pub(crate) address: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Answer {
    #[prost(oneof = "AnswerKind", tags = "1, 2")]
    pub(crate) kind: Option<AnswerKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum AnswerKind {
    #[prost(message, tag = "1")]
    Opened(Empty),
    #[prost(message, tag = "2")]
    Refused(Refused),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Refused {
    #[prost(enumeration = "RefusalReason", tag = "1")]
    pub(crate) reason: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(crate) enum RefusalReason {
    Other = 0,
    NotExported = 1,
    PortNotExported = 2,
    NoReadyEndpoint = 3,
    EndpointRefused = 4,
    DialFailed = 5,
    Loop = 6,
    Draining = 7,
    Overloaded = 8,
    Malformed = 9,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CatalogMessage {
    #[prost(oneof = "CatalogKind", tags = "1, 2, 3, 4")]
    pub(crate) kind: Option<CatalogKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum CatalogKind {
    #[prost(message, tag = "1")]
    SnapshotBegin(SnapshotBegin),
    #[prost(message, boxed, tag = "2")]
    Upsert(Box<Export>),
    #[prost(message, tag = "3")]
    SnapshotEnd(SnapshotEnd),
    #[prost(message, tag = "4")]
    Withdraw(Withdraw),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotBegin {
    #[prost(uint64, tag = "1")]
    pub(crate) revision: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotEnd {
    #[prost(uint64, tag = "1")]
    pub(crate) count: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Withdraw {
    #[prost(string, tag = "1")]
    pub(crate) namespace: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
}

/// Tag 15 is kept for the exporting operator's signature.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Export {
    #[prost(string, tag = "1")]
    pub(crate) cluster: String,
    #[prost(string, tag = "2")]
    pub(crate) namespace: String,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(int64, tag = "4")]
    pub(crate) created_seconds: i64,
    #[prost(int32, tag = "5")]
    pub(crate) created_nanos: i32,
    #[prost(enumeration = "ExportType", tag = "6")]
    pub(crate) type_: i32,
    #[prost(message, repeated, tag = "7")]
    pub(crate) ports: Vec<Port>,
    #[prost(string, optional, tag = "8")]
    pub(crate) session_affinity: Option<String>,
    #[prost(message, optional, tag = "9")]
    pub(crate) session_affinity_config: Option<SessionAffinityConfig>,
    #[prost(string, optional, tag = "10")]
    pub(crate) internal_traffic_policy: Option<String>,
    #[prost(string, optional, tag = "11")]
    pub(crate) traffic_distribution: Option<String>,
    #[prost(string, repeated, tag = "12")]
    pub(crate) ip_families: Vec<String>,
    #[prost(btree_map = "string, string", tag = "13")]
    pub(crate) labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "14")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[prost(bool, tag = "16")]
    pub(crate) ready: bool,
    #[prost(message, repeated, tag = "17")]
    pub(crate) endpoints: Vec<Endpoint>,
    #[prost(string, optional, tag = "20")]
    pub(crate) proxy_protocol: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Endpoint {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(bool, tag = "2")]
    pub(crate) ready: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(crate) enum ExportType {
    Unspecified = 0,
    ClusterSetIp = 1,
    Headless = 2,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Port {
    #[prost(string, optional, tag = "1")]
    pub(crate) name: Option<String>,
    #[prost(string, tag = "2")]
    pub(crate) protocol: String,
    #[prost(string, optional, tag = "3")]
    pub(crate) app_protocol: Option<String>,
    #[prost(int32, tag = "4")]
    pub(crate) port: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SessionAffinityConfig {
    #[prost(message, optional, tag = "1")]
    pub(crate) client_ip: Option<ClientIp>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ClientIp {
    #[prost(int32, optional, tag = "1")]
    pub(crate) timeout_seconds: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ServiceHeadcounts {
    #[prost(string, tag = "1")]
    pub(crate) namespace: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) places: Vec<PlaceHeadcount>,
    #[prost(bool, tag = "4")]
    pub(crate) withdrawn: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PlaceHeadcount {
    #[prost(string, tag = "1")]
    pub(crate) region: String,
    #[prost(string, tag = "2")]
    pub(crate) zone: String,
    #[prost(uint32, tag = "3")]
    pub(crate) ready: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) total: u32,
}
