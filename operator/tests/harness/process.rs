//! Processes that do not outlive the tests, however these end.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// The shell's standard input is the only thing that keeps its child alive: it ends when this
/// process drops it, exits, panics or is killed. An API server that has lost its etcd does not end
/// when it is asked to.
const SUPERVISOR: &str = r#"
log=$1; scratch=$2; shift 2
"$@" >>"$log" 2>&1 </dev/null &
child=$!
echo "$child"
cat >/dev/null
kill -TERM "$child"
(sleep 10; kill -KILL "$child") >/dev/null &
killer=$!
wait "$child"
kill "$killer"
if [ -n "$scratch" ]; then rm -rf "$scratch"; fi
"#;

pub(crate) struct Process {
    supervisor: Child,
    stdin: Option<ChildStdin>,
    pid: String,
    log: PathBuf,
}

impl Process {
    pub(crate) fn start(
        program: &Path,
        args: &[String],
        env: &[(&str, String)],
        log: &Path,
    ) -> Self {
        Self::start_in(None, program, args, env, log)
    }

    /// The directory goes with the process: what is in a static is never dropped.
    pub(crate) fn start_in(
        scratch: Option<&Path>,
        program: &Path,
        args: &[String],
        env: &[(&str, String)],
        log: &Path,
    ) -> Self {
        File::create(log).unwrap();
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(log)
            .arg(scratch.unwrap_or_else(|| Path::new("")))
            .arg(program)
            .args(args)
            .envs(env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Where it would report how its child ended.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut pid = String::new();
        BufReader::new(supervisor.stdout.take().unwrap())
            .read_line(&mut pid)
            .unwrap();
        Self {
            stdin: supervisor.stdin.take(),
            supervisor,
            pid: pid.trim().to_owned(),
            log: log.to_owned(),
        }
    }

    /// Ends it without a chance to release anything.
    pub(crate) fn kill(mut self) {
        let killed = Command::new("kill")
            .args(["-KILL", &self.pid])
            .status()
            .unwrap();
        assert!(killed.success());
        self.end();
    }

    /// How much of its memory is in RAM.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = resident.and_then(|rest| rest.split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .unwrap_or_default()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn end(&mut self) {
        drop(self.stdin.take());
        let _ = self.supervisor.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let log = self.log();
        self.end();
        if std::thread::panicking() {
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            println!("--- {}", self.log.display());
            for line in tail.iter().rev() {
                println!("{line}");
            }
        }
    }
}
