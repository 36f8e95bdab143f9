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
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        runtime: RuntimeArgs,
    }

    #[test]
    fn no_flag_is_required_and_each_has_an_environment_variable() {
        let command = Program::command();
        let args: Vec<_> = command.get_arguments().collect();

        assert_eq!(args.len(), 8);
        for arg in args {
            assert!(!arg.is_required_set(), "{arg}");
            let variable = arg
                .get_env()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            assert!(
                variable.starts_with("TOMBOLO_") || variable.starts_with("POD_"),
                "{arg}"
            );
        }
    }

    #[test]
    fn flags_are_understood() {
        let args = Program::parse_from([
            "program",
            "--log=info,tombolo=debug",
            "--log-format=json",
            "--admin-address=[::1]:9",
            "--state-dir=/state",
            "--api-patience=0.5",
            "--namespace=mesh",
            "--pod-name=east-0",
            "--grace-period=7",
        ])
        .runtime;

        assert_eq!(args.log_filter, "info,tombolo=debug");
        assert_eq!(args.log_format, log::Format::Json);
        assert_eq!(args.admin_address, "[::1]:9".parse().ok());
        assert_eq!(args.state_dir, Some("/state".into()));
        assert_eq!(args.api_patience, Duration::from_millis(500));
        assert_eq!(args.namespace, "mesh");
        assert_eq!(args.pod_name(), "east-0");
        assert_eq!(args.grace_period, Duration::from_secs(7));
    }

    #[test]
    fn a_pod_without_a_name_has_the_hosts() {
        let mut args = Program::parse_from(["program"]).runtime;
        args.pod_name = None;

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
