//! Serves the Unix socket in the data folder over which commands reach the running relay. It speaks HTTP:
//! each command has a path, with JSON in and out. A long answer is one line of JSON per item, and [`End`] as
//! its last line. Whoever opens the socket can command the relay, so only the relay's user may.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on, post};
use axum::{Json, Router};
use futures::stream;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tempfile::TempPath;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::http::serve_until;
use super::{LongRequest, Request, Services};
use crate::log_event::LogEvent;

/// The socket's name in the data folder.
pub const SOCKET: &str = "relay.sock";

/// The limit of a request's body, bytes. The longest argument that Linux hands to a program (128 KiB) fits,
/// even if each of its bytes is escaped.
const LONGEST_REQUEST: usize = 1 << 20;

/// How long the last answers may take after the stop.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How long a client may leave a long answer unread. Its snapshot of the ledger keeps the WAL growing
/// meanwhile.
const IDLE: Duration = Duration::from_secs(30);

/// The most lines that are sent in one piece.
const LINES_AT_ONCE: usize = 256;

/// The last line of a long answer. An answer without it is incomplete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum End {
    Done,
    Failed { error: String },
}

impl End {
    /// The beginning of this line. No other line begins like it.
    pub const BEGINS: &'static [u8] = b"{\"end\":";
}

/// The state that the routes of the control socket share.
#[derive(Debug, Clone)]
pub struct Control {
    services: Services,
    /// The answers that are still being made.
    answers: TaskTracker,
    stop: CancellationToken,
}

/// The control socket, bound and not yet served.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    /// The socket's file, which is removed when this is dropped.
    file: TempPath,
}

/// Binds the socket, and replaces one that a dead relay left. The caller holds the ledger's lock.
///
/// # Errors
/// Another relay listens there, or the socket cannot be made.
pub fn bind(data_dir: &Path) -> anyhow::Result<ControlSocket> {
    let path = data_dir.join(SOCKET);
    // Only a live relay accepts a connection. A dead one's socket refuses.
    if UnixStream::connect(&path).is_ok() {
        bail!("another relay listens on {}", path.display());
    }
    // The socket is made under another name and then renamed. So the right name never has the permissions
    // that the umask gives.
    let made = data_dir.join(format!("{SOCKET}.new"));
    remove(&made)?;
    let listener = UnixListener::bind(&made).with_context(|| {
        format!("make the control socket {} (a path may have 100 bytes at most)", made.display())
    })?;
    std::fs::set_permissions(&made, Permissions::from_mode(0o600))
        .context("make the control socket private")?;
    std::fs::rename(&made, &path).context("put the control socket in place")?;
    Ok(ControlSocket { listener, file: TempPath::try_from_path(path)? })
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

impl ControlSocket {
    /// Answers until `stop`, then removes the socket. Answers that are being made end at once then: a long
    /// one lacks its last line.
    ///
    /// # Errors
    /// The socket fails.
    pub async fn serve(
        self,
        routes: Router<Control>,
        services: Services,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let answers = TaskTracker::new();
        let control = Control { services, answers: answers.clone(), stop: stop.clone() };
        let app = routes
            // A command of another release gets an answer that names this release.
            .fallback(unknown)
            .method_not_allowed_fallback(not_allowed)
            .layer(DefaultBodyLimit::max(LONGEST_REQUEST))
            .with_state(control);
        let Self { listener, file } = self;
        let server = axum_server::from_unix(listener).context("serve the control socket")?;
        let stopped = async {
            stop.cancelled().await;
            // The file goes first: a client that asks from now on sees at once that no relay listens.
            drop(file);
        };
        let served = serve_until(server, app, stopped, LAST_ANSWERS).await;
        // The ledger is closed after this: no answer may still be using it.
        answers.close();
        answers.wait().await;
        served.context("serve the control socket")
    }
}

/// Returns the route of a request that is answered at once.
pub fn route<Q, A>(request: &Request<Q, A>) -> Router<Control>
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    let (execute, command) = (request.execute, request.path);
    let answer = async move |State(control): State<Control>, body: Bytes| {
        let asked: Q = read(&body)?;
        let Control { services, answers, stop } = control;
        // A task of its own carries the request out. So a client that hangs up does not leave it half done.
        let answering =
            answers.spawn(async move { stop.run_until_cancelled(execute(&services, asked)).await });
        Ok::<_, Response>(match answering.await {
            Ok(Some(Ok(answer))) => Json(answer).into_response(),
            Ok(Some(Err(error))) => failed(StatusCode::UNPROCESSABLE_ENTITY, &format!("{error:#}")),
            Ok(None) => failed(StatusCode::SERVICE_UNAVAILABLE, "the relay is being stopped"),
            Err(error) => {
                tracing::error!(
                    event = LogEvent::RelayFault.word(),
                    %error,
                    command,
                    "The relay failed at a command. Report this with the log"
                );
                failed(StatusCode::INTERNAL_SERVER_ERROR, "the relay failed; its log says how")
            }
        })
    };
    let method = if request.changes { MethodFilter::POST } else { MethodFilter::GET };
    Router::new().route(request.path, on(method, answer))
}

