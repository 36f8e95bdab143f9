//! `rrl { … }`: response rate limiting.

use std::time::Duration;

use crate::arguments::{Directive, Line};
use crate::error::Error;
use crate::values;

const OPTIONS: [&str; 8] = [
    "window",
    "ipv4-prefix-length",
    "ipv6-prefix-length",
    "responses-per-second",
    "nxdomains-per-second",
    "errors-per-second",
    "slip-ratio",
    "max-table-size",
];

/// How often the same is answered to clients of one network over UDP, whose addresses may be
/// forged. As CoreDNS's external plugin `rrl` and BIND have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// For how long what was answered is held against a network at most.
    pub window: Duration,
    /// Clients of one network are one client.
    pub ipv4_prefix: u8,
    /// See `ipv4_prefix`.
    pub ipv6_prefix: u8,
    /// Answers of one name; 0: no bound.
    pub responses_per_second: u32,
    /// Denials of one zone; 0: no bound.
    pub nxdomains_per_second: u32,
    /// Errors; 0: no bound.
    pub errors_per_second: u32,
    /// Each so-manieth answer that is withheld is sent truncated, so that who is not forged comes
    /// back over TCP; 0: none is.
    pub slip_ratio: u32,
    /// Networks and names that are remembered at most.
    pub max_table_size: usize,
}

// === impl RateLimit ===

impl RateLimit {
    pub(super) fn new(directive: &Directive) -> Result<Self, Error> {
        directive.line.no_arguments()?;
        let mut limit = Self {
            window: Duration::from_secs(15),
            ipv4_prefix: 24,
            ipv6_prefix: 56,
            responses_per_second: 0,
            nxdomains_per_second: 0,
            errors_per_second: 0,
            slip_ratio: 2,
            max_table_size: 100_000,
        };
        let mut nxdomains = None;
        let mut errors = None;
        for line in &directive.options {
            match line.name.text.as_str() {
                "window" => {
                    let within = |text: &str| {
                        let window = values::duration_or_seconds(text)?;
                        (Duration::from_secs(1)..=Duration::from_secs(3_600))
                            .contains(&window)
                            .then_some(window)
                    };
                    limit.window = line.one("1 to 3600 seconds", within)?;
                }
                "ipv4-prefix-length" => limit.ipv4_prefix = length(line, 32)?,
                "ipv6-prefix-length" => limit.ipv6_prefix = length(line, 128)?,
                "responses-per-second" => limit.responses_per_second = number(line)?,
                "nxdomains-per-second" => nxdomains = Some(number(line)?),
                "errors-per-second" => errors = Some(number(line)?),
                "slip-ratio" => {
                    let within = |text: &str| text.parse().ok().filter(|ratio| *ratio <= 10);
                    limit.slip_ratio = line.one("a number from 0 to 10", within)?;
                }
                "max-table-size" => {
                    let within = |text: &str| {
                        text.parse()
                            .ok()
                            .filter(|size| (1..=10_000_000).contains(size))
                    };
                    limit.max_table_size = line.one("a number from 1 to 10000000", within)?;
                }
                _ => return Err(directive.unknown(line, &OPTIONS)),
            }
        }
        limit.nxdomains_per_second = nxdomains.unwrap_or(limit.responses_per_second);
        limit.errors_per_second = errors.unwrap_or(limit.responses_per_second);
        Ok(limit)
    }
}

fn length(line: &Line, most: u8) -> Result<u8, Error> {
    line.one("a length of a network", |text| {
        text.parse()
            .ok()
            .filter(|length| (1..=most).contains(length))
    })
}

fn number(line: &Line) -> Result<u32, Error> {
    line.one(values::NUMBER, |text| {
        text.parse().ok().filter(|number| *number <= 1_000_000)
    })
}
