//! Metrics and health over HTTP, for scrapers and orchestrators.
//!
//! - `/metrics`: Prometheus text;
//! - `/healthz`: the process runs;
//! - `/readyz`: the node takes requests: its peers know it by its data directory, its store takes writes and it is not stopping.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::node::Node;

/// Serves until the node stops.
pub(crate) async fn run(node: Arc<Node>, listener: TcpListener) {
    let stopping = node.stopping.clone();
    let routes = Router::new()
        .route("/metrics", get(|State(node): State<Arc<Node>>| async move { node.inspect(Node::render_metrics).await }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(node);
    let serving = axum::serve(listener, routes).with_graceful_shutdown(async move { stopping.cancelled().await });
    if let Err(error) = serving.await {
        tracing::error!(%error, "metrics are no longer served");
    }
}

async fn ready(State(node): State<Arc<Node>>) -> (StatusCode, String) {
    if node.draining.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned())
    } else if let Some(refusal) = node.refusal() {
        (StatusCode::SERVICE_UNAVAILABLE, format!("this node {refusal}\n"))
    } else if !node.store.is_writable() {
        (StatusCode::SERVICE_UNAVAILABLE, "the store takes no writes\n".to_owned())
    } else {
        (StatusCode::OK, "ready\n".to_owned())
    }
}
