//! A client of the Kubernetes API that needs no API server to be made.

use std::time::Duration;

use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt},
};
use tower::{BoxError, ServiceExt};

/// An API server that is gone without a word (a node lost, a silent firewall) is noticed within
/// about this time by the kernel, where a watch would notice it after five minutes.
const SILENCE: Duration = Duration::from_secs(20);
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 2;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is neither a kubeconfig nor a service account.
    #[error("no way to an API server is configured")]
    NoConfig(#[source] Box<kube::config::InferConfigError>),
    /// The configuration does not make a client.
    #[error("client for the API server")]
    Build(#[source] Box<kube::Error>),
}

// === impl ClientError ===

impl ClientError {
    /// A stable word for this error.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoConfig(_) => "NoConfig",
            Self::Build(_) => "InvalidConfig",
        }
    }
}

impl From<kube::Error> for ClientError {
    fn from(error: kube::Error) -> Self {
        Self::Build(Box::new(error))
    }
}

/// A client from the kubeconfig if there is one, else from the pod's service account. It connects
/// when it is first used.
///
/// # Errors
/// If there is no configuration, or it is invalid.
pub async fn connect() -> Result<Client, ClientError> {
    let config = Config::infer()
        .await
        .map_err(|error| ClientError::NoConfig(Box::new(error)))?;
    client(config)
}

/// Differs from `Client::try_from(config)` in what happens when the API server is away: the kernel
/// tells within half a minute, requests are not retried out of sight for minutes (each caller has its
/// own way to go on), and each failure is not logged as an error.
///
/// # Errors
/// If the configuration does not make a client.
pub fn client(config: Config) -> Result<Client, ClientError> {
    install_crypto_provider();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(SILENCE));
    let https = config.rustls_https_connector_with_connector(tcp)?;
    let http = HttpClient::builder(TokioExecutor::new()).build::<_, Body>(https);

    let namespace = config.default_namespace.clone();
    let http = http.map_err(BoxError::from);
    let builder = ClientBuilder::new(http, namespace).with_layer(&config.extra_headers_layer()?);
    let client = match config.auth_layer()? {
        Some(auth) => builder
            .with_layer(&auth)
            .with_layer(&config.base_uri_layer())
            .build(),
        None => builder.with_layer(&config.base_uri_layer()).build(),
    };
    Ok(client)
}

/// One crypto provider for every TLS and QUIC connection of the process. Harmless if repeated.
pub(crate) fn install_crypto_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

#[cfg(test)]
mod tests;
