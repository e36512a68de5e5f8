//! The Unix socket in the data folder over which commands reach the running relay: JSON requests
//! and responses, one a line; a long answer is many lines before its response. Whoever may open it
//! may command the relay, so it is the user's only.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::answer::{answer, failed};
use super::{Overview, Progress, Status};
use crate::ledger::{Forgotten, Given, Held, Suppressed, Suppression};
use crate::readback::Cleanup;

/// The socket's name in the data folder.
pub const SOCKET: &str = "relay.sock";

/// One request with its line end, bytes.
const LONGEST_REQUEST: u64 = 4 * 1024;
/// One response, bytes.
const LONGEST_RESPONSE: u64 = 16 * 1024 * 1024;

const MAX_CLIENTS: usize = 16;

/// How long a client may say nothing.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// How long a command waits for the relay: counting a large ledger takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same for the next line of a long answer: SQLite's own check of a large file takes minutes.
const LONG_PATIENCE: Duration = Duration::from_secs(600);

/// What a command asks of the running relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    Status,
    /// `target`: only what this one rejected.
    RetryRejected {
        #[serde(default)]
        target: Option<String>,
    },
    /// The answer is a line for each row, then [`Response::End`].
    LedgerExport,
    /// The answer is a line for each invariant, then [`Response::End`].
    LedgerCheck,
    /// The answer is a line for each story and note, then [`Response::End`].
    Explain {
        what: String,
        #[serde(default)]
        stix: bool,
    },
    /// Has the next start judge all claims anew.
    LedgerRepair,
    LedgerVacuum,
    /// Begins a full resync, of one event or of what was touched since (MISP's time, Unix seconds).
    Resync {
        #[serde(default)]
        event: Option<Uuid>,
        #[serde(default)]
        since: Option<i64>,
    },
    /// How far the resync has come, and what is queued.
    Progress,
    /// Writes a copy of the ledger.
    Copy {
        to: PathBuf,
    },
    Held,
    /// `empty`: MISP may be as empty as it says.
    Release {
        #[serde(default)]
        event: Option<Uuid>,
        #[serde(default)]
        empty: bool,
    },
    /// Puts the warninglists into force that the guard keeps waiting.
    ReleaseWarninglists,
    /// Withholds a value, until then (Unix milliseconds) or until it is taken back.
    Suppress {
        value: String,
        #[serde(default)]
        until: Option<i64>,
        #[serde(default)]
        reason: String,
    },
    Unsuppress {
        value: String,
    },
    Suppressed,
    /// Forgets a target that is not configured.
    Forget {
        target: String,
    },
    /// The answer is a [`crate::pure::verify::Line`] for each step and target, then [`Response::End`].
    Verify {
        #[serde(default)]
        target: Option<String>,
        #[serde(default)]
        repair: bool,
    },
    /// As for [`Request::Verify`].
    Cleanup {
        cleanup: Cleanup,
    },
}

/// The lines of a long answer never begin like this.
const RESPONSE: &[u8] = b"{\"answer\":";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Response {
    Status {
        status: Box<Status>,
    },
    /// So many objects are pending again.
    Retried {
        objects: u64,
    },
    /// All lines of a long answer were sent.
    End,
    Repaired,
    Vacuumed {
        given: Given,
    },
    /// Done, and there is nothing to tell.
    Done,
    Progress {
        progress: Option<Progress>,
    },
    Held {
        held: Vec<Held>,
        /// Live indicators that MISP's present warninglists would withdraw, where they wait for leave.
        #[serde(default)]
        warninglists: Option<i64>,
    },
    Forgotten {
        done: Forgotten,
    },
    Released {
        claims: usize,
    },
    /// `None`: no warninglists wait.
    ReleasedWarninglists {
        withdrawn: Option<usize>,
    },
    Suppression {
        done: Suppression,
    },
    Suppressed {
        suppressed: Vec<Suppressed>,
    },
    Failed {
        error: String,
    },
}

/// The bound socket; its file goes with it.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Control {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}

/// Binds the socket, in place of one that a dead relay left. To be called while the ledger's lock is
/// held.
///
/// # Errors
/// A relay listens there, or the socket cannot be made.
pub async fn bind(data_dir: &Path) -> anyhow::Result<Control> {
    let path = data_dir.join(SOCKET);
    if UnixStream::connect(&path).await.is_ok() {
        bail!("another relay listens on {}", path.display());
    }
    // Made under another name: no moment with the permissions of the umask under the right one.
    let made = data_dir.join(format!("{SOCKET}.new"));
    remove(&made).await?;
    let listener = UnixListener::bind(&made).with_context(|| {
        format!("make the control socket {} (a path may have 100 bytes at most)", made.display())
    })?;
    let private = std::fs::Permissions::from_mode(0o600);
    tokio::fs::set_permissions(&made, private).await.context("make the control socket private")?;
    tokio::fs::rename(&made, &path).await.context("put the control socket in place")?;
    Ok(Control { listener, path })
}

