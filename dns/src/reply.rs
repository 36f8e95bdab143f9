//! A request in, all parts of the response out: what the zone does not say of a DNS message.

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{RData, Record};
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::zone_handler::{MessageRequest, MessageResponse, MessageResponseBuilder};
use tombolo_dns_zone::wire::{
    InvalidCookie, MAX_UDP_PAYLOAD, MIN_UDP_PAYLOAD, ServerCookie, client_cookie,
};
use tombolo_dns_zone::{Question, Snapshot};

use crate::chain::Response;
use crate::metrics::Transport;

const HEADER_OCTETS: usize = 12;
/// Most answers are no longer.
const TYPICAL_OCTETS: usize = 512;
/// An OPT record without options.
const OPT_OCTETS: u16 = 11;
/// A COOKIE option with both halves.
const COOKIE_OPTION_OCTETS: u16 = 28;
/// Type, class, TTL and length of a record, and the octet that ends its name.
const RECORD_OVERHEAD: usize = 11;

/// A response, but for the question, which is repeated as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) metadata: Metadata,
    pub(crate) edns: Option<Edns>,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
}

// === impl Reply ===

impl Reply {
    /// The response to `request`, cut to what the client can take. `cookie` makes the server's half
    /// of one.
    pub(crate) fn to(
        request: &MessageRequest,
        snapshot: &Snapshot,
        rotation: usize,
        transport: Transport,
        cookie: impl Fn([u8; 8]) -> ServerCookie,
    ) -> Self {
        let mut reply = Self {
            metadata: Metadata::response_from_request(&request.metadata),
            edns: request.edns.as_ref().map(edns_for),
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
        };
        reply.metadata.response_code = match request.edns.as_ref().map_or(Ok(None), cookie_of) {
            Ok(of_client) => {
                if let (Some(client), Some(edns)) = (of_client, &mut reply.edns) {
                    let both = [client.as_slice(), &cookie(client)].concat();
                    let option = EdnsOption::Unknown(EdnsCode::Cookie.into(), both);
                    edns.options_mut().insert(option);
                }
                reply.fill(request, snapshot, rotation)
            }
            Err(_) => ResponseCode::FormErr,
        };
        reply.fit(request.queries.as_bytes(), transport);
        reply
    }

    /// `response` as the answer to `request`, cut in the same way.
    pub(crate) fn with(request: &MessageRequest, response: Response, transport: Transport) -> Self {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = response.code;
        metadata.authoritative = response.authoritative;
        metadata.recursion_available = response.recursion_available;
        metadata.authentic_data = response.authentic_data;
        let mut reply = Self {
            metadata,
            edns: request.edns.as_ref().map(edns_for),
            answers: response.answers,
            authorities: response.authorities,
            additionals: response.additionals,
        };
        reply.fit(request.queries.as_bytes(), transport);
        reply.metadata.truncation |= response.truncated;
        reply
    }

