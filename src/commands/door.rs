//! Gives commands access to the ledger. If a relay runs, the command asks it over the control socket. If none
//! runs, the command opens the ledger and calls the function that the relay would have called.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;

use super::output::note;
use crate::admin::control::{End, SOCKET};
use crate::admin::{LongRequest, Needs, Request, Services};
use crate::app;
use crate::config::{Config, ConfigSource, LedgerConfig, Mistakes};
use crate::http;
use crate::ledger::{Ledger, OpenError};

/// How long the running relay may take for the next line of a long answer. SQLite's own check of a large file
/// takes minutes.
const NEXT_LINE: Duration = Duration::from_secs(600);

/// Who carried out the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The running relay. It acts on the result at once.
    Relay,
    /// This command, on the ledger. The relay acts on the result at its next start.
    Command,
}

/// The error that there is neither a relay nor a ledger to ask.
#[derive(Debug, thiserror::Error)]
#[error(
    "no relay is running, and there is no ledger {}\n  hint: `run` makes it at its first start; is ledger.data_dir right?",
    .0.display()
)]
pub(super) struct NoLedger(PathBuf);

/// Asks the running relay. If none runs, carries the request out on the ledger.
///
/// # Errors
/// Neither of them can answer.
pub(super) async fn ask<Q: Serialize, A: DeserializeOwned>(
    settings: &ConfigSource,
    request: &Request<Q, A>,
    asked: Q,
) -> anyhow::Result<(A, By)> {
    let ledger = settings.ledger()?;
    // Only the ledger's section is loaded before: the relay has the rest of the configuration.
    if let Some(answer) = RelayClient::at(&ledger.data_dir)?.ask(request, &asked).await? {
        return Ok((answer, By::Relay));
    }
    let services = services(settings, &ledger, request.needs).await?;
    // The ledger is closed before an error is returned: only then is its lock free for a relay.
    let answer = (request.execute)(&services, asked).await;
    services.ledger.close().await;
    Ok((answer?, By::Command))
}

/// Asks the running relay; `None` if none runs. The ledger is left alone, and so is its lock.
///
/// # Errors
/// The relay fails or does not answer in time.
pub(super) async fn ask_relay<Q: Serialize, A: DeserializeOwned>(
    settings: &ConfigSource,
    request: &Request<Q, A>,
    asked: &Q,
) -> anyhow::Result<Option<A>> {
    let ledger = settings.ledger()?;
    RelayClient::at(&ledger.data_dir)?.ask(request, asked).await
}

/// Does the same as [`ask`] for a long answer. Its lines go to `lines` as they come.
///
/// # Errors
/// Those of [`ask`].
pub(super) async fn ask_for_lines<Q: Serialize, L: DeserializeOwned>(
    settings: &ConfigSource,
    request: &LongRequest<Q, L>,
    asked: Q,
    lines: mpsc::Sender<L>,
) -> anyhow::Result<By> {
    let ledger = settings.ledger()?;
    if RelayClient::at(&ledger.data_dir)?.ask_for_lines(request, &asked, &lines).await? {
        return Ok(By::Relay);
    }
    let services = services(settings, &ledger, request.needs).await?;
    let ended = (request.execute)(&services, asked, lines).await;
    services.ledger.close().await;
    ended?;
    Ok(By::Command)
}

