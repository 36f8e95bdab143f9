//! `log`: a line for each question, of CoreDNS's form.

use std::borrow::Cow;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tombolo_dns_corefile::plugins::{Log, LogClass};

use super::query::{Outline, Query};

/// The rules of a server block.
pub(super) struct Logs(Vec<Log>);

// === impl Logs ===

impl Logs {
    pub(super) fn new(rules: &[Log]) -> Self {
        Self(rules.to_vec())
    }

    pub(super) fn write(&self, query: &Query, response: &Outline, octets: usize, took: Duration) {
        let class = class(response);
        let fitting = self.0.iter().find(|rule| {
            rule.scope.zone_of(&query.name)
                && (rule.classes.is_empty() || rule.classes.contains(&class))
        });
        if let Some(rule) = fitting {
            tracing::info!(target: "tombolo_dns::log", "{}", line(&rule.format, query, response, octets, took));
        }
    }
}

// All other codes are errors.
#[allow(clippy::wildcard_enum_match_arm)]
fn class(response: &Outline) -> LogClass {
    match response.code {
        ResponseCode::NoError if !response.has_answers => LogClass::Denial,
        ResponseCode::NoError => LogClass::Success,
        ResponseCode::NXDomain => LogClass::Denial,
        _ => LogClass::Error,
    }
}

/// `format` with what it names in braces.
fn line(format: &str, query: &Query, response: &Outline, octets: usize, took: Duration) -> String {
    let mut line = String::with_capacity(format.len() * 2);
    let mut rest = format;
    while let Some(open) = rest.find('{') {
        let Some(length) = rest[open..].find('}') else {
            break;
        };
        line.push_str(&rest[..open]);
        let name = &rest[open..=open + length];
        match value(name, query, response, octets, took) {
            Some(value) => line.push_str(&value),
            None => line.push_str(name),
        }
        rest = &rest[open + length + 1..];
    }
    line.push_str(rest);
    line
}

fn value(
    name: &str,
    query: &Query,
    response: &Outline,
    octets: usize,
    took: Duration,
) -> Option<String> {
    Some(match name {
        "{remote}" => query.client.ip().to_canonical().to_string(),
        "{port}" => query.client.port().to_string(),
        "{>id}" => query.id.to_string(),
        "{type}" => query.record_type.to_string(),
        "{class}" => query.class.to_string(),
        "{name}" => query.name.to_ascii(),
        "{proto}" => query.transport.as_str().to_owned(),
        "{size}" => query.octets.to_string(),
        "{>do}" => query.wants_dnssec().to_string(),
        "{>bufsize}" => query.edns.map_or(512, |(octets, _)| octets).to_string(),
        "{>opcode}" => "0".to_owned(),
        "{rcode}" => code(response.code).into_owned(),
        "{>rflags}" => flags(query, response),
        "{rsize}" => octets.to_string(),
        "{duration}" => format!("{:.9}s", took.as_secs_f64()),
        _ => return None,
    })
}

/// The codes that have a name here, from 0 on.
pub(super) const NAMED_CODES: usize = 11;

/// As Go's DNS library spells it, by which people have written their alerts.
pub(super) fn code(code: ResponseCode) -> Cow<'static, str> {
    const NAMES: [&str; NAMED_CODES] = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET",
        "NXRRSET", "NOTAUTH", "NOTZONE",
    ];
    let number = u16::from(code);
    NAMES
        .get(usize::from(number))
        .map_or_else(|| number.to_string().into(), |&name| name.into())
}

fn flags(query: &Query, response: &Outline) -> String {
    let flags = [
        ("qr", true),
        ("aa", response.authoritative),
        ("tc", response.truncated),
        ("rd", query.recursion_desired),
        ("ra", response.recursion_available),
        ("ad", response.authentic_data),
        ("cd", query.checking_disabled),
    ];
    let set: Vec<&str> = flags
        .into_iter()
        .filter(|(_, is_set)| *is_set)
        .map(|(name, _)| name)
        .collect();
    set.join(",")
}
