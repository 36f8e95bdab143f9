//! What CoreDNS tells its metrics apart by.

use std::borrow::Cow;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use crate::metrics::QuestionType;

/// Text that is shared by many labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Text(pub(super) Arc<str>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ChainLabels {
    pub(super) server: Text,
    pub(super) zone: Text,
    pub(super) view: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) server: Text,
    pub(super) zone: Text,
    pub(super) view: &'static str,
    pub(super) proto: &'static str,
    pub(super) family: &'static str,
    pub(super) r#type: QuestionType,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SizeLabels {
    pub(super) server: Text,
    pub(super) zone: Text,
    pub(super) view: &'static str,
    pub(super) proto: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResponseLabels {
    pub(super) server: Text,
    pub(super) zone: Text,
    pub(super) view: &'static str,
    pub(super) rcode: Cow<'static, str>,
    pub(super) plugin: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PluginLabels {
    pub(super) server: Text,
    pub(super) zone: Text,
    pub(super) view: &'static str,
    pub(super) name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CacheLabels {
    pub(super) server: Text,
    pub(super) zones: Text,
    pub(super) view: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabels {
    pub(super) server: Text,
    pub(super) r#type: &'static str,
    pub(super) zones: Text,
    pub(super) view: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct UpstreamLabels {
    pub(super) proxy_name: &'static str,
    pub(super) to: Text,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct UpstreamRcodeLabels {
    pub(super) proxy_name: &'static str,
    pub(super) to: Text,
    pub(super) rcode: Cow<'static, str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ConnectionLabels {
    pub(super) proxy_name: &'static str,
    pub(super) to: Text,
    pub(super) proto: &'static str,
}

// === impl Text ===

impl EncodeLabelValue for Text {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&&*self.0, encoder)
    }
}
