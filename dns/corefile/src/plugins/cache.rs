//! `cache [TTL] [ZONES...] { … }`.

use std::time::Duration;

use hickory_proto::rr::Name;

use crate::arguments::{Directive, Line};
use crate::error::Error;
use crate::values::{self, DURATION, NUMBER, SECONDS};

const OPTIONS: [&str; 7] = [
    "success",
    "denial",
    "prefetch",
    "serve_stale",
    "servfail",
    "disable",
    "keepttl",
];
/// As CoreDNS has them.
const CAPACITY: usize = 9_984;
const MAX_SUCCESS_TTL: u32 = 3_600;
const MAX_DENIAL_TTL: u32 = 1_800;
const MIN_TTL: u32 = 5;
const SERVFAIL: Duration = Duration::from_secs(5);
const MAX_SERVFAIL: Duration = Duration::from_secs(300);
const PREFETCH_DURATION: Duration = Duration::from_secs(60);
const PREFETCH_PERCENTAGE: u8 = 10;
const STALE: Duration = Duration::from_secs(3_600);
/// A slot costs memory before there is anything in it.
const MAX_CAPACITY: usize = 10_000_000;

/// Which answers are kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// For which names.
    pub zones: Vec<Name>,
    /// Answers with records.
    pub success: CacheKind,
    /// Answers that there are none.
    pub denial: CacheKind,
    /// Which answers are fetched again before they expire.
    pub prefetch: Option<Prefetch>,
    /// Whether an answer that expired is given while there is no better one.
    pub serve_stale: Option<ServeStale>,
    /// How long it is kept that no answer could be had.
    pub servfail: Duration,
    /// Whether an answer's TTL is given as it came, and not what is left of it.
    pub keep_ttl: bool,
}

/// Of one kind of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheKind {
    /// How many are kept.
    pub capacity: usize,
    /// The longest, in seconds.
    pub max_ttl: u32,
    /// The shortest, in seconds.
    pub min_ttl: u32,
    /// The zones whose answers are not kept.
    pub disabled: Vec<Name>,
}

/// Which answers are fetched again before they expire: those that were asked for so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefetch {
    /// Questions.
    pub amount: u32,
    /// Within this time.
    pub duration: Duration,
    /// When so much of their TTL is left.
    pub percentage: u8,
}

/// Whether an answer that expired is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeStale {
    /// For so long.
    pub duration: Duration,
    /// Whether a better answer is asked for first.
    pub verify: bool,
}

// === impl Cache ===

impl Cache {
    pub(super) fn new(directive: &Directive, block: &[Name]) -> Result<Self, Error> {
        let mut arguments = directive.line.arguments();
        let is_number = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
        let ttl = match arguments.next_if(is_number) {
            Some(word) => Some(word.value(SECONDS, values::ttl)?),
            None => None,
        };
        let kind = |max_ttl: u32| CacheKind {
            capacity: CAPACITY,
            max_ttl: ttl.unwrap_or(max_ttl),
            min_ttl: MIN_TTL,
            disabled: Vec::new(),
        };
        let mut cache = Self {
            zones: values::zones_or(arguments.rest(), block)?,
            success: kind(MAX_SUCCESS_TTL),
            denial: kind(MAX_DENIAL_TTL),
            prefetch: None,
            serve_stale: None,
            servfail: SERVFAIL,
            keep_ttl: false,
        };
        for line in &directive.options {
            cache.option(directive, line)?;
        }
        for kind in [&mut cache.success, &mut cache.denial] {
            kind.min_ttl = kind.min_ttl.min(kind.max_ttl);
        }
        Ok(cache)
    }

    fn option(&mut self, directive: &Directive, line: &Line) -> Result<(), Error> {
        match line.name.text.as_str() {
            "success" => self.success.size(line),
            "denial" => self.denial.size(line),
            "prefetch" => {
                self.prefetch = Prefetch::new(line)?;
                Ok(())
            }
            "serve_stale" => {
                self.serve_stale = Some(ServeStale::new(line)?);
                Ok(())
            }
            "servfail" => {
                let within =
                    |text: &str| values::duration(text).filter(|time| *time <= MAX_SERVFAIL);
                self.servfail = line.one("a duration of at most 5m", within)?;
                Ok(())
            }
            "disable" => {
                let mut arguments = line.arguments();
                let what = arguments.required("success or denial")?;
                let kind = match what.text.as_str() {
                    "success" => &mut self.success,
                    "denial" => &mut self.denial,
                    _ => return Err(what.is_not("success or denial")),
                };
                kind.disabled
                    .append(&mut values::zones_or_all(arguments.rest())?);
                Ok(())
            }
            "keepttl" => {
                line.no_arguments()?;
                self.keep_ttl = true;
                Ok(())
            }
            _ => Err(directive.unknown(line, &OPTIONS)),
        }
    }
}

// === impl CacheKind ===

impl CacheKind {
    /// `CAPACITY [TTL] [MINIMUM]`.
    fn size(&mut self, line: &Line) -> Result<(), Error> {
        let mut arguments = line.arguments();
        let in_bounds = |text: &str| {
            text.parse()
                .ok()
                .filter(|capacity| *capacity <= MAX_CAPACITY)
        };
        self.capacity = arguments.value("a capacity of at most 10000000", in_bounds)?;
        if let Some(ttl) = arguments.optional(SECONDS, values::ttl)? {
            self.max_ttl = ttl;
        }
        if let Some(ttl) = arguments.optional(SECONDS, values::ttl)? {
            self.min_ttl = ttl;
        }
        arguments.end()
    }
}

// === impl Prefetch ===

impl Prefetch {
    /// `AMOUNT [DURATION [PERCENTAGE%]]`; an amount of 0 is none.
    fn new(line: &Line) -> Result<Option<Self>, Error> {
        let mut arguments = line.arguments();
        let amount = arguments.value(NUMBER, values::number)?;
        let duration = arguments.optional(DURATION, values::duration)?;
        let percentage = arguments.optional("a percentage from 10% to 90%", |text| {
            let number: u8 = text.strip_suffix('%')?.parse().ok()?;
            (10..=90).contains(&number).then_some(number)
        })?;
        arguments.end()?;
        Ok((amount > 0).then_some(Self {
            amount,
            duration: duration.unwrap_or(PREFETCH_DURATION),
            percentage: percentage.unwrap_or(PREFETCH_PERCENTAGE),
        }))
    }
}

// === impl ServeStale ===

impl ServeStale {
    /// `[DURATION] [immediate|verify]`.
    fn new(line: &Line) -> Result<Self, Error> {
        let mut arguments = line.arguments();
        let duration = arguments.optional(DURATION, values::duration)?;
        let verify = arguments.optional("immediate or verify", |text| match text {
            "immediate" => Some(false),
            "verify" => Some(true),
            _ => None,
        })?;
        arguments.end()?;
        Ok(Self {
            duration: duration.unwrap_or(STALE),
            verify: verify.unwrap_or(false),
        })
    }
}
