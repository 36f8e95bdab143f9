//! The flags that every program has.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::log;

/// Flags that every Tombolo program has, to be flattened into its own.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Runtime")]
pub struct RuntimeArgs {
    /// What is logged: a level, or directives by module (`info,tombolo_gateway=debug`)
    #[arg(long = "log", env = "TOMBOLO_LOG", default_value = "info")]
    pub log_filter: String,

    /// How it is logged
    #[arg(long, env = "TOMBOLO_LOG_FORMAT", value_enum, default_value_t = log::Format::Text)]
    pub log_format: log::Format,

    /// Where /livez, /readyz and /metrics are served [default: port 8080 of all addresses]
    #[arg(long, env = "TOMBOLO_ADMIN_ADDRESS")]
    pub admin_address: Option<SocketAddr>,

    /// Directory for the last known state, served when a restart finds no API server
    #[arg(long, env = "TOMBOLO_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// How long a start waits for the API server before it serves the last known state, in seconds
    #[arg(long, env = "TOMBOLO_API_PATIENCE", default_value = "2", value_parser = seconds)]
    pub api_patience: Duration,

    /// Namespace that Tombolo is installed in
    #[arg(long, env = "POD_NAMESPACE", default_value = "tombolo-system")]
    pub namespace: String,

    /// Name of this program's pod [default: the host name]
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,

    /// How long a stop waits for work under way, in seconds
    #[arg(long, env = "TOMBOLO_GRACE_PERIOD", default_value = "25", value_parser = seconds)]
    pub grace_period: Duration,
}

// === impl RuntimeArgs ===

impl RuntimeArgs {
    /// The pod's name, else the host's, which in a pod is the same.
    #[must_use]
    pub fn pod_name(&self) -> String {
        if let Some(name) = &self.pod_name {
            return name.clone();
        }
        std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map(|name| name.trim().to_owned())
            .ok()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "localhost".to_owned())
    }
}

/// A day: longer than any sensible period, and far from overflowing a point in time.
const LONGEST_SECONDS: f64 = 86_400.0;

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("not a number of seconds: {text:?}"))?;
    if !(0.0..=LONGEST_SECONDS).contains(&seconds) {
        return Err(format!(
            "not between 0 and {LONGEST_SECONDS} seconds: {text}"
        ));
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        runtime: RuntimeArgs,
    }

    #[test]
    fn defaults_need_no_flag() {
        let args = Program::parse_from(["program"]).runtime;

        assert_eq!(args.namespace, "tombolo-system");
        assert_eq!(args.grace_period, Duration::from_secs(25));
        assert_eq!(args.api_patience, Duration::from_secs(2));
        assert_eq!(args.admin_address, None);
        assert!(!args.pod_name().is_empty());
    }

    #[test]
    fn seconds_may_have_fractions_and_have_bounds() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for bad in ["", "-1", "NaN", "inf", "1e300", "five"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
