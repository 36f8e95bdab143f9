//! The cluster's CA, its published certificate, and the gateways' certificates.
//!
//! | object | made | holds |
//! | --- | --- | --- |
//! | Secret `tombolo-ca` | once, never written over | the CA, for this operator alone |
//! | ConfigMap `tombolo-ca` | from that | what a Peer of this cluster carries elsewhere |
//! | Secret `tombolo-gateway-identity` | anew at half of its life | what the gateways mount |

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use tombolo_crds::well_known::{CA_CONFIG_MAP, CA_SECRET, GATEWAY_IDENTITY_SECRET};
use tombolo_link::ca::{self, Ca, CaError};
use tombolo_runtime::events::{Events, Notice, Severity};

use crate::identity::Identity;
use crate::leadership::Leadership;
use crate::metrics::Metrics;
use crate::plan::ownership::FIELD_MANAGER;

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const BUNDLE: &str = "ca.crt";
const CLUSTER_ID: &str = "cluster-id";
const CLUSTERSET: &str = "clusterset";

/// Between two looks: what was deleted by hand is back after this.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(2);
/// How often a certificate is looked at in its life, at least.
const LOOKS_IN_A_LIFE: u32 = 10;

/// Makes and renews the objects of this module while it leads.
pub struct Trust {
    /// Of the API.
    pub client: Client,
    /// Tombolo's.
    pub namespace: String,
    /// Whose CA it is.
    pub identity: Identity,
    /// How long a gateway's certificate is valid.
    pub lifetime: Duration,
    /// Only the leader makes a CA.
    pub leadership: Leadership,
    /// For what an administrator has to mend.
    pub events: Events,
    /// For the end of the certificate.
    pub metrics: Metrics,
}

/// Why there is no certificate for the gateways.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The API server did not do what it was asked.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// The Secret holds no CA. It is left alone: it may be somebody's only copy of one.
    #[error("Secret {CA_SECRET} holds no usable CA: {0}")]
    UnusableCa(CaError),
    /// The Secret holds the CA of another cluster, perhaps restored from its backup.
    #[error("Secret {CA_SECRET} holds the CA of cluster {cluster:?} of clusterset {clusterset:?}")]
    OtherClustersCa {
        /// The other cluster.
        cluster: String,
        /// Its clusterset.
        clusterset: String,
    },
    /// A CA or a certificate could not be made.
    #[error("certificate: {0}")]
    Issue(CaError),
}

// === impl TrustError ===

impl TrustError {
    /// A stable word for it: the reason of an Event.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Api(_) => "Unavailable",
            Self::UnusableCa(_) => "UnusableCA",
            Self::OtherClustersCa { .. } => "OtherClustersCA",
            Self::Issue(_) => "CannotIssue",
        }
    }
}

// === impl Trust ===

