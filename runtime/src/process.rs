//! What the kernel knows of this process, read when it is asked for.

use std::{fmt, fs, io};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
    registry::Unit,
};

/// The metrics that Prometheus' own client libraries have for every process, under their names.
#[derive(Debug)]
pub(crate) struct ProcessCollector;

// === impl ProcessCollector ===

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Ok(bytes) = resident_memory() {
            gauge(
                &mut encoder,
                "process_resident_memory",
                "Memory of this process that is in RAM",
                Some(&Unit::Bytes),
                bytes,
            )?;
        }
        if let Ok(open) = open_files() {
            gauge(
                &mut encoder,
                "process_open_fds",
                "Files that are open",
                None,
                open,
            )?;
        }
        if let Ok((most, _)) = rlimit::Resource::NOFILE.get() {
            gauge(
                &mut encoder,
                "process_max_fds",
                "Files that may be open",
                None,
                most,
            )?;
        }
        Ok(())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: u64,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    let metric = encoder.encode_descriptor(name, help, unit, gauge.metric_type())?;
    gauge.encode(metric)
}

/// In bytes. From `status`, whose numbers need no page size.
fn resident_memory() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok());
    kibibytes
        .map(|kibibytes| kibibytes * 1024)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn open_files() -> io::Result<u64> {
    let entries = fs::read_dir("/proc/self/fd")?.count();
    // One of them is the directory itself, being read.
    Ok(u64::try_from(entries).unwrap_or(u64::MAX).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text, registry::Registry};

    use super::*;

    #[test]
    fn names_are_those_of_other_programs() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessCollector));
        let mut body = String::new();

        text::encode(&mut body, &registry).unwrap();

        for name in [
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_max_fds ",
        ] {
            let line = body.lines().find_map(|line| line.strip_prefix(name));
            let value: u64 = line
                .unwrap_or_else(|| panic!("{name} in {body}"))
                .parse()
                .unwrap();
            assert!(value > 0, "{name}");
        }
    }

    #[test]
    fn an_opened_file_is_counted() {
        let before = open_files().unwrap();
        let files: Vec<_> = (0..64)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();

        // Other tests of this process open and close files meanwhile, but not so many.
        assert!(open_files().unwrap() >= before + 32);
        drop(files);
    }
}
