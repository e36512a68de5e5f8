//! The commands `status` and `retry-rejected`: the running relay carries them out; without one they
//! open the ledger themselves.

use std::io::{self, Write};

use anyhow::{bail, ensure};
use chrono::Utc;

use super::answer;
use super::control::{self, Request, Response, SOCKET};
use super::{Means, Status, render};
use crate::config::{Config, LedgerConfig};
use crate::ledger::{Ledger, OpenError};

/// Prints how everything is, for people or as one JSON object.
///
/// # Errors
/// Neither a relay nor the ledger can tell, or standard output is closed.
pub async fn status(config: &Config, json: bool) -> anyhow::Result<()> {
    let status = match control::ask(&config.ledger.data_dir, &Request::Status).await? {
        Some(Response::Status { status }) => *status,
        Some(Response::Failed { error }) => bail!("the relay answers: {error}"),
        Some(other) => bail!("the relay answers {other:?}"),
        None => offline(config).await?,
    };
    let text = if json {
        format!("{}\n", serde_json::to_string(&status)?)
    } else {
        render::text(&status, Utc::now())
    };
    print(&text)
}

async fn offline(config: &Config) -> anyhow::Result<Status> {
    let ledger = open(&config.ledger).await?;
    let status = ledger.status().await;
    ledger.close().await;
    let webhook = config.misp.webhook.is_some();
    let means = Means { webhook, rest: config.misp.rest.is_some() };
    Ok(Status::new(None, status?, means))
}

/// Makes what Sentinel rejected pending again, of one target or of all.
///
/// # Errors
/// There is no such target, neither a relay nor the ledger can do it, or standard output is closed.
pub async fn retry_rejected(config: &Config, target: Option<&str>) -> anyhow::Result<()> {
    let enabled = config.targets.iter().filter(|target| target.enabled);
    let known: Vec<String> = enabled.map(|target| target.name.clone()).collect();
    answer::known_target(target, &known).map_err(anyhow::Error::msg)?;
    let request = Request::RetryRejected { target: target.map(str::to_owned) };
    match control::ask(&config.ledger.data_dir, &request).await? {
        Some(Response::Retried { objects }) => {
            print(&format!("{objects} rejected objects are pending again.\n"))
        }
        Some(Response::Failed { error }) => bail!("the relay answers: {error}"),
        Some(other) => bail!("the relay answers {other:?}"),
        None => {
            let ledger = open(&config.ledger).await?;
            let retried = ledger.retry_rejected(target, Ledger::now()).await;
            ledger.close().await;
            print(&format!(
                "{} rejected objects are pending again. No relay is running: its next start sends them.\n",
                retried?
            ))
        }
    }
}

/// Opens the ledger in place of a relay; never makes one.
pub(super) async fn open(config: &LedgerConfig) -> anyhow::Result<Ledger> {
    let file = config.data_dir.join("ledger.db");
    ensure!(
        file.exists(),
        "no relay is running, and there is no ledger {}\n  hint: `run` makes it at its first start; is ledger.data_dir right?",
        file.display()
    );
    match Ledger::open(config).await {
        Ok(ledger) => Ok(ledger),
        Err(OpenError::InUse { path, holder }) => bail!(
            "a relay (process {holder}) holds the ledger in {} but does not listen on its {SOCKET}\n  hint: it is starting or stopping; ask again in a moment, and look into its log if that does not help",
            path.display()
        ),
        Err(error) => Err(error.into()),
    }
}

/// A reader that has seen enough, such as `head`, is no error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