async fn remove(path: &Path) -> anyhow::Result<()> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

impl Control {
    /// Answers until `stop`, then removes the socket.
    ///
    /// # Errors
    /// Never in the middle: a client that fails harms only itself.
    pub async fn serve(self, overview: Overview, stop: CancellationToken) -> anyhow::Result<()> {
        let mut clients = JoinSet::new();
        let long = Arc::new(Semaphore::new(1));
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.accept(), if clients.len() < MAX_CLIENTS => {
                    if let Some(stream) = accepted {
                        clients.spawn(converse(stream, overview.clone(), Arc::clone(&long)));
                    }
                }
                Some(ended) = clients.join_next() => report(ended),
            }
        }
        drop(self);
        clients.shutdown().await;
        Ok(())
    }

    async fn accept(&self) -> Option<UnixStream> {
        match self.listener.accept().await {
            Ok((stream, _)) => Some(stream),
            Err(error) => {
                tracing::warn!(%error, "the control socket accepts no client");
                tokio::time::sleep(Duration::from_millis(100)).await;
                None
            }
        }
    }
}

/// A client that went away is its own business.
fn report(ended: Result<io::Result<()>, tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a client of the control socket could not be answered");
    }
}

async fn converse(stream: UnixStream, overview: Overview, long: Arc<Semaphore>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut reader).take(LONGEST_REQUEST);
        let read = bounded.read_until(b'\n', &mut line);
        if timeout(IDLE, read).await.map_err(io::Error::other)?? == 0 {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        let response = match serde_json::from_slice(&line) {
            _ if !whole => failed("a request is one line of at most 4 KiB"),
            Err(error) => failed(&format!("no request: {error}")),
            Ok(request) => answer(request, &overview, &mut writer, &long).await?,
        };
        let mut line = serde_json::to_vec(&response)?;
        line.push(b'\n');
        writer.write_all(&line).await?;
        if !whole {
            return Ok(());
        }
    }
}

/// Asks the relay that runs on this data folder; `None`: none listens.
///
/// # Errors
/// The socket may not be opened, or what listens does not answer as a relay does.
pub async fn ask(data_dir: &Path, request: &Request) -> anyhow::Result<Option<Response>> {
    let (lines, _) = mpsc::channel(1);
    ask_long(data_dir, request, lines).await
}

/// As [`ask`]; the lines before the response go to `lines` as they come, until nobody takes them.
///
/// # Errors
/// As [`ask`].
pub async fn ask_long(
    data_dir: &Path,
    request: &Request,
    lines: mpsc::Sender<Vec<u8>>,
) -> anyhow::Result<Option<Response>> {
    let path = data_dir.join(SOCKET);
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) if no_relay(&error) => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| {
                format!("ask the relay over {} (as the user that runs it)", path.display())
            });
        }
    };
    let answered = exchange(stream, request, lines).await;
    answered.map(Some).with_context(|| format!("ask the relay over {}", path.display()))
}

/// A dead relay's socket refuses.
fn no_relay(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

async fn exchange(
    stream: UnixStream,
    request: &Request,
    lines: mpsc::Sender<Vec<u8>>,
) -> anyhow::Result<Response> {
    let (reader, mut writer) = stream.into_split();
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    let quick = matches!(request, Request::Status | Request::RetryRejected { .. });
    let patience = if quick { PATIENCE } else { LONG_PATIENCE };
    let mut reader = BufReader::with_capacity(64 << 10, reader);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut reader).take(LONGEST_RESPONSE);
        let read = timeout(patience, bounded.read_until(b'\n', &mut line)).await;
        match read {
            Err(_) => bail!("no answer within {patience:?}"),
            Ok(read) => read?,
        };
        if line.is_empty() {
            bail!("it hung up: it is being stopped, or this command took its lines too slowly");
        }
        if line.starts_with(RESPONSE) {
            return serde_json::from_slice(&line)
                .context("understand its answer: is it another version?");
        }
        if lines.send(line).await.is_err() {
            return Ok(Response::End);
        }
    }
}