impl Trust {
    /// Runs until it is dropped.
    pub async fn run(mut self) {
        loop {
            self.leadership.becomes(true).await;
            let pause = match self.ensure(SystemTime::now()).await {
                Ok(()) => LOOK_AGAIN.min(self.lifetime / LOOKS_IN_A_LIFE),
                Err(error) => {
                    self.tell(&error);
                    RETRY
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn ensure(&self, now: SystemTime) -> Result<(), TrustError> {
        let ca = self.ca(now).await?;
        if !self.leadership.is_held() {
            return Ok(());
        }
        self.publish(&ca).await?;
        self.issue(&ca, now).await
    }

    async fn ca(&self, now: SystemTime) -> Result<Ca, TrustError> {
        let Identity {
            cluster,
            clusterset,
        } = &self.identity;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = secrets.get_opt(CA_SECRET).await?;
        let secret = match found {
            Some(found) => found,
            None => {
                let ca = Ca::generate(clusterset, cluster, now).map_err(TrustError::Issue)?;
                let secret = tls_secret(CA_SECRET, ca.certificate_pem(), &ca.key_pem());
                // Not applied: one that another replica made in this moment must stand.
                match secrets.create(&PostParams::default(), &secret).await {
                    Ok(created) => {
                        tracing::info!(cluster, clusterset, "made the cluster's CA");
                        created
                    }
                    Err(kube::Error::Api(status)) if status.is_already_exists() => {
                        secrets.get(CA_SECRET).await?
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let ca = Ca::from_pem(text(&secret, CERTIFICATE), text(&secret, KEY))
            .map_err(TrustError::UnusableCa)?;
        if ca.cluster() != cluster || ca.clusterset() != clusterset {
            return Err(TrustError::OtherClustersCa {
                cluster: ca.cluster().to_owned(),
                clusterset: ca.clusterset().to_owned(),
            });
        }
        Ok(ca)
    }

    async fn publish(&self, ca: &Ca) -> Result<(), TrustError> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let data: BTreeMap<String, String> = [
            (BUNDLE, ca.certificate_pem()),
            (CLUSTER_ID, ca.cluster()),
            (CLUSTERSET, ca.clusterset()),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let found = maps.get_opt(CA_CONFIG_MAP).await?.and_then(|map| map.data);
        if found.is_some_and(|found| {
            data.iter()
                .all(|(key, value)| found.get(key) == Some(value))
        }) {
            return Ok(());
        }
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(CA_CONFIG_MAP.to_owned()),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        };
        maps.patch(CA_CONFIG_MAP, &apply(), &Patch::Apply(&map))
            .await?;
        Ok(())
    }

    async fn issue(&self, ca: &Ca, now: SystemTime) -> Result<(), TrustError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = secrets
            .get_opt(GATEWAY_IDENTITY_SECRET)
            .await?
            .unwrap_or_default();
        let certificate = text(&found, CERTIFICATE);
        if !must_issue(certificate, !text(&found, KEY).is_empty(), ca, now) {
            self.metrics
                .identity_expires(ca::expiry(certificate).unwrap_or_default());
            return Ok(());
        }
        let issued = ca
            .issue_gateway(self.lifetime, now)
            .map_err(TrustError::Issue)?;
        let secret = tls_secret(
            GATEWAY_IDENTITY_SECRET,
            &issued.certificate_pem,
            &issued.key_pem,
        );
        secrets
            .patch(GATEWAY_IDENTITY_SECRET, &apply(), &Patch::Apply(&secret))
            .await?;
        self.metrics
            .identity_expires(ca::expiry(&issued.certificate_pem).unwrap_or_default());
        tracing::info!(lifetime = ?self.lifetime, "issued the gateways' certificate");
        Ok(())
    }

    fn tell(&self, error: &TrustError) {
        tracing::info!(%error, "the gateways' certificate is not seen to");
        if matches!(error, TrustError::Api(_)) {
            return;
        }
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(CA_SECRET.to_owned()),
            ..ObjectReference::default()
        };
        let notice = Notice {
            severity: Severity::Warning,
            reason: error.reason(),
            action: "Issue",
            note: error.to_string(),
        };
        self.events.publish(&about, notice);
    }
}

fn must_issue(certificate: &str, has_key: bool, ca: &Ca, now: SystemTime) -> bool {
    !has_key
        || ca::needs_renewal(certificate, now)
        || !ca::issued_by(certificate, ca.certificate_pem())
}

fn apply() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

fn tls_secret(name: &str, certificate: &str, key: &str) -> Secret {
    let data = [(CERTIFICATE, certificate), (KEY, key)];
    let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())));
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.into()),
        ..Secret::default()
    }
}

/// Empty if there is no such key, or no text under it.
fn text<'a>(secret: &'a Secret, key: &str) -> &'a str {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    value
        .and_then(|value| std::str::from_utf8(&value.0).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_certificate_is_issued_if_there_is_none_of_this_ca_in_its_first_half() {
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let ca = Ca::generate("prod", "east", now).unwrap();
        let other = Ca::generate("prod", "east", now).unwrap();
        let issued = ca.issue_gateway(DAY, now).unwrap().certificate_pem;

        assert!(must_issue("", true, &ca, now), "none");
        assert!(!must_issue(&issued, true, &ca, now));
        assert!(must_issue(&issued, false, &ca, now), "without its key");
        assert!(!must_issue(&issued, true, &ca, now + DAY / 4));
        assert!(
            must_issue(&issued, true, &ca, now + DAY * 3 / 4),
            "past half of its life"
        );
        assert!(must_issue(&issued, true, &other, now), "of another CA");
    }
}
