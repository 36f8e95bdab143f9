//! The clusters that `demo.sh up` made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::cluster::Cluster;
use crate::node::Node;
use crate::tool::Tool;

/// Images of the pods that tests run.
#[derive(Clone, Debug)]
pub struct Images {
    /// A shell with curl, dig, socat, nc.
    pub toolbox: String,
    /// Kubernetes' own test server.
    pub agnhost: String,
}

/// Handle on all clusters of the demo.
#[derive(Clone, Debug)]
pub struct Demo {
    clusters: Vec<Cluster>,
    environment: BTreeMap<String, String>,
}

impl Demo {
    /// Finds the clusters by `demo.sh env`.
    ///
    /// # Errors
    /// If there are none, or one of them cannot be reached.
    pub async fn load() -> Result<Self> {
        let text = Tool::new("bash")
            .with(&script("demo.sh").display().to_string())
            .output(&["env"], None, Duration::from_secs(30))
            .await
            .context("no demo clusters; `demo-clusters/demo.sh up` makes them")?;
        let environment = variables(&text);
        let mut demo = Self {
            clusters: Vec::new(),
            environment,
        };
        let kubeconfig_path = demo.variable("KUBECONFIG")?.to_owned();
        let kubeconfig =
            Kubeconfig::read_from(&kubeconfig_path).context(kubeconfig_path.clone())?;
        let names = demo.variable("TOMBOLO_CLUSTERS")?.to_owned();
        for name in names.split_whitespace() {
            demo.clusters.push(
                demo.cluster_handle(name, &kubeconfig, &kubeconfig_path)
                    .await?,
            );
        }
        ensure!(
            demo.clusters.len() >= 2,
            "demo.sh env names {names:?}: at least two are needed"
        );
        Ok(demo)
    }

    async fn cluster_handle(
        &self,
        name: &str,
        kubeconfig: &Kubeconfig,
        kubeconfig_path: &str,
    ) -> Result<Cluster> {
        let upper = name.to_uppercase();
        let context = self
            .variable(&format!("TOMBOLO_CONTEXT_{upper}"))
            .unwrap_or(name);
        let options = KubeConfigOptions {
            context: Some(context.to_owned()),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options)
            .await
            .with_context(|| format!("context {context} of {kubeconfig_path}"))?;
        let client = Client::try_from(config).with_context(|| format!("client of {name}"))?;
        let kubectl = self
            .tool("KUBECTL", "kubectl")
            .with("--kubeconfig")
            .with(kubeconfig_path)
            .with("--context")
            .with(context);
        let helm = self
            .tool("HELM", "helm")
            .with("--kubeconfig")
            .with(kubeconfig_path)
            .with("--kube-context")
            .with(context);
        let container = self.variable(&format!("TOMBOLO_NODE_{upper}"))?;
        let node = Node::new(container, self.docker());
        Ok(Cluster::new(name, client, kubectl, helm, node))
    }

    /// Every cluster, in the order of `demo.sh`.
    #[must_use]
    pub fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    /// The first cluster: in the tests the one that exports.
    #[must_use]
    pub fn east(&self) -> &Cluster {
        &self.clusters[0]
    }

    /// The second cluster: in the tests the one that imports.
    #[must_use]
    pub fn west(&self) -> &Cluster {
        &self.clusters[1]
    }

    /// Images that the clusters' nodes hold.
    ///
    /// # Errors
    /// If `demo.sh env` does not name them.
    pub fn images(&self) -> Result<Images> {
        Ok(Images {
            toolbox: self.variable("TOMBOLO_TOOLBOX_IMAGE")?.to_owned(),
            agnhost: self.variable("TOMBOLO_AGNHOST_IMAGE")?.to_owned(),
        })
    }

    /// Runs `demo.sh` with these arguments.
    ///
    /// # Errors
    /// If it fails or takes longer than `limit`.
    pub async fn script(&self, arguments: &[&str], limit: Duration) -> Result<String> {
        Tool::new("bash")
            .with(&script("demo.sh").display().to_string())
            .output(arguments, None, limit)
            .await
    }

    /// The docker that holds the nodes.
    #[must_use]
    pub fn docker(&self) -> Tool {
        let docker = self.tool("DOCKER", "docker");
        match self.variable("DOCKER_HOST") {
            Ok(host) => docker.env("DOCKER_HOST", host),
            Err(_) => docker,
        }
    }

    /// A variable of `demo.sh env`.
    ///
    /// # Errors
    /// If it has none of that name.
    pub fn variable(&self, name: &str) -> Result<&str> {
        self.environment
            .get(name)
            .map(String::as_str)
            .with_context(|| format!("`demo.sh env` tells no {name}"))
    }

    fn tool(&self, variable: &str, default: &str) -> Tool {
        let words = self.variable(variable).unwrap_or(default);
        let mut words = words.split_whitespace();
        let tool = Tool::new(words.next().unwrap_or(default));
        words.fold(tool, Tool::with)
    }
}

/// The repository's chart.
#[must_use]
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm/tombolo")
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// `NAME=value` or `export NAME='value'`, one a line; other lines mean nothing here.
fn variables(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            let (name, value) = line
                .strip_prefix("export ")
                .unwrap_or(line)
                .split_once('=')?;
            let quotes: &[char] = &['\'', '"'];
            let plain = value.trim_matches(quotes);
            Some((name.to_owned(), plain.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_exports_as_a_shell_does() {
        let read = variables("export A='b c'\nD=/e/f\n# g\nexport H=\"i\"\n");
        let expected = [("A", "b c"), ("D", "/e/f"), ("H", "i")];
        assert_eq!(
            read,
            expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
        );
    }
}
