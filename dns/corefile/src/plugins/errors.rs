//! `errors { consolidate DURATION REGEX [LEVEL] }`.

use std::time::Duration;

use regex::Regex;

use crate::arguments::Directive;
use crate::error::Error;
use crate::values::{self, DURATION};

const OPTIONS: [&str; 2] = ["consolidate", "stacktrace"];
const LEVELS: [&str; 4] = ["error", "warning", "info", "debug"];

/// How errors are logged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Errors {
    /// Which errors are logged as a count; the first that fits decides.
    pub consolidate: Vec<Consolidate>,
}

/// Errors that are logged as a count.
#[derive(Clone, Debug)]
pub struct Consolidate {
    /// How often.
    pub period: Duration,
    /// Which.
    pub pattern: Regex,
    /// As what.
    pub level: &'static str,
}

// === impl Errors ===

impl Errors {
    pub(super) fn new(directive: &Directive) -> Result<Self, Error> {
        directive.line.no_arguments()?;
        let mut errors = Self::default();
        for line in &directive.options {
            match line.name.text.as_str() {
                "consolidate" => {
                    let mut arguments = line.arguments();
                    let period = arguments.value(DURATION, values::duration)?;
                    let pattern =
                        arguments.value("a regular expression", |text| Regex::new(text).ok())?;
                    let level = arguments.optional("error, warning, info or debug", |text| {
                        LEVELS.into_iter().find(|level| *level == text)
                    })?;
                    arguments.end()?;
                    errors.consolidate.push(Consolidate {
                        period,
                        pattern,
                        level: level.unwrap_or("error"),
                    });
                }
                // Of a panic, which ends this program.
                "stacktrace" => line.no_arguments()?,
                _ => return Err(directive.unknown(line, &OPTIONS)),
            }
        }
        Ok(errors)
    }
}

// === impl Consolidate ===

impl PartialEq for Consolidate {
    fn eq(&self, other: &Self) -> bool {
        self.period == other.period
            && self.pattern.as_str() == other.pattern.as_str()
            && self.level == other.level
    }
}
