//! `health`, `ready`, `prometheus` and `reload`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::arguments::Directive;
use crate::error::Error;
use crate::values::{self, ADDRESS, DURATION};

/// As CoreDNS has them.
const HEALTH: &str = ":8080";
const READY: &str = ":8181";
const PROMETHEUS: &str = "localhost:9153";
const RELOAD: Duration = Duration::from_secs(30);
const MIN_RELOAD: Duration = Duration::from_secs(2);

/// `health [ADDRESS] { lameduck DURATION }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Where `/health` is.
    pub address: SocketAddr,
    /// How long the program goes on after it was told to stop.
    pub lameduck: Duration,
}

/// `reload [INTERVAL] [JITTER]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// How often.
    pub interval: Duration,
    /// Added or taken away at random, at most.
    pub jitter: Duration,
}

// === impl Health ===

impl Health {
    pub(super) fn new(directive: &Directive) -> Result<Self, Error> {
        let address = address(directive, HEALTH)?;
        let mut lameduck = Duration::ZERO;
        for line in &directive.options {
            match line.name.text.as_str() {
                "lameduck" => lameduck = line.one(DURATION, values::duration)?,
                _ => return Err(directive.unknown(line, &["lameduck"])),
            }
        }
        Ok(Self { address, lameduck })
    }
}

// === impl Reload ===

impl Reload {
    /// None if it is off.
    pub(super) fn new(directive: &Directive) -> Result<Option<Self>, Error> {
        directive.no_options()?;
        let mut arguments = directive.line.arguments();
        if arguments.next_if(|text| text == "off").is_some() {
            arguments.end()?;
            return Ok(None);
        }
        let long_enough = |text: &str| values::duration(text).filter(|time| *time >= MIN_RELOAD);
        let interval = arguments.optional("a duration of at least 2s, or off", long_enough)?;
        let interval = interval.unwrap_or(RELOAD);
        let half = interval / 2;
        let jitter = arguments.optional(DURATION, values::duration)?;
        arguments.end()?;
        Ok(Some(Self {
            interval,
            jitter: jitter.unwrap_or(half).min(half),
        }))
    }
}

/// `ready [ADDRESS]`.
pub(super) fn ready(directive: &Directive) -> Result<SocketAddr, Error> {
    directive.no_options()?;
    address(directive, READY)
}

/// `prometheus [ADDRESS]`.
pub(super) fn prometheus(directive: &Directive) -> Result<SocketAddr, Error> {
    directive.no_options()?;
    address(directive, PROMETHEUS)
}

fn address(directive: &Directive, default: &str) -> Result<SocketAddr, Error> {
    let mut arguments = directive.line.arguments();
    let address = arguments.optional(ADDRESS, values::listen)?;
    arguments.end()?;
    address
        .or_else(|| values::listen(default))
        .ok_or_else(|| directive.line.name.is_not(ADDRESS))
}
