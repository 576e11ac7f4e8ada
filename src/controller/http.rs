//! What the controller serves: metrics, and how it is.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::Health;
use crate::engine::Cancel;
use crate::metrics::Metrics;

/// Longest that a client may take to send a request's headers, and to come up with another request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that a connection is used. A scrape takes part of a second.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest that a request under way may take when its connection is to be closed.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections at a time.
const CONNECTIONS: usize = 64;
/// Largest request that is read.
const REQUEST_SIZE: usize = 16 * 1024;
/// Pause after the system could not give us a connection: it lacks something that takes a while.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `/metrics`, `/healthz` and `/readyz` until `cancel`; then finishes what was asked for.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, health: Health, cancel: Cancel) {
    serve_router(listener, router(metrics, health), cancel).await;
}

/// Serves `router` within the bounds of this file until `cancel`; then finishes what was asked for.
pub(crate) async fn serve_router(listener: TcpListener, router: Router, cancel: Cancel) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, peer, slot)) => {
                let (router, cancel) = (router.clone(), cancel.clone());
                connections.spawn(connection(stream, peer, router, cancel, slot));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn router(metrics: Arc<Metrics>, health: Health) -> Router {
    let alive = |State(health): State<Health>| async move { verdict(health.stalled()) };
    let ready = |State(health): State<Health>| async move { verdict(health.unready()) };
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .with_state(health)
        .route("/metrics", get(move || async move { export(&metrics) }))
}

/// 200, or 503 and what is wrong.
pub(crate) fn verdict(wrong: Option<String>) -> Response {
    match wrong {
        None => "ok\n".into_response(),
        Some(wrong) => (StatusCode::SERVICE_UNAVAILABLE, wrong + "\n").into_response(),
    }
}

fn export(metrics: &Metrics) -> Response {
    exported(metrics.text())
}

/// Metrics as they are scraped.
pub(crate) fn exported(text: Result<String, std::fmt::Error>) -> Response {
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::warn!(%error, "cannot write the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await;
    let slot = slot.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, slot))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    cancel: Cancel,
    _slot: OwnedSemaphorePermit,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(REQUEST_SIZE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => Some(result),
        () = cancel.cancelled() => None,
        () = tokio::time::sleep(CONNECTION_TIMEOUT) => None,
    };
    let result = match result {
        Some(result) => result,
        None => {
            connection.as_mut().graceful_shutdown();
            let closing = tokio::time::timeout(CLOSING_TIMEOUT, connection).await;
            closing.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "a connection failed");
    }
}