    /// The whole message, with the questions of `request`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn encode(
        &self,
        request: &MessageRequest,
        transport: Transport,
    ) -> Result<Vec<u8>, ProtoError> {
        let mut octets = Vec::with_capacity(TYPICAL_OCTETS);
        let mut encoder = BinEncoder::new(&mut octets);
        encoder.set_max_size(self.limit(transport));
        self.message(request).destructive_emit(&mut encoder)?;
        Ok(octets)
    }

    /// As hickory's server takes it.
    pub(crate) fn message<'a>(
        &'a self,
        request: &'a MessageRequest,
    ) -> MessageResponse<
        'a,
        'a,
        impl Iterator<Item = &'a Record> + Send + 'a,
        impl Iterator<Item = &'a Record> + Send + 'a,
        impl Iterator<Item = &'a Record> + Send + 'a,
        impl Iterator<Item = &'a Record> + Send + 'a,
    > {
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &self.edns {
            builder.edns(edns);
        }
        builder.build(
            self.metadata,
            &self.answers,
            &[],
            &self.authorities,
            &self.additionals,
        )
    }

    fn fill(
        &mut self,
        request: &MessageRequest,
        snapshot: &Snapshot,
        rotation: usize,
    ) -> ResponseCode {
        if let Err(code) = is_query(request) {
            return code;
        }
        // RFC 9619: exactly one, or none with a cookie to learn the server's half (RFC 7873, 5.4).
        let [question] = request.queries.queries() else {
            let cookie_only = request.queries.queries().is_empty() && self.has_cookie();
            return if cookie_only {
                ResponseCode::NoError
            } else {
                ResponseCode::FormErr
            };
        };
        let question = Question {
            name: question.original().name(),
            record_type: question.query_type(),
            class: question.query_class(),
        };
        let answer = snapshot.answer(&question, rotation);
        self.metadata.authoritative = answer.authoritative;
        self.answers = answer.answers;
        self.authorities = answer.authorities;
        self.additionals = answer.additionals;
        answer.code
    }

    /// How many octets the client can take.
    fn limit(&self, transport: Transport) -> u16 {
        match (transport, &self.edns) {
            (Transport::Udp, Some(edns)) => edns.max_payload(),
            (Transport::Udp, None) => MIN_UDP_PAYLOAD,
            (Transport::Tcp | Transport::Tls | Transport::Quic | Transport::Https, _) => u16::MAX,
        }
    }

    fn has_cookie(&self) -> bool {
        let edns = self.edns.as_ref();
        edns.is_some_and(|edns| edns.option(EdnsCode::Cookie).is_some())
    }

    /// Leaves out additional records that do not fit, which needs no telling (RFC 2181, section 9),
    /// and answers that do not, which the TC bit tells. Room is kept for OPT, which must be there.
    fn fit(&mut self, questions: &[u8], transport: Transport) {
        let limit = self.limit(transport);
        let limit = limit - if self.edns.is_some() { OPT_OCTETS } else { 0 };
        let limit = limit
            - if self.has_cookie() {
                COOKIE_OPTION_OCTETS
            } else {
                0
            };
        let sections = [&self.answers, &self.authorities, &self.additionals];
        let at_most: usize = sections.into_iter().flatten().map(octets_at_most).sum();
        if HEADER_OCTETS + questions.len() + at_most <= limit.into() {
            return;
        }
        let mut message = Vec::with_capacity(limit.into());
        let mut encoder = BinEncoder::new(&mut message);
        encoder.set_max_size(limit);
        let begun = encoder
            .emit_vec(&[0; HEADER_OCTETS])
            .and_then(|()| encoder.emit_vec(questions));
        let fitting = |encoder: &mut BinEncoder<'_>, records: &[Record]| {
            count(encoder.emit_all(records.iter()))
        };
        let answers = if begun.is_ok() {
            fitting(&mut encoder, &self.answers)
        } else {
            0
        };
        if answers < self.answers.len() {
            self.answers.truncate(answers);
            self.authorities.clear();
            self.additionals.clear();
            self.metadata.truncation = true;
            return;
        }
        let authorities = fitting(&mut encoder, &self.authorities);
        self.metadata.truncation = authorities < self.authorities.len();
        self.authorities.truncate(authorities);
        let additionals = fitting(&mut encoder, &self.additionals);
        self.additionals.truncate(additionals);
    }
}

/// Whether a request asks in a way that is understood; else the code that says so.
pub(crate) fn is_query(request: &MessageRequest) -> Result<(), ResponseCode> {
    if request.metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    if request.version() > 0 {
        return Err(ResponseCode::BADVERS);
    }
    Ok(())
}

/// The client's half of its cookie, if it sent one.
fn cookie_of(edns: &Edns) -> Result<Option<[u8; 8]>, InvalidCookie> {
    match edns.option(EdnsCode::Cookie) {
        Some(EdnsOption::Unknown(_, data)) => client_cookie(data).map(Some),
        Some(_) | None => Ok(None),
    }
}

/// How many records were written.
fn count(written: Result<usize, ProtoError>) -> usize {
    match written {
        Ok(count) => count,
        Err(ProtoError::NotAllRecordsWritten { count, .. }) => count,
        Err(_) => 0,
    }
}

/// The size is that of the message which carries it, too: hickory cuts the message to it.
fn edns_for(request: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(
        request
            .max_payload()
            .clamp(MIN_UDP_PAYLOAD, MAX_UDP_PAYLOAD),
    );
    // RFC 3225: copied, though there is nothing signed here.
    edns.set_dnssec_ok(request.flags().dnssec_ok);
    edns
}

/// A bound on the record's octets without compression.
// Types that are answered rarely may be bounded roughly.
#[allow(clippy::wildcard_enum_match_arm)]
fn octets_at_most(record: &Record) -> usize {
    let data = match &record.data {
        RData::A(_) => 4,
        RData::AAAA(_) => 16,
        RData::SRV(srv) => 6 + srv.target.len() + 1,
        RData::SOA(soa) => 20 + soa.mname.len() + 1 + soa.rname.len() + 1,
        _ => 512,
    };
    record.name.len() + RECORD_OVERHEAD + data
}
