//! `hosts [FILE [ZONES...]] { [INLINE]; … }`.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::rr::Name;

use crate::arguments::Directive;
use crate::error::Error;
use crate::values::{self, DURATION, SECONDS};

const OPTIONS: [&str; 5] = [
    "fallthrough",
    "no_reverse",
    "reload",
    "ttl",
    "an address with its names",
];
const DEFAULT_FILE: &str = "/etc/hosts";
const TTL: u32 = 3_600;
const RELOAD: Duration = Duration::from_secs(5);

/// Names with addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// Where they come from.
    pub source: HostsSource,
    /// In which zones; others are passed on.
    pub zones: Vec<Name>,
    /// Names of zones that are passed on if they are not there; none: none is.
    pub fallthrough: Vec<Name>,
    /// In seconds.
    pub ttl: u32,
    /// Whether addresses lead back to names.
    pub reverse: bool,
}

/// Where names come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostsSource {
    /// A file of the form of `/etc/hosts`, and how often it is looked at (zero: once).
    pub file: String,
    /// See `file`.
    pub reload: Duration,
    /// Written in the Corefile, besides the file.
    pub inline: Vec<(IpAddr, Vec<Name>)>,
}

// === impl Hosts ===

impl Hosts {
    pub(super) fn new(directive: &Directive, block: &[Name]) -> Result<Self, Error> {
        let mut arguments = directive.line.arguments();
        let file = arguments
            .next()
            .map_or(DEFAULT_FILE, |word| word.text.as_str());
        let mut hosts = Self {
            source: HostsSource {
                file: file.to_owned(),
                reload: RELOAD,
                inline: Vec::new(),
            },
            zones: values::zones_or(arguments.rest(), block)?,
            fallthrough: Vec::new(),
            ttl: TTL,
            reverse: true,
        };
        for line in &directive.options {
            match line.name.text.as_str() {
                "fallthrough" => hosts.fallthrough = values::zones_or_all(&line.arguments)?,
                "no_reverse" => {
                    line.no_arguments()?;
                    hosts.reverse = false;
                }
                "reload" => hosts.source.reload = line.one(DURATION, values::duration)?,
                "ttl" => hosts.ttl = line.one(SECONDS, values::ttl)?,
                text => {
                    let Some(address) = values::ip(text) else {
                        return Err(directive.unknown(line, &OPTIONS));
                    };
                    line.arguments().required("a name")?;
                    let names = line
                        .arguments
                        .iter()
                        .map(|word| word.value("a name", values::name));
                    let names = names.collect::<Result<_, _>>()?;
                    hosts.source.inline.push((address, names));
                }
            }
        }
        Ok(hosts)
    }
}
