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

/// Handle on clusters of the demo.
#[derive(Clone, Debug)]
pub struct Demo {
    clusters: Vec<Cluster>,
    toolbox: String,
}

impl Demo {
    /// Finds the two that every demo has, by `demo.sh env`.
    ///
    /// # Errors
    /// If they are not there.
    pub async fn load() -> Result<Self> {
        Self::of(&["east", "west"]).await
    }

    /// Finds the clusters of these names, two or more, by `demo.sh env`. Others may be up beside them.
    ///
    /// # Errors
    /// If one of them is not there.
    pub async fn of(names: &[&str]) -> Result<Self> {
        ensure!(names.len() > 1, "{names:?} is no clusterset");
        let environment = environment().await?;
        let variable = |name: &str| {
            let value = environment.get(name).filter(|value| !value.is_empty());
            value.with_context(|| format!("`demo.sh env` tells no {name}"))
        };
        let path = variable("KUBECONFIG")?;
        let tool = |name: &str| {
            let tool = Tool::new(name);
            environment
                .iter()
                .fold(tool, |tool, (name, value)| tool.env(name, value))
        };
        let kubeconfig = Kubeconfig::read_from(path).with_context(|| {
            format!("{path}: no demo clusters? `demo-clusters/demo.sh up` makes them")
        })?;
        let mut clusters = Vec::new();
        for &name in names {
            let context = format!("kind-{name}");
            let options = KubeConfigOptions {
                context: Some(context.clone()),
                ..KubeConfigOptions::default()
            };
            let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options)
                .await
                .with_context(|| format!("context {context} of {path}"))?;
            let client = Client::try_from(config).with_context(|| format!("client of {name}"))?;
            let kubectl = tool("kubectl").with("--context").with(&context);
            let helm = tool("helm").with("--kube-context").with(&context);
            let node = Node::new(&format!("{name}-control-plane"), tool("docker"));
            clusters.push(Cluster::new(name, client, kubectl, helm, node));
        }
        Ok(Self {
            clusters,
            toolbox: variable("TOMBOLO_TOOLBOX")?.clone(),
        })
    }

    /// The clusters, in the order in which they were asked for.
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

    /// Image of the pods that tests run: bash, curl, dig, socat, and agnhost as its entrypoint.
    #[must_use]
    pub fn toolbox(&self) -> &str {
        &self.toolbox
    }

    /// Runs `demo.sh` with these arguments.
    ///
    /// # Errors
    /// If it fails or takes longer than `limit`.
    pub async fn script(&self, arguments: &[&str], limit: Duration) -> Result<String> {
        Tool::new("bash")
            .with(&script_path().display().to_string())
            .output(arguments, None, limit)
            .await
    }
}

/// The repository's chart.
#[must_use]
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm/tombolo")
}

/// What `eval "$(demo.sh env)"` gives a shell, PATH included.
async fn environment() -> Result<BTreeMap<String, String>> {
    let script = "lines=$(bash \"$0\" env) && eval \"$lines\" && for name in PATH KUBECONFIG DOCKER_HOST \
                  TOMBOLO_TOOLBOX; do [ -z \"${!name:-}\" ] || echo \"$name=${!name}\"; done";
    let text = Tool::new("bash")
        .with("-c")
        .with(script)
        .output(&[script_path()], None, Duration::from_secs(60))
        .await?;
    let lines = text.lines().filter_map(|line| line.split_once('='));
    Ok(lines
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

fn script_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo.sh")
}