/// Opens the ledger in place of a relay. Never creates one.
///
/// # Errors
/// There is no ledger, a relay holds it, or it cannot be opened.
pub(super) async fn open(config: &LedgerConfig) -> anyhow::Result<Ledger> {
    ledger_file(config)?;
    match Ledger::open(config).await {
        Ok(ledger) => Ok(ledger),
        Err(OpenError::InUse { path, holder }) => {
            let path = path.display();
            bail!(
                "a relay (process {holder}) holds the ledger in {path} but does not listen on its {SOCKET}\n  hint: it is starting or stopping; ask again in a moment, and look into its log if that does not help"
            )
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the path of the ledger's file.
///
/// # Errors
/// There is no ledger.
pub(super) fn ledger_file(config: &LedgerConfig) -> Result<PathBuf, NoLedger> {
    let file = config.data_dir.join("ledger.db");
    if file.exists() { Ok(file) } else { Err(NoLedger(file)) }
}

async fn services(
    settings: &ConfigSource,
    ledger: &LedgerConfig,
    needs: Needs,
) -> anyhow::Result<Services> {
    let mut config = load_without_relay(settings, needs).await?;
    // The vaults were asked before this line locks the ledger. So a relay that starts meanwhile does not wait
    // for them.
    let opened = open(ledger).await?;
    app::remember_sources(&mut config, &opened).await?;
    app::services_of(&config, &opened, needs)
}

/// Loads the configuration for a command that carries a request out itself.
///
/// # Errors
/// The configuration has a mistake, or a secret cannot be read.
pub(super) async fn load_without_relay(
    settings: &ConfigSource,
    needs: Needs,
) -> anyhow::Result<Config> {
    let loaded = settings.load(Needs::Settings).await;
    // An operator often lacks the environment of `run`. Without a relay, the mistakes that follow from that
    // matter.
    if let (Err(error), Ok(ledger)) = (&loaded, settings.ledger())
        && error.is::<Mistakes>()
    {
        let folder = ledger.data_dir.display();
        note(&format!(
            "note: no relay answers on {folder}/{SOCKET}, so this command needs the whole configuration: give it the --config and the environment of `run`"
        ));
    }
    // Vaults are asked last, so that mistakes are reported without waiting for them.
    let config = loaded?;
    if needs == Needs::Settings { Ok(config) } else { settings.load(needs).await }
}

/// A client of the relay that may run on a data folder.
#[derive(Debug)]
pub(super) struct RelayClient {
    http: reqwest::Client,
    socket: PathBuf,
}

impl RelayClient {
    /// Makes a client for the socket in a data folder.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub(super) fn at(data_dir: &Path) -> anyhow::Result<Self> {
        let socket = data_dir.join(SOCKET);
        let http = http::LOCAL
            .client_with(|builder| builder.unix_socket(socket.clone()).read_timeout(NEXT_LINE))?;
        Ok(Self { http, socket })
    }

    /// Asks the relay. Returns `None` if no relay listens.
    ///
    /// # Errors
    /// This user may not open the socket, or the relay fails or does not answer in time.
    pub(super) async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        request: &Request<Q, A>,
        asked: &Q,
    ) -> anyhow::Result<Option<A>> {
        let method = if request.changes { Method::POST } else { Method::GET };
        let asking = self.http.request(method, url(request.path)).timeout(request.patience);
        let Some(answer) = self.send(asking.json(asked)).await? else { return Ok(None) };
        let body = answer.bytes().await.map_err(|error| self.no_answer(error))?;
        let answer = serde_json::from_slice(&body).context(OTHER_VERSION)?;
        Ok(Some(answer))
    }

    /// Asks the relay for a long answer. Returns whether a relay answered. Ends early when nobody takes the
    /// lines any more.
    ///
    /// # Errors
    /// Those of [`RelayClient::ask`], and an answer that ends before it is complete.
    pub(super) async fn ask_for_lines<Q: Serialize, L: DeserializeOwned>(
        &self,
        request: &LongRequest<Q, L>,
        asked: &Q,
        lines: &mpsc::Sender<L>,
    ) -> anyhow::Result<bool> {
        let asking = self.http.post(url(request.path)).json(asked);
        let Some(mut answer) = self.send(asking).await? else { return Ok(false) };
        let mut text: Vec<u8> = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.no_answer(error))? {
            text.extend_from_slice(&piece);
            // A piece may end in the middle of a line, whose rest comes with the next piece.
            let Some(end) = memchr::memrchr(b'\n', &text) else { continue };
            let rest = text.split_off(end + 1);
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                if line.starts_with(End::BEGINS) {
                    return match serde_json::from_slice(line).context(OTHER_VERSION)? {
                        End::Done => Ok(true),
                        End::Failed { error } => Err(anyhow!(error)),
                    };
                }
                let line = serde_json::from_slice(line).context(OTHER_VERSION)?;
                // Nobody takes the lines any more. That is no fault of the relay.
                if lines.send(line).await.is_err() {
                    return Ok(true);
                }
            }
            text = rest;
        }
        // The last line did not come, so the answer is incomplete even if the connection ended without an
        // error.
        bail!(
            "the relay ended its answer early: it is being stopped, or this command took its lines too slowly"
        )
    }

    /// Sends the request. Returns an answer that reports success, or `None` if no relay listens.
    async fn send(&self, asking: reqwest::RequestBuilder) -> anyhow::Result<Option<Response>> {
        let answer = match asking.send().await {
            Ok(answer) => answer,
            Err(error) if is_no_relay(&error) => return Ok(None),
            Err(error) => return Err(self.no_answer(error)),
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(Some(answer));
        }
        let body = answer.bytes().await.map_err(|error| self.no_answer(error))?;
        let failed: Value = serde_json::from_slice(&body).unwrap_or_default();
        let words = match failed.get("error").and_then(Value::as_str) {
            Some(error) => error.to_owned(),
            None => String::from_utf8_lossy(&body).into_owned(),
        };
        // The first three carry the relay's own words. Any other, such as 404, means that it does not know
        // the request.
        match status {
            StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::SERVICE_UNAVAILABLE => bail!(words),
            _ => bail!(
                "the relay does not know this request ({status}: {words}): is it of another release?"
            ),
        }
    }

    fn no_answer(&self, error: reqwest::Error) -> anyhow::Error {
        let words = if error.is_timeout() {
            "it did not answer in time: it may be busy and still do it, or it hangs; look into its log"
        } else if error.is_connect() {
            "as the user that runs it"
        } else {
            "it hung up: it is being stopped, or it failed; look into its log"
        };
        // The URL is left out, because its host is made up.
        anyhow::Error::from(error.without_url())
            .context(format!("ask the relay over {} ({words})", self.socket.display()))
    }
}

/// The error for an answer that cannot be parsed.
const OTHER_VERSION: &str = "the relay's answer is not understood: is it of another release?";

/// Returns the URL of a path. The host in it is only for readers: the socket decides who is asked.
fn url(path: &str) -> String {
    format!("http://relay{path}")
}

/// Returns whether the error means that no relay runs: there is no socket, or a dead relay's socket, which
/// refuses.
fn is_no_relay(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let mut kinds = causes.filter_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()));
    let is_absent =
        |kind| matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
    error.is_connect() && kinds.any(is_absent)
}
