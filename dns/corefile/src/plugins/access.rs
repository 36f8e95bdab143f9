//! `acl [ZONES...] { ACTION [type TYPE...] [net NETWORK...] }`.

use std::net::IpAddr;
use std::str::FromStr;

use hickory_proto::rr::{Name, RecordType};
use ipnet::IpNet;

use crate::arguments::{Arguments, Directive, Line};
use crate::error::Error;
use crate::values;

const ACTIONS: [&str; 4] = ["allow", "block", "filter", "drop"];

/// An access list; the first rule that fits decides, and none lets the question through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// For which names.
    pub zones: Vec<Name>,
    /// In their order.
    pub rules: Vec<AclRule>,
}

/// A line of an access list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclRule {
    /// What is done.
    pub action: AclAction,
    /// For which types; none: all.
    pub types: Vec<RecordType>,
    /// For which clients; none: all.
    pub networks: Vec<IpNet>,
}

/// What is done with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclAction {
    /// It is answered.
    Allow,
    /// REFUSED.
    Block,
    /// NOERROR without records.
    Filter,
    /// No answer at all.
    Drop,
}

// === impl Acl ===

impl Acl {
    pub(super) fn new(directive: &Directive, block: &[Name]) -> Result<Self, Error> {
        let zones = values::zones_or(&directive.line.arguments, block)?;
        let rules = directive
            .options
            .iter()
            .map(|line| AclRule::new(directive, line));
        Ok(Self {
            zones,
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    /// What is to be done with a question of a client.
    #[must_use]
    pub fn action(&self, name: &Name, record_type: RecordType, client: IpAddr) -> AclAction {
        if !self.zones.iter().any(|zone| zone.zone_of(name)) {
            return AclAction::Allow;
        }
        // A client of a socket for both families.
        let client = client.to_canonical();
        let rule = self.rules.iter().find(|rule| {
            (rule.types.is_empty() || rule.types.contains(&record_type))
                && (rule.networks.is_empty()
                    || rule
                        .networks
                        .iter()
                        .any(|network| network.contains(&client)))
        });
        rule.map_or(AclAction::Allow, |rule| rule.action)
    }
}

// === impl AclRule ===

impl AclRule {
    fn new(directive: &Directive, line: &Line) -> Result<Self, Error> {
        let action = match line.name.text.as_str() {
            "allow" => AclAction::Allow,
            "block" => AclAction::Block,
            "filter" => AclAction::Filter,
            "drop" => AclAction::Drop,
            _ => return Err(directive.unknown(line, &ACTIONS)),
        };
        let mut rule = Self {
            action,
            types: Vec::new(),
            networks: Vec::new(),
        };
        let mut arguments = line.arguments();
        while let Some(word) = arguments.next() {
            match word.text.as_str() {
                "type" => {
                    let types = several(&mut arguments, "a record type, like A", |text| {
                        RecordType::from_str(&text.to_ascii_uppercase()).ok()
                    })?;
                    // `ANY` and `*` are every type.
                    rule.types = if types.contains(&RecordType::ANY) {
                        Vec::new()
                    } else {
                        types
                    };
                }
                "net" => {
                    let networks = several(&mut arguments, "a network, like 10.0.0.0/8", network)?;
                    rule.networks.extend(networks.into_iter().flatten());
                }
                _ => return Err(word.is_not("type or net")),
            }
        }
        Ok(rule)
    }
}

/// Up to the next keyword.
fn several<T>(
    arguments: &mut Arguments<'_>,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Error> {
    let mut values = vec![arguments.value(expected, &parse)?];
    while let Some(word) = arguments.next_if(|text| text != "type" && text != "net") {
        values.push(word.value(expected, &parse)?);
    }
    Ok(values)
}

/// `*` is every client, of both families.
fn network(text: &str) -> Option<Vec<IpNet>> {
    if text == "*" {
        return Some(vec!["0.0.0.0/0".parse().ok()?, "::/0".parse().ok()?]);
    }
    let network: Option<IpNet> = text.parse().ok();
    let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.map(|network| vec![network])
}
