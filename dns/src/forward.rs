//! `tombolo-dns corefile`: the edit of the Corefile put into the cluster's ConfigMap.

use std::net::IpAddr;

use anyhow::{Context, bail};
use clap::Subcommand;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use tombolo_dns_corefile::edit as corefile;
use tombolo_dns_zone::{InvalidZone, Zone};
use tombolo_runtime::{RuntimeArgs, client, log};

const COREFILE: &str = "Corefile";
/// Others may write the ConfigMap at the same time, but hardly all the time.
const ATTEMPTS: usize = 5;

/// What to do with the Corefile.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Adds the forward, or brings it up to date
    Install {
        #[command(flatten)]
        target: Target,

        #[command(flatten)]
        server: Server,
    },
    /// Takes the forward out; nothing is wrong if there is none
    Remove {
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct Target {
    /// The ConfigMaps, as namespace/name: CoreDNS's, and that of NodeLocal DNSCache if there is one
    #[arg(
        long = "config-map",
        alias = "configmap",
        env = "TOMBOLO_COREDNS_CONFIG_MAP",
        default_value = "kube-system/coredns",
        value_delimiter = ',',
        value_parser = object_name
    )]
    config_maps: Vec<ObjectName>,

    /// The key in them; any but Corefile is Tombolo's own, for `coredns-custom`, which only adds to
    /// a Corefile that a cloud manages
    #[arg(long, env = "TOMBOLO_COREDNS_KEY", default_value = COREFILE)]
    key: String,

    /// The zone
    #[arg(long, env = "TOMBOLO_ZONE", default_value = "clusterset.local", value_parser = zone_name)]
    zone: String,

    #[command(flatten)]
    runtime: RuntimeArgs,
}

#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Server {
    /// Where the zone is forwarded to
    #[arg(long)]
    forward: Option<IpAddr>,

    /// The Service of this program, in its namespace, whose cluster IP the zone is forwarded to
    #[arg(long)]
    service: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectName {
    namespace: String,
    name: String,
}

/// What is to become of a Corefile.
pub(crate) enum Edit<'a> {
    Install { zone: &'a str, server: IpAddr },
    Remove { zone: &'a str },
}

/// What has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Changed,
    Unchanged,
}

// === impl Args ===

impl Args {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let Self { action } = self;
        match action {
            Action::Install { target, server } => {
                let client = target.connect().await?;
                let server = server.address(&client, &target.runtime.namespace).await?;
                let edit = Edit::Install {
                    zone: &target.zone,
                    server,
                };
                target.apply(&client, &edit).await
            }
            Action::Remove { target } => {
                let client = target.connect().await?;
                target
                    .apply(&client, &Edit::Remove { zone: &target.zone })
                    .await
            }
        }
    }
}

// === impl Target ===

impl Target {
    async fn connect(&self) -> anyhow::Result<Client> {
        log::init(&self.runtime.log_filter, self.runtime.log_format)?;
        Ok(client::connect().await?)
    }

    async fn apply(&self, client: &Client, edit: &Edit<'_>) -> anyhow::Result<()> {
        for config_map in &self.config_maps {
            apply(client, config_map, &self.key, edit).await?;
        }
        Ok(())
    }
}

// === impl Server ===

impl Server {
    async fn address(self, client: &Client, namespace: &str) -> anyhow::Result<IpAddr> {
        let Self { forward, service } = self;
        let name = match (forward, service) {
            (Some(address), _) => return Ok(address),
            (None, Some(name)) => name,
            (None, None) => bail!("neither --forward nor --service"),
        };
        let services: Api<Service> = Api::namespaced(client.clone(), namespace);
        let service = services
            .get(&name)
            .await
            .with_context(|| format!("Service {namespace}/{name}"))?;
        let address = service
            .spec
            .and_then(|spec| spec.cluster_ip)
            .unwrap_or_default();
        address
            .parse()
            .with_context(|| format!("Service {namespace}/{name} has no cluster IP"))
    }
}

// === impl Edit ===

impl Edit<'_> {
    fn of(&self, corefile: &str) -> Result<String, corefile::Refusal> {
        match *self {
            Self::Install { zone, server } => corefile::install(corefile, zone, server),
            Self::Remove { zone } => corefile::remove(corefile, zone),
        }
    }
}

/// Edits the Corefile in a ConfigMap, and nothing else of it, unless somebody else did meanwhile:
/// then once more.
pub(crate) async fn apply(
    client: &Client,
    config_map: &ObjectName,
    key: &str,
    edit: &Edit<'_>,
) -> anyhow::Result<Outcome> {
    let is_own = key != COREFILE;
    let ObjectName { namespace, name } = config_map;
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    for _ in 0..ATTEMPTS {
        let found = config_maps.get_opt(name).await;
        let found = found.with_context(|| format!("ConfigMap {namespace}/{name}"))?;
        let resource_version = found.as_ref().and_then(ResourceExt::resource_version);
        let is_there = found.is_some();
        let corefile = found.and_then(|found| found.data?.remove(key));
        // A key of our own begins empty.
        let corefile = corefile.or_else(|| (is_own && is_there).then(String::new));
        let Some(corefile) = corefile else {
            if let Edit::Remove { .. } = edit {
                tracing::info!(namespace, name, "no Corefile here, nothing to take out");
                return Ok(Outcome::Unchanged);
            }
            bail!("ConfigMap {namespace}/{name} has no {key}: forward the zone by hand");
        };
        let edited = edit.of(&corefile)?;
        if edited == corefile {
            tracing::info!(namespace, name, "the Corefile is as it should be");
            return Ok(Outcome::Unchanged);
        }
        let value = (!is_own || !edited.is_empty()).then_some(&edited);
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": resource_version},
            "data": {key: value},
        }));
        match config_maps
            .patch(name, &PatchParams::default(), &patch)
            .await
        {
            Ok(_) => {
                tracing::info!(namespace, name, key, "Corefile changed");
                if !is_own && !corefile::reloads(&edited) {
                    tracing::warn!("CoreDNS does not reload its Corefile: restart it");
                }
                return Ok(Outcome::Changed);
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                tracing::info!(
                    namespace,
                    name,
                    "somebody else changed the ConfigMap, once more"
                );
            }
            Err(error) => {
                return Err(error).with_context(|| format!("ConfigMap {namespace}/{name}"));
            }
        }
    }
    bail!("ConfigMap {namespace}/{name} was changed by somebody else {ATTEMPTS} times");
}

/// Anything else could be more than a name to a Corefile.
fn zone_name(text: &str) -> Result<String, InvalidZone> {
    let zone = Zone::new(text, 0, 0)?;
    Ok(zone.origin().to_ascii().trim_end_matches('.').to_owned())
}

fn object_name(text: &str) -> Result<ObjectName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(ObjectName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }),
        Some(_) | None => Err("not of the form namespace/name".to_owned()),
    }
}

#[cfg(test)]
mod tests;
