//! The HTTP server for those who run the program: kubelet, Prometheus, people.
//!
//! | path | answer |
//! | --- | --- |
//! | `/livez` | 200 while the program can answer at all |
//! | `/readyz` | 200 if every gate is open, else 503 with the names of those that are not. 200 while draining |
//! | `/metrics` | the registry as OpenMetrics text |

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use parking_lot::RwLock;
use prometheus_client::{encoding::text, registry::Registry};
use tokio::net::TcpListener;

use crate::readiness::Readiness;

/// The port of the admin server if none is given.
pub const DEFAULT_PORT: u16 = 8080;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The admin server's address cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("admin server on {address}")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

// === impl BindError ===

impl BindError {
    /// A stable word for this error.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        "AddressUnavailable"
    }
}

/// Listens on `address`, by default on every address of the pod, of both families if it has both.
///
/// # Errors
/// If the address is not this machine's, or taken.
pub async fn bind(address: Option<SocketAddr>) -> Result<TcpListener, BindError> {
    if let Some(address) = address {
        return listen(address).await;
    }
    match listen((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT).into()).await {
        Ok(listener) => Ok(listener),
        // A node may have IPv6 disabled.
        Err(_) => listen((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT).into()).await,
    }
}

/// Serves until it is dropped.
pub fn serve(
    listener: TcpListener,
    readiness: Readiness,
    registry: Arc<RwLock<Registry>>,
) -> impl Future<Output = io::Result<()>> + Send + 'static {
    let router = Router::new()
        .route("/livez", get(|| std::future::ready("ok\n")))
        .route("/readyz", get(readyz).with_state(readiness))
        .route(
            "/metrics",
            get(|State(registry)| std::future::ready(metrics(registry))),
        )
        .with_state(registry);
    async move { axum::serve(listener, router).await }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError { address, source })
}

/// A pod that is to end is sent nothing new, whatever it answers here. But once it answers that it
/// is not ready, kube-proxy takes it for one that does not serve any more, and throws the UDP flows
/// to it away: those of links that drain.
async fn readyz(State(readiness): State<Readiness>) -> Response {
    let held = readiness.obstacles().await;
    if held.is_empty() {
        return "ok\n".into_response();
    }
    let body = format!("not ready: {}\n", held.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

fn metrics(registry: Arc<RwLock<Registry>>) -> Response {
    let mut body = String::new();
    match text::encode(&mut body, &registry.read()) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests;
