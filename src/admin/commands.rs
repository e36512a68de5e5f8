//! The commands `status` and `retry-rejected`: the running relay carries them out; without one they
//! open the ledger themselves.

use std::io::{self, Write};

use anyhow::bail;
use chrono::Utc;

use super::answer;
use super::control::{self, Request, Response, SOCKET};
use super::{Means, Status, render};
use crate::config::{Config, LedgerConfig};
use crate::ledger::{Ledger, OpenError};
use crate::pure::count::Count;
use crate::pure::safe;

/// The exit code of `status` where no relay runs, as `systemctl status` has it.
const NO_RELAY: u8 = 3;

/// Prints how everything is, for people or as one JSON object; gives back the exit code: 0, or 3 where
/// no relay runs and the ledger alone told, or there is none yet.
///
/// # Errors
/// Neither a relay nor the ledger can tell, or standard output is closed.
pub async fn status(config: &Config, json: bool) -> anyhow::Result<u8> {
    let status = match control::ask(&config.ledger.data_dir, &Request::Status).await? {
        Some(Response::Status { status }) => *status,
        Some(Response::Failed { error }) => bail!("the relay answers: {error}"),
        Some(other) => bail!("the relay answers {other:?}"),
        None => match missing(&config.ledger) {
            Some(told) => {
                writeln!(io::stderr(), "{}", safe::lines(&told)).ok();
                return Ok(NO_RELAY);
            }
            None => offline(config).await?,
        },
    };
    match json {
        true => print_json(&serde_json::to_string(&status)?)?,
        false => print(&render::text(&status, Utc::now()))?,
    }
    Ok(if status.relay.is_some() { 0 } else { NO_RELAY })
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
            print(&format!("{} pending again.\n", are_pending(objects)))
        }
        Some(Response::Failed { error }) => bail!("the relay answers: {error}"),
        Some(other) => bail!("the relay answers {other:?}"),
        None => {
            let ledger = open(&config.ledger).await?;
            let retried = ledger.retry_rejected(target, Ledger::now()).await;
            ledger.close().await;
            print(&format!(
                "{} pending again. No relay is running: its next start sends what is.\n",
                are_pending(retried?)
            ))
        }
    }
}

fn are_pending(objects: u64) -> String {
    let verb = if objects == 1 { "is" } else { "are" };
    format!("{} {verb}", Count(objects, "rejected object"))
}

/// Opens the ledger in place of a relay; never makes one.
pub(super) async fn open(config: &LedgerConfig) -> anyhow::Result<Ledger> {
    if let Some(told) = missing(config) {
        bail!(told);
    }
    match Ledger::open(config).await {
        Ok(ledger) => Ok(ledger),
        Err(OpenError::InUse { path, holder }) => bail!(
            "a relay (process {holder}) holds the ledger in {} but does not listen on its {SOCKET}\n  hint: it is starting or stopping; ask again in a moment, and look into its log if that does not help",
            path.display()
        ),
        Err(error) => Err(error.into()),
    }
}

/// What to say where no relay runs and no ledger is there to ask.
fn missing(config: &LedgerConfig) -> Option<String> {
    let file = config.data_dir.join("ledger.db");
    (!file.exists()).then(|| {
        format!(
            "no relay is running, and there is no ledger {}\n  hint: `run` makes it at its first start; is ledger.data_dir right?",
            file.display()
        )
    })
}

/// Prints words for people. Whatever stands in them, they command no terminal.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    write(&safe::lines(text))
}

/// Prints JSON as a line of its own. Whatever stands in it, it commands no terminal.
pub(super) fn print_json(json: &str) -> anyhow::Result<()> {
    write(&format!("{}\n", safe::json(json)))
}

/// Prints what is fit for a terminal already. A reader that has seen enough, such as `head`, is no
/// error.
pub(super) fn write(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
