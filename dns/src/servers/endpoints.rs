//! `health`, `ready` and `prometheus`: the HTTP endpoints of CoreDNS, at its ports.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::RwLock;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio_util::task::AbortOnDropHandle;
use tombolo_dns_corefile::Config;
use tombolo_runtime::readiness::Readiness;

use crate::listeners::{every_family, tcp_beside};

use super::ApplyError;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The endpoints that are served.
pub(super) struct Endpoints {
    readiness: Readiness,
    registry: Arc<RwLock<Registry>>,
    served: HashMap<SocketAddr, (Roles, AbortOnDropHandle<()>)>,
}

/// What is told at one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Roles {
    health: bool,
    ready: bool,
    metrics: bool,
}

// === impl Endpoints ===

impl Endpoints {
    pub(super) fn new(readiness: Readiness, registry: Arc<RwLock<Registry>>) -> Self {
        Self {
            readiness,
            registry,
            served: HashMap::new(),
        }
    }

    /// Serves what `config` asks for, and nothing else. If an address cannot be had, all stays as it
    /// is.
    pub(super) fn apply(&mut self, config: &Config) -> Result<(), ApplyError> {
        let roles = roles(config);
        let mut opened = Vec::new();
        for (address, roles) in &roles {
            if self
                .served
                .get(address)
                .is_none_or(|(served, _)| served != roles)
            {
                let listener = every_family(*address, tcp_beside)
                    .map_err(|error| ApplyError::Endpoint(*address, error))?;
                opened.push((*address, *roles, listener));
            }
        }
        self.served.retain(|address, _| roles.contains_key(address));
        for (address, roles, listener) in opened {
            let router = self.router(roles);
            let task = tokio::spawn(async move {
                if let Err(error) = axum::serve(listener, router).await {
                    tracing::error!(%address, %error, "HTTP server ended");
                }
            });
            self.served
                .insert(address, (roles, AbortOnDropHandle::new(task)));
        }
        Ok(())
    }

    fn router(&self, roles: Roles) -> Router {
        let mut router = Router::new();
        if roles.health {
            router = router.route("/health", get(|| std::future::ready("OK")));
        }
        if roles.ready {
            let readiness = self.readiness.clone();
            router = router.route("/ready", get(move || ready(readiness.clone())));
        }
        if roles.metrics {
            let registry = Arc::clone(&self.registry);
            router = router.route(
                "/metrics",
                get(move || std::future::ready(metrics(&registry))),
            );
        }
        router
    }
}

fn roles(config: &Config) -> BTreeMap<SocketAddr, Roles> {
    let mut roles: BTreeMap<SocketAddr, Roles> = BTreeMap::new();
    for server in &config.servers {
        let plugins = &server.plugins;
        if let Some(health) = &plugins.health {
            roles.entry(health.address).or_default().health = true;
        }
        if let Some(address) = plugins.ready {
            roles.entry(address).or_default().ready = true;
        }
        if let Some(address) = plugins.prometheus {
            roles.entry(address).or_default().metrics = true;
        }
    }
    roles
}

async fn ready(readiness: Readiness) -> Response {
    let held = readiness.held_back_by().await;
    if held.is_empty() {
        return "OK".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, held.join(",")).into_response()
}

fn metrics(registry: &RwLock<Registry>) -> Response {
    let mut body = String::new();
    match text::encode(&mut body, &registry.read()) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
