//! Command-line programs, run with a time limit.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// What a finished command printed.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit code, -1 if a signal ended it.
    pub code: i32,
    /// Standard output, without the last line break.
    pub stdout: String,
    /// Standard error, without the last line break.
    pub stderr: String,
}

impl Output {
    /// Standard output, if the command succeeded.
    ///
    /// # Errors
    /// If it did not, with its standard error.
    pub fn success(self) -> Result<String> {
        if self.code != 0 {
            bail!("exit code {}: {} {}", self.code, self.stdout, self.stderr);
        }
        Ok(self.stdout)
    }
}

/// A program with its first arguments and environment.
#[derive(Clone, Debug)]
pub struct Tool {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Tool {
    /// The program of that name or path.
    #[must_use]
    pub fn new(program: &str) -> Self {
        Self {
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// With one more argument that every run begins with.
    #[must_use]
    pub fn with(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With an environment variable set.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it to its end, whatever its exit code.
    ///
    /// # Errors
    /// If it cannot be started, or has not ended after `limit` (it is killed then).
    pub async fn run<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        stdin: Option<&str>,
        limit: Duration,
    ) -> Result<Output> {
        let shown = self.shown(arguments);
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .args(arguments)
            .envs(self.environment.iter().cloned())
            .stdin(if stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {shown}"))?;
        let work = async {
            if let (Some(mut pipe), Some(text)) = (child.stdin.take(), stdin) {
                pipe.write_all(text.as_bytes()).await?;
            }
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(limit, work)
            .await
            .with_context(|| format!("{shown}: not done after {limit:?}"))?
            .with_context(|| shown.clone())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Ok(Output {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }

    /// Runs it and gives its standard output.
    ///
    /// # Errors
    /// As [`Tool::run`], and if its exit code is not 0.
    pub async fn output<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        stdin: Option<&str>,
        limit: Duration,
    ) -> Result<String> {
        self.run(arguments, stdin, limit)
            .await?
            .success()
            .with_context(|| self.shown(arguments))
    }

    /// The same program for code that cannot wait: a guard's drop.
    #[must_use]
    pub fn blocking(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().cloned());
        command
    }

    fn shown<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let arguments = arguments
            .iter()
            .map(|a| a.as_ref().to_string_lossy().into_owned());
        let words: Vec<_> = self.arguments.iter().cloned().chain(arguments).collect();
        format!("{} {}", self.program, words.join(" "))
    }
}
