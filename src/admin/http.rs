//! Serves the admin listener: the page for people at `/`, `/status`, `/metrics`, `/livez` and `/readyz`. It has no
//! password unless `admin.token` is set, so it listens on loopback unless the operator configures another address.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use axum_server::{Address, Handle, Server};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, PATIENCE};
use super::{page, people};
use crate::log_event::LogEvent;

/// The content type of Prometheus' text format.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The longest body of a request, bytes: a form with a token.
const LONGEST_REQUEST: usize = 16 << 10;

/// What may be loaded into a page, and from where: our style sheet and the icon in the page itself.
const CONTENT: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Serves the operators' listener until `stop`.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    desk: Desk,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let address = listener.local_addr().context("listen for operators")?;
    let server = axum_server::from_tcp(listener).context("listen for operators")?;
    tracing::info!(
        event = LogEvent::AdminListening.word(),
        %address,
        "The admin listener serves the page, the metrics and the health checks"
    );
    let served = serve_until(server, app(desk), stop.cancelled(), PATIENCE).await;
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

fn app(desk: Desk) -> Router {
    let desk = Arc::new(desk);
    // A site that points its own name here must not read what is for people. Prometheus and probes come by the name
    // of a service, and what they read names no value.
    let for_people = Router::new()
        .route("/", get(people::overview))
        .route("/search", get(people::search))
        .route("/status", get(status_json))
        .layer(from_fn_with_state(Arc::clone(&desk), people::admit))
        .route("/sign-in", post(people::sign_in))
        .layer(from_fn_with_state(Arc::clone(&desk), people::know_the_name));
    let with_token = Router::new()
        .route("/metrics", get(metrics))
        .layer(from_fn_with_state(Arc::clone(&desk), people::admit));
    for_people
        .merge(with_token)
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/style.css", get(style))
        .layer(DefaultBodyLimit::max(LONGEST_REQUEST))
        .layer(from_fn(guarded))
        .with_state(desk)
}

/// Tells browsers to take nothing from elsewhere, to guess nothing, and to keep nothing.
async fn guarded(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let unkept = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(unkept);
    answer
}

async fn style() -> impl IntoResponse {
    // The pages name it with the release, so another release has another address.
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "max-age=3600"),
    ];
    (headers, page::STYLE)
}

async fn ready(State(desk): State<Arc<Desk>>) -> Response {
    // Only the ledger decides. A target that is down must not make the relay look unready.
    if desk.services.ledger.is_writable() {
        return "ready\n".into_response();
    }
    let words = "not ready: the ledger cannot be written: free disk space or mend ledger.db; the log has SQLite's words\n";
    (StatusCode::SERVICE_UNAVAILABLE, words).into_response()
}

async fn metrics(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, METRICS_TEXT)], desk.recorded.render())
}

async fn status_json(State(desk): State<Arc<Desk>>) -> Response {
    match desk.status.get(&desk.services).await {
        Ok(made) => Json(&made.status).into_response(),
        Err(error) => {
            let words = format!("the ledger cannot be read: {error}\n");
            (StatusCode::SERVICE_UNAVAILABLE, words).into_response()
        }
    }
}
