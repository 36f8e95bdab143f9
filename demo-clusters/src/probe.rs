//! A client that never stops asking, to see what a fault does to users.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::pod::Pod;

const LIMIT: Duration = Duration::from_secs(60);

/// A loop in a client pod. It lives in the pod, so that it goes on while the API server is away.
#[derive(Debug)]
pub struct Probe {
    pod: Pod,
    id: String,
}

/// One try of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Milliseconds since the epoch at its start.
    pub at: u64,
    /// Whether it succeeded.
    pub good: bool,
    /// What was answered, or what went wrong.
    pub detail: String,
}

/// All tries of a probe.
#[derive(Clone, Debug)]
pub struct ProbeReport {
    /// In order of time.
    pub attempts: Vec<Attempt>,
}

impl Probe {
    /// Begins to run `command` again and again, five times a second, as a new process each time.
    ///
    /// # Errors
    /// If the pod cannot be reached.
    pub async fn start(pod: &Pod, id: &str, command: &str) -> Result<Self> {
        let script = format!(
            "rm -f /tmp/{id}.*; nohup bash -c 'while [ ! -e /tmp/{id}.stop ]; do \
             t=$(date +%s%3N); if r=$({{ {command}; }} 2>&1); then s=good; else s=bad; fi; \
             echo \"$t $s\" $r; sleep 0.2; done; touch /tmp/{id}.done' \
             >/tmp/{id}.log 2>&1 </dev/null &"
        );
        pod.output(&script, LIMIT).await?;
        Ok(Self {
            pod: pod.clone(),
            id: id.to_owned(),
        })
    }

    /// Fetches a URL by a new connection each time, its name resolved each time.
    ///
    /// # Errors
    /// If the pod cannot be reached.
    pub async fn http(pod: &Pod, id: &str, url: &str) -> Result<Self> {
        Self::start(pod, id, &format!("curl -sS -f -m 5 {url}")).await
    }

    /// Ends the loop and reads what it saw.
    ///
    /// # Errors
    /// If the pod cannot be reached.
    pub async fn stop(self) -> Result<ProbeReport> {
        let id = &self.id;
        let script = format!(
            "touch /tmp/{id}.stop; for i in $(seq 100); do [ -e /tmp/{id}.done ] && break; \
             sleep 0.1; done; cat /tmp/{id}.log"
        );
        report(&self.pod.output(&script, LIMIT).await?)
    }
}

impl ProbeReport {
    /// The tries that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(|attempt| !attempt.good)
    }

    /// The tries begun between two times (milliseconds since the epoch).
    #[must_use]
    pub fn between(&self, from: u64, to: u64) -> Self {
        let attempts = self.attempts.iter().filter(|a| (from..to).contains(&a.at));
        Self {
            attempts: attempts.cloned().collect(),
        }
    }

    /// Accepts no failure.
    ///
    /// # Errors
    /// If there was one, or hardly a try.
    pub fn all_good(&self) -> Result<()> {
        ensure!(
            self.attempts.len() >= 3,
            "only {} tries",
            self.attempts.len()
        );
        let failures: Vec<_> = self.failures().collect();
        ensure!(
            failures.is_empty(),
            "{} of {} tries failed: {:?}",
            failures.len(),
            self.attempts.len(),
            &failures[..failures.len().min(5)]
        );
        Ok(())
    }
}

fn report(log: &str) -> Result<ProbeReport> {
    let attempts = log.lines().map(|line| {
        let mut words = line.splitn(3, ' ');
        let at = words.next().and_then(|word| word.parse().ok());
        let (at, state) = at
            .zip(words.next())
            .with_context(|| format!("probe wrote {line:?}"))?;
        let detail = words.next().unwrap_or_default().to_owned();
        Ok(Attempt {
            at,
            good: state == "good",
            detail,
        })
    });
    Ok(ProbeReport {
        attempts: attempts.collect::<Result<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_failures_in_a_window() {
        let report = report("1 good a\n2 bad curl: (7) b c\n3 good\n4 good\n5 good").unwrap();
        assert_eq!(report.failures().count(), 1);
        assert!(report.all_good().is_err());
        report.between(3, 6).all_good().unwrap();
        assert!(
            report.between(3, 5).all_good().is_err(),
            "two tries prove nothing"
        );
    }
}
