//! Logging to standard error.

use std::io;

use tracing_subscriber::{EnvFilter, filter::ParseError};

/// kube logs every failed request of every retry. The watches, leases and events of this crate log
/// a failure once when it begins and once when it ends; a filter that names these targets wins.
const QUIET: &str = "kube_client::client::builder=off,kube_runtime::watcher=error";

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter has no meaning.
    #[error("log filter {filter:?}")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Another subscriber is there.
    #[error("another log is installed: {0}")]
    Installed(String),
}

// === impl InitError ===

impl InitError {
    /// A stable word for this error.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Filter { .. } => "InvalidFilter",
            Self::Installed(_) => "AlreadyInstalled",
        }
    }
}

/// Makes the process log what `filter` lets through, in `format`.
///
/// # Errors
/// If the filter cannot be parsed, or a log was installed before.
pub fn init(filter: &str, format: Format) -> Result<(), InitError> {
    let filter = parse(filter)?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let installed = match format {
        Format::Text => log.with_ansi(false).try_init(),
        Format::Json => log
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init(),
    };
    installed.map_err(|error| InitError::Installed(error.to_string()))
}

fn parse(filter: &str) -> Result<EnvFilter, InitError> {
    EnvFilter::builder()
        .parse(format!("{QUIET},{filter}"))
        .map_err(|source| InitError::Filter {
            filter: filter.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_names_a_quiet_target_wins() {
        let filter = parse("info,kube_client::client::builder=debug")
            .unwrap()
            .to_string();

        assert!(
            filter.contains("kube_client::client::builder=debug"),
            "{filter}"
        );
        assert!(
            !filter.contains("kube_client::client::builder=off"),
            "{filter}"
        );
        assert!(filter.contains("kube_runtime::watcher=error"), "{filter}");
    }

    #[test]
    fn a_filter_without_meaning_is_refused() {
        let error = parse("tombolo=loud").unwrap_err();

        assert_eq!(error.reason(), "InvalidFilter");
    }
}
