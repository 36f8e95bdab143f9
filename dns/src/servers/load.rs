//! The Corefile on disk, with what it imports.

use std::fs;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use parking_lot::Mutex;
use tombolo_dns_corefile::{Config, File, Surroundings, parse};
use tombolo_runtime::{RuntimeArgs, admin};

/// Of the admin server where the Corefile has its default port, which is that of CoreDNS's `health`.
const ADMIN_PORT_BESIDE_HEALTH: u16 = 8_081;
/// More is not a Corefile, but an accident.
const MAX_OCTETS: u64 = 16 << 20;

/// A Corefile as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// Every file that was read for it: by them it is known whether something has changed.
    sources: Vec<File>,
}

/// This machine's files and this process's environment.
#[derive(Default)]
struct Disk {
    read: Mutex<Vec<File>>,
}

// === impl Loaded ===

impl Loaded {
    /// # Errors
    /// If a file cannot be read, or be followed.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let disk = Disk::default();
        let text = read(path).map_err(anyhow::Error::msg);
        let text = text.with_context(|| format!("Corefile {}", path.display()))?;
        let config = parse(&path.display().to_string(), &text, &disk)?;
        let mut sources = disk.read.into_inner();
        for tls in config
            .servers
            .iter()
            .filter_map(|server| server.plugins.tls.as_ref())
        {
            let files = [
                Some(&tls.certificate),
                Some(&tls.key),
                tls.client_authority.as_ref(),
            ];
            for path in files.into_iter().flatten() {
                // One that is not there is told by who needs it.
                let text = fs::read_to_string(path).unwrap_or_default();
                sources.push(File {
                    path: path.clone(),
                    text,
                });
            }
        }
        sources.push(File {
            path: path.display().to_string(),
            text,
        });
        Ok(Self { config, sources })
    }

    /// Lets the program's own settings make room for what the Corefile says.
    pub(crate) fn adjust(&self, runtime: &mut RuntimeArgs) {
        let plugins = || self.config.servers.iter().map(|server| &server.plugins);
        let health = plugins().find_map(|plugins| plugins.health.as_ref());
        if let Some(health) = health.filter(|health| !health.lameduck.is_zero()) {
            // A drain is what CoreDNS calls a lame duck: still answering, no longer ready.
            runtime.grace_period = health.lameduck;
        }
        let taken = plugins().any(|plugins| {
            let health = plugins.health.as_ref().map(|health| health.address);
            let others = [health, plugins.ready, plugins.prometheus];
            others
                .into_iter()
                .flatten()
                .any(|address| address.port() == admin::DEFAULT_PORT)
        });
        if taken && runtime.admin_address.is_none() {
            runtime.admin_address = Some((Ipv6Addr::UNSPECIFIED, ADMIN_PORT_BESIDE_HEALTH).into());
        }
    }
}

// === impl Disk ===

impl Surroundings for Disk {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn files(&self, from: &str, pattern: &str) -> Result<Vec<File>, String> {
        let folder = Path::new(from).parent().unwrap_or_else(|| Path::new(""));
        let mut files = Vec::new();
        for path in matching(&folder.join(pattern))? {
            files.push(File {
                text: read(&path)?,
                path: path.display().to_string(),
            });
        }
        self.read.lock().extend(files.iter().cloned());
        Ok(files)
    }
}

/// The paths that match, in their order.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let name = pattern
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let folder = pattern.parent().unwrap_or_else(|| Path::new("."));
    if folder.to_string_lossy().contains('*') {
        return Err("a * may be in the name of files, not of folders".to_owned());
    }
    let Some((before, after)) = name.split_once('*') else {
        return Ok(vec![pattern.to_owned()]);
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let is_meant = |path: &PathBuf| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let is_hidden = before.is_empty() && name.starts_with('.');
        !is_hidden
            && name.len() >= before.len() + after.len()
            && name.starts_with(before)
            && name.ends_with(after)
            && path.is_file()
    };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths.filter(is_meant).collect();
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > MAX_OCTETS {
        return Err("too large".to_owned());
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_relative_to_the_file_that_names_them() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        fs::create_dir(dir.path().join("custom")).unwrap();
        write(
            "Corefile",
            ". {\n import custom/*.override\n}\nimport custom/*.server\n",
        );
        write("custom/b.override", "log\n");
        write("custom/a.override", "errors\n");
        write("custom/.hidden.override", "nonsense\n");
        write("custom/x.server", "x.org {\n import more\n}\n");
        write("custom/more", "cache\n");

        let loaded = Loaded::read(&dir.path().join("Corefile")).unwrap();

        let names = |index: usize| loaded.config.servers[index].plugins.names();
        assert_eq!((names(0), names(1)), (vec!["errors", "log"], vec!["cache"]));
        assert_eq!(loaded, Loaded::read(&dir.path().join("Corefile")).unwrap());
        write("custom/more", "log\n");
        assert_ne!(loaded, Loaded::read(&dir.path().join("Corefile")).unwrap());
    }

    #[test]
    fn what_is_not_there_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("Corefile");
        assert!(format!("{:#}", Loaded::read(&path).unwrap_err()).contains("Corefile"));

        fs::write(&path, ". {\n import more\n}\n").unwrap();
        let error = Loaded::read(&path).unwrap_err().to_string();
        assert!(
            error.contains(":2:2: cannot import \"more\": No such file"),
            "{error}"
        );
    }
}
