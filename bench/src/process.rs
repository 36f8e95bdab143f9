//! Processes of the benchmark, which end with it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

/// Of `/proc/PID/stat`, in which the kernel counts CPU time (USER_HZ).
const TICKS_A_SECOND: f64 = 100.0;

/// A process that is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
}

// === impl Process ===

impl Process {
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let name = format!("{command:?}");
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| name.clone())?;
        Ok(Self { child, name })
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let out = self.child.stdout.as_mut().context("no output")?;
        // What else it prints nobody reads, so nothing is lost with the reader.
        if BufReader::new(out).read_line(&mut line)? == 0 {
            bail!("{} ended", self.name);
        }
        Ok(line.trim_end().to_owned())
    }

    /// All lines that it prints.
    pub(crate) fn lines(&mut self) -> anyhow::Result<mpsc::Receiver<String>> {
        let out = self.child.stdout.take().context("no output")?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            // Until the receiver is gone.
            lines.map(|line| sender.send(line)).all(|sent| sent.is_ok())
        });
        Ok(receiver)
    }

    /// Sends it a signal, such as STOP.
    pub(crate) fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let process = self.child.id().to_string();
        run(Command::new("kill").args(["-s", signal, &process]))
    }

    /// Kills it, if it has not ended.
    pub(crate) fn end(&mut self) {
        // It fails only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// CPU time so far, in seconds.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name may hold blanks; what follows it does not.
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
        Ok(ticks.iter().sum::<f64>() / TICKS_A_SECOND)
    }

    /// Memory in use, in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        let kib: f64 = kib.context("VmRSS")?.parse()?;
        Ok(kib * 1024.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// Calls `check` until it is true.
pub(crate) fn wait_for(what: &str, mut check: impl FnMut() -> bool) -> anyhow::Result<()> {
    for _ in 0..100 {
        if check() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    bail!("{what} did not come up")
}
