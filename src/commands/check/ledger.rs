//! Checks the ledger. It asks the running relay for its status. If none runs, it opens the ledger's file, or
//! tests whether the file can be made.

use super::super::door::RelayClient;
use super::super::status::STATUS;
use super::diagnosis::{Diagnosis, Found, Subject};
use crate::admin::{Nothing, Status};
use crate::compare::tells_used_up_ids;
use crate::config::{Config, LedgerConfig};
use crate::ledger::{Ledger, LedgerStatus, ReadSource, SourceNews, StartError};
use crate::pure::count::Count;
use crate::pure::stix::Withdraw;

const STEP: &str = "ledger";

/// The separator before the remedy in the ledger's errors.
const HINT: &str = "\n  hint: ";

/// Asks the relay that runs on this data folder for its status. Returns `None` if none runs.
pub(super) async fn running(config: &LedgerConfig) -> Found<Option<Status>> {
    let asked = async { RelayClient::at(&config.data_dir)?.ask(&STATUS, &Nothing {}).await };
    asked.await.map_err(|error| {
        let remedy = "run `check` as the user that runs the relay, and with the same release";
        Subject("relay", "").error(format!("{error:#}"), remedy)
    })
}

/// Returns the findings on a running relay, from its own status.
pub(super) fn of_relay(status: &Status, config: &Config) -> Vec<Diagnosis> {
    let held = format!("held by the running relay: {}", figures(&status.ledger));
    let degraded = status.degraded.iter().map(|words| Subject("relay", "").warning(words, ""));
    let news = source_news(&status.ledger, config);
    std::iter::once(Subject(STEP, "").ok(held)).chain(news).chain(degraded).collect()
}

/// Returns what the next start will make of sources that begin or have ended. A running relay may have been started with
/// other settings.
fn source_news(ledger: &LedgerStatus, config: &Config) -> Vec<Diagnosis> {
    let resynced = ledger.resyncs.iter().map(|one| one.source.as_str());
    let read = config.enabled_sources().map(ReadSource::from);
    let news = SourceNews::all(&ledger.sources, resynced, read);
    let is_configured = |name: &str| config.sources.iter().any(|source| source.name == name);
    let finding = |one: SourceNews| {
        let subject = Subject("source", one.source());
        match one.remedy() {
            // Who switched it off has decided that its claims stay.
            Some(remedy) if is_configured(one.source()) => {
                subject.note(format!("{}: {remedy}", one.words()))
            }
            Some(remedy) => subject.warning(one.words(), remedy),
            None => subject.note(one.words()),
        }
    };
    news.into_iter().map(finding).collect()
}

fn figures(ledger: &LedgerStatus) -> String {
    format!("{}, {}", Count(ledger.events, "event"), Count(ledger.claims, "claim"))
}

/// Opens the ledger as `run` would, or checks whether it could be made.
pub(super) async fn look(config: &Config) -> Found {
    let file = config.ledger.data_dir.join("ledger.db");
    let path = file.display().to_string();
    let subject = Subject(STEP, &path);
    if !file.exists() {
        const ELSEWHERE: &str =
            "set ledger.data_dir to a folder on a local disk that this user may write";
        let probed = probe(&config.ledger);
        probed.map_err(|error| subject.error(format!("cannot be made: {error}"), ELSEWHERE))?;
        return Ok(vec![to_be_made(config, subject)]);
    }
    let opened = Ledger::open(&config.ledger).await;
    let ledger = opened.map_err(|error| subject.failed(error, HINT))?;
    let status = ledger.status().await;
    // Closed at once: a relay may start while the other steps go on.
    ledger.close().await;
    let status = status.map_err(|error| subject.error(error, "`ledger check` looks closer"))?;
    let held = std::iter::once(subject.ok(figures(&status)));
    Ok(held.chain(source_news(&status, config)).collect())
}

/// Returns the finding on a ledger that is not there yet. `run` refuses an empty one if the used-up ids
/// cannot be read back.
fn to_be_made(config: &Config, subject: Subject<'_>) -> Diagnosis {
    let live = config.targets.iter().filter(|target| target.is_live());
    let silent = live.filter(|one| one.withdraw == Withdraw::Revoke && !tells_used_up_ids(one));
    let names: Vec<&str> = silent.map(|target| target.name.as_str()).collect();
    if names.is_empty() {
        return subject.ok("not there yet; the first `run` makes it");
    }
    let names = names.join(", ");
    subject.failed(format!("`run` will not start for {names}: {}", StartError::Forgotten), HINT)
}

/// Checks that the folder can be written, or the nearest existing one above it.
fn probe(config: &LedgerConfig) -> std::io::Result<()> {
    let folder = config.data_dir.ancestors().find(|folder| folder.is_dir());
    tempfile::tempfile_in(folder.unwrap_or(&config.data_dir)).map(drop)
}
