//! `errors`: why a question got no answer, in the log.

use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use parking_lot::Mutex;
use tombolo_dns_corefile::plugins::{Consolidate, Errors as Config};

use super::query::Query;

/// Writes errors, or how often they came.
pub(super) struct Errors {
    consolidated: Vec<Consolidated>,
}

struct Consolidated {
    config: Consolidate,
    /// Since when, and how many.
    counted: Mutex<Option<(Instant, u64)>>,
}

// === impl Errors ===

impl Errors {
    pub(super) fn new(config: &Config) -> Self {
        let consolidated = config.consolidate.iter().map(|config| Consolidated {
            config: config.clone(),
            counted: Mutex::new(None),
        });
        Self {
            consolidated: consolidated.collect(),
        }
    }

    pub(super) fn write(&self, query: &Query, code: ResponseCode, error: &str) {
        let (name, record_type) = (&query.name, query.record_type);
        let line = format!(
            "plugin/errors: {} {name} {record_type}: {error}",
            u16::from(code)
        );
        let fitting = self
            .consolidated
            .iter()
            .find(|one| one.config.pattern.is_match(error));
        match fitting {
            None => tracing::error!("{line}"),
            Some(one) => one.count(&line, Instant::now()),
        }
    }
}

// === impl Consolidated ===

impl Consolidated {
    /// The first error of a period is written at once, with how many there were in the one before.
    fn count(&self, line: &str, now: Instant) {
        let mut counted = self.counted.lock();
        if let Some((since, count)) = counted.as_mut()
            && now.saturating_duration_since(*since) < self.config.period
        {
            *count += 1;
            return;
        }
        let last = counted.replace((now, 0));
        drop(counted);
        match last {
            Some((since, count)) if count > 0 => {
                let period: Duration = now.saturating_duration_since(since);
                let pattern = self.config.pattern.as_str();
                self.log(&format!("plugin/errors: {count} more errors like {pattern:?} in {period:.0?}; now: {line}"));
            }
            Some(_) | None => self.log(line),
        }
    }

    fn log(&self, line: &str) {
        match self.config.level {
            "warning" => tracing::warn!("{line}"),
            "info" => tracing::info!("{line}"),
            "debug" => tracing::debug!("{line}"),
            _ => tracing::error!("{line}"),
        }
    }
}
