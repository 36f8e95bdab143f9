//! A question, and what is answered to it, without the message around them.

use std::net::SocketAddr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use tombolo_dns_zone::Answer;

use crate::metrics::Transport;

/// Who knew an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plugin {
    Nobody,
    Cache,
    Hosts,
    Multicluster,
    Forward,
}

/// A question, and who asks it how.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) id: u16,
    /// In the case in which it was asked.
    pub(crate) name: Name,
    pub(crate) record_type: RecordType,
    pub(crate) class: DNSClass,
    pub(crate) client: SocketAddr,
    pub(crate) transport: Transport,
    pub(crate) recursion_desired: bool,
    pub(crate) checking_disabled: bool,
    pub(crate) authentic_data: bool,
    /// Of EDNS: the largest UDP message, and whether DNSSEC's records are wanted.
    pub(crate) edns: Option<(u16, bool)>,
    /// Of the whole message.
    pub(crate) octets: usize,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) code: ResponseCode,
    pub(crate) authoritative: bool,
    pub(crate) recursion_available: bool,
    pub(crate) authentic_data: bool,
    /// An upstream has cut it.
    pub(crate) truncated: bool,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
    /// Who knew it, for the metrics.
    pub(crate) plugin: Plugin,
    /// Why there is none.
    pub(crate) error: Option<String>,
}

/// What is counted and logged of an answer, of which its records are no part.
#[derive(Debug)]
pub(crate) struct Outline {
    pub(crate) code: ResponseCode,
    pub(crate) authoritative: bool,
    pub(crate) recursion_available: bool,
    pub(crate) authentic_data: bool,
    pub(crate) truncated: bool,
    pub(crate) has_answers: bool,
    pub(crate) plugin: Plugin,
    pub(crate) error: Option<String>,
}

// === impl Plugin ===

impl Plugin {
    pub(crate) const COUNT: usize = 5;

    /// As metrics call it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "",
            Self::Cache => "cache",
            Self::Hosts => "hosts",
            Self::Multicluster => "multicluster",
            Self::Forward => "forward",
        }
    }
}

// === impl Query ===

impl Query {
    pub(crate) fn wants_dnssec(&self) -> bool {
        self.edns.is_some_and(|(_, dnssec)| dnssec)
    }
}

// === impl Response ===

impl Response {
    pub(crate) fn of_code(code: ResponseCode) -> Self {
        Self {
            code,
            authoritative: false,
            recursion_available: false,
            authentic_data: false,
            truncated: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            plugin: Plugin::Nobody,
            error: None,
        }
    }

    /// Nothing but that there is an answer over TCP.
    pub(crate) fn cut(code: ResponseCode) -> Self {
        Self {
            truncated: true,
            ..Self::of_code(code)
        }
    }

    /// SERVFAIL, and why.
    pub(crate) fn error(error: String) -> Self {
        Self {
            error: Some(error),
            ..Self::of_code(ResponseCode::ServFail)
        }
    }

    pub(crate) fn with_error(mut self, error: String) -> Self {
        self.error = Some(error);
        self
    }

    /// Records of a hosts file, or that there are none.
    pub(crate) fn of_hosts(code: ResponseCode, answers: Vec<Record>) -> Self {
        Self {
            authoritative: true,
            answers,
            plugin: Plugin::Hosts,
            ..Self::of_code(code)
        }
    }

    pub(crate) fn outline(&self) -> Outline {
        Outline {
            code: self.code,
            authoritative: self.authoritative,
            recursion_available: self.recursion_available,
            authentic_data: self.authentic_data,
            truncated: self.truncated,
            has_answers: !self.answers.is_empty(),
            plugin: self.plugin,
            error: self.error.clone(),
        }
    }

    /// Puts another address first. Aliases stay before what they lead to.
    pub(crate) fn turn(&mut self, by: usize) {
        for section in [&mut self.answers, &mut self.additionals] {
            let mut start = 0;
            while start < section.len() {
                let record_type = section[start].record_type();
                let run = section[start..]
                    .iter()
                    .take_while(|record| record.record_type() == record_type);
                let end = start + run.count();
                if super::is_address(record_type) {
                    let run = &mut section[start..end];
                    run.rotate_left(by % run.len());
                }
                start = end;
            }
        }
    }

    pub(crate) fn all_records(&self) -> impl Iterator<Item = &Record> {
        self.answers
            .iter()
            .chain(&self.authorities)
            .chain(&self.additionals)
    }

    pub(crate) fn all_records_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        let sections = self.answers.iter_mut().chain(&mut self.authorities);
        sections.chain(&mut self.additionals)
    }
}

impl From<Answer> for Response {
    fn from(answer: Answer) -> Self {
        let Answer {
            code,
            authoritative,
            answers,
            authorities,
            additionals,
        } = answer;
        Self {
            authoritative,
            answers,
            authorities,
            additionals,
            plugin: Plugin::Multicluster,
            ..Self::of_code(code)
        }
    }
}

impl From<Message> for Response {
    fn from(message: Message) -> Self {
        let metadata = message.metadata;
        Self {
            code: metadata.response_code,
            authoritative: metadata.authoritative,
            recursion_available: metadata.recursion_available,
            authentic_data: metadata.authentic_data,
            truncated: metadata.truncation,
            answers: message.answers,
            authorities: message.authorities,
            additionals: message.additionals,
            plugin: Plugin::Forward,
            error: None,
        }
    }
}
