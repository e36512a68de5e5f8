//! Serves the admin listener: `/livez`, `/readyz`, `/metrics` and `/status`. It has no password, so it
//! listens on loopback unless the operator configures another address.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::Context;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use axum_server::{Address, Handle, Server};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::Services;

/// How long a client may take to send its request, and how long the last answers may take after the stop.
const PATIENCE: Duration = Duration::from_secs(5);

/// The content type of Prometheus' text format.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves the operators' listener until `stop`.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    services: Services,
    recorded: PrometheusHandle,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let server = axum_server::from_tcp(listener).context("listen for operators")?;
    let served = serve_until(server, app(services, recorded), stop.cancelled(), PATIENCE).await;
    served.context("serve operators")
}

/// Serves until `stopped`. The last answers have `grace` to end after it.
pub(super) async fn serve_until<A>(
    server: Server<A>,
    app: Router,
    stopped: impl Future<Output = ()>,
    grace: Duration,
) -> io::Result<()>
where
    A: Address<Stream: AsyncRead + AsyncWrite + Unpin + Send> + Send + 'static,
{
    let handle = Handle::new();
    // A client that sends nothing must not hold its connection for ever.
    let mut server = server.http1_only().first_request_timeout(PATIENCE).handle(handle.clone());
    server.http_builder().http1().header_read_timeout(PATIENCE);
    let stopping = async {
        stopped.await;
        handle.graceful_shutdown(Some(grace));
        // This branch never completes: the server ends by itself once the last answers are out.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = server.serve(app.into_make_service()) => ended,
        () = stopping => Ok(()),
    }
}

fn app(services: Services, recorded: PrometheusHandle) -> Router {
    let metrics = Router::new().route("/metrics", get(metrics)).with_state(recorded);
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .with_state(services)
        .merge(metrics)
}

async fn ready(State(services): State<Services>) -> Response {
    // Only the ledger decides. A target that is down must not make the relay look unready.
    if services.ledger.is_writable() {
        return "ready\n".into_response();
    }
    let words = "not ready: the ledger cannot be written: free disk space or mend ledger.db; the log has SQLite's words\n";
    (StatusCode::SERVICE_UNAVAILABLE, words).into_response()
}

async fn metrics(State(recorded): State<PrometheusHandle>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, METRICS_TEXT)], recorded.render())
}

async fn status(State(services): State<Services>) -> Response {
    match services.status().await {
        Ok(status) => Json(status).into_response(),
        Err(error) => {
            let words = format!("the ledger cannot be read: {error}\n");
            (StatusCode::SERVICE_UNAVAILABLE, words).into_response()
        }
    }
}
