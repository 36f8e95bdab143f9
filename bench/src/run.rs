//! Everything, in turn.

use std::path::Path as File;

use anyhow::Context;
use clap::ValueEnum;

use crate::carrier::{Carrier, Certificates, Started, Variants, server};
use crate::figures::{Figure, settle};
use crate::lab::{Lab, Path};
use crate::report::Report;
use crate::say;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Paths between the gateways [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    paths: Vec<Path>,
    /// What carries the connections
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "plain,haproxy-tcp,haproxy-mtls,stunnel,wireguard-go,tombolo"
    )]
    carriers: Vec<Carrier>,
    #[command(flatten)]
    variants: Variants,
    /// What is measured [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    figures: Vec<Figure>,
    /// How often each is measured; the tables show medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds of load before each measurement
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        rlimit::increase_nofile_limit(u64::MAX)?;
        if self.paths.is_empty() {
            self.paths = Path::value_variants().to_vec();
        }
        if self.figures.is_empty() {
            self.figures = Figure::value_variants().to_vec();
        }
        let own = std::env::current_exe()?;
        let directory = tempfile::tempdir()?;
        let certificates = Certificates::new(directory.path())?;
        let mut report = Report::default();
        for path in &self.paths {
            self.measure(*path, &own, &certificates, &mut report)
                .with_context(|| format!("{path:?}"))?;
            say(&report.table(*path, &self.carriers))?;
        }
        Ok(())
    }

    fn measure(
        &self,
        path: Path,
        own: &File,
        certificates: &Certificates,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let _lab = Lab::new(path, own)?;
        let _server = server(own)?;
        let carriers = self.carriers.iter();
        let started = carriers.map(|carrier| carrier.start(own, certificates, &self.variants));
        let started: Vec<Started> = started.collect::<anyhow::Result<_>>()?;
        for round in 0..self.rounds {
            for figure in &self.figures {
                // It says the same every time, and takes long.
                if *figure == Figure::Idle && round > 0 {
                    continue;
                }
                for carried in &started {
                    let carrier = carried.carrier;
                    if figure.is_of_udp() && !carrier.carries_udp() {
                        continue;
                    }
                    let numbers = figure
                        .measure(carried, own, self.seconds, self.warm_up)
                        .with_context(|| format!("{} {figure:?}", carrier.name()))?;
                    let shown: Vec<String> = numbers
                        .iter()
                        .map(|(name, value)| format!("{name} {value:.2}"))
                        .collect();
                    say(&format!("{path:?} {} {}", carrier.name(), shown.join(", ")))?;
                    report.add(path, carrier, &numbers);
                    settle();
                }
            }
        }
        Ok(())
    }
}
