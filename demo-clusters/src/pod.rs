//! A running pod that tests type into.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::tool::{Output, Tool};

/// A running pod.
#[derive(Clone, Debug)]
pub struct Pod {
    cluster: String,
    kubectl: Tool,
    namespace: String,
    name: String,
}

/// What DNS said to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsAnswer {
    /// `NOERROR`, `NXDOMAIN`, …
    pub status: String,
    /// Data of the records, sorted.
    pub records: Vec<String>,
}

impl Pod {
    pub(crate) fn new(cluster: &str, kubectl: Tool, namespace: &str, name: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            kubectl,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Runs a shell script in it, whatever its exit code.
    ///
    /// # Errors
    /// If it cannot be started or takes longer than `limit`.
    pub async fn run(&self, script: &str, limit: Duration) -> Result<Output> {
        let words = [
            "-n",
            &self.namespace,
            "exec",
            &self.name,
            "--",
            "bash",
            "-c",
            script,
        ];
        self.kubectl.run(&words, None, limit).await
    }

    /// Runs a shell script in it and gives what it printed.
    ///
    /// # Errors
    /// As [`Pod::run`], and if its exit code is not 0.
    pub async fn output(&self, script: &str, limit: Duration) -> Result<String> {
        self.run(script, limit).await?.success().with_context(|| {
            format!(
                "{}/{} in {}: {script}",
                self.namespace, self.name, self.cluster
            )
        })
    }

    /// Gets a URL, as `curl -sS` with five seconds for all.
    ///
    /// # Errors
    /// If there is no answer, or a status of 400 and above.
    pub async fn get(&self, url: &str) -> Result<String> {
        self.output(
            &format!("curl -sS -f -m 5 '{url}'"),
            Duration::from_secs(20),
        )
        .await
    }

    /// The pods that answer `count` requests of a URL, each on a connection of its own with `pause`
    /// after it, and how often each did. `options` are curl's.
    ///
    /// # Errors
    /// If one has no answer within five seconds, or a status of 400 and above.
    pub async fn spread(
        &self,
        options: &str,
        url: &str,
        count: u32,
        pause: Duration,
    ) -> Result<BTreeMap<String, usize>> {
        let seconds = pause.as_secs_f64();
        let script = format!(
            "for i in $(seq {count}); do curl {options} -sS -f -m 5 '{url}' || exit 1; echo; sleep {seconds}; done"
        );
        let limit = count * (Duration::from_secs(5) + pause);
        let mut pods = BTreeMap::new();
        for pod in self.output(&script, limit).await?.lines() {
            *pods.entry(pod.to_owned()).or_default() += 1;
        }
        Ok(pods)
    }

    /// Asks the cluster's DNS.
    ///
    /// # Errors
    /// If there is no answer at all.
    pub async fn dig(&self, name: &str, type_: &str) -> Result<DnsAnswer> {
        let script = format!("dig +tries=1 +time=5 '{name}' {type_}");
        dns_answer(&self.output(&script, Duration::from_secs(20)).await?)
    }
}

fn dns_answer(text: &str) -> Result<DnsAnswer> {
    let status = text
        .lines()
        .find_map(|line| line.split_once("status: ")?.1.split(',').next())
        .with_context(|| format!("no status in {text:?}"))?;
    let mut records: Vec<_> = text
        .lines()
        .skip_while(|line| !line.starts_with(";; ANSWER SECTION"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().skip(4).collect();
            (!words.is_empty()).then(|| words.join(" "))
        })
        .collect();
    records.sort_unstable();
    if status.is_empty() {
        bail!("no status in {text:?}");
    }
    Ok(DnsAnswer {
        status: status.to_owned(),
        records,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_digs_answer() {
        let text = "\
;; Got answer:
;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 1
;; flags: qr aa rd; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 1

;; QUESTION SECTION:
;a.b.svc.clusterset.local. IN SRV

;; ANSWER SECTION:
a.b.svc.clusterset.local. 4 IN SRV 0 50 80 z.
a.b.svc.clusterset.local. 4 IN SRV 0 50 80 a.

;; Query time: 1 msec";
        let expected = DnsAnswer {
            status: "NOERROR".to_owned(),
            records: vec!["0 50 80 a.".to_owned(), "0 50 80 z.".to_owned()],
        };
        assert_eq!(dns_answer(text).unwrap(), expected);
        assert!(dns_answer("connection refused").is_err());
    }
}