/// Returns the route of a request that is answered line by line.
pub fn long_route<Q, L>(request: &LongRequest<Q, L>) -> Router<Control>
where
    Q: DeserializeOwned + Send + 'static,
    L: Serialize + Send + 'static,
{
    let execute = request.execute;
    let answer = async move |State(control): State<Control>, body: Bytes| {
        let asked: Q = read(&body)?;
        let Control { services, answers, stop } = control;
        // Few pieces wait here: a slow client must slow the reading down, and not fill the memory.
        let (pieces, sent) = mpsc::channel::<Bytes>(2);
        answers.spawn(async move {
            let (lines, made) = mpsc::channel(LINES_AT_ONCE);
            let making = execute(&services, asked, lines);
            stop.run_until_cancelled(pass_on(making, made, pieces)).await;
        });
        let pieces = stream::unfold(sent, async |mut sent| {
            let piece = sent.recv().await?;
            Some((Ok::<_, io::Error>(piece), sent))
        });
        let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
        Ok::<_, Response>((kind, Body::from_stream(pieces)).into_response())
    };
    Router::new().route(request.path, post(answer))
}

/// Runs `making` and sends the lines that it makes, then the last line. Ends early when the client reads
/// nothing for [`IDLE`].
async fn pass_on<L: Serialize>(
    making: impl Future<Output = anyhow::Result<()>>,
    made: mpsc::Receiver<L>,
    pieces: mpsc::Sender<Bytes>,
) {
    let (ended, is_taken) = tokio::join!(making, send(made, &pieces));
    // Nobody would read the last line.
    if !is_taken {
        return;
    }
    let end = match ended {
        Ok(()) => End::Done,
        Err(error) => End::Failed { error: format!("{error:#}") },
    };
    let mut last = Vec::new();
    push_line(&mut last, &end);
    timeout(IDLE, pieces.send(last.into())).await.ok();
}

/// Sends lines. Returns `true` when all were sent, and `false` when the client takes no more.
async fn send<T: Serialize>(mut made: mpsc::Receiver<T>, pieces: &mpsc::Sender<Bytes>) -> bool {
    let mut lines = Vec::with_capacity(LINES_AT_ONCE);
    while made.recv_many(&mut lines, LINES_AT_ONCE).await > 0 {
        let mut piece = Vec::new();
        for line in lines.drain(..) {
            push_line(&mut piece, &line);
        }
        if !matches!(timeout(IDLE, pieces.send(piece.into())).await, Ok(Ok(()))) {
            return false;
        }
    }
    true
}

fn push_line(text: &mut Vec<u8>, line: &impl Serialize) {
    // All lines are strings and numbers under string keys, so serialising cannot fail.
    serde_json::to_writer(&mut *text, line).ok();
    text.push(b'\n');
}

/// Reads the request from the body. No body means the same as an empty object.
#[expect(clippy::result_large_err, reason = "the error is the answer, which is large either way")]
fn read<Q: DeserializeOwned>(body: &[u8]) -> Result<Q, Response> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| failed(StatusCode::BAD_REQUEST, &format!("not a request: {error}")))
}

async fn unknown(method: Method, uri: axum::http::Uri) -> Response {
    let error = format!("{method} {uri} is no command of release {}", env!("CARGO_PKG_VERSION"));
    failed(StatusCode::NOT_FOUND, &error)
}

async fn not_allowed(method: Method, uri: axum::http::Uri) -> Response {
    failed(StatusCode::METHOD_NOT_ALLOWED, &format!("{uri} takes no {method}"))
}

fn failed(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}
