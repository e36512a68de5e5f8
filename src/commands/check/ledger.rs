//! The relay's memory: of the running relay, or the file itself.

use super::super::door::RelayClient;
use super::super::status::StatusRequest;
use super::finding::Finding;
use crate::admin::Status;
use crate::compare::tells_used_up_ids;
use crate::config::{Config, LedgerConfig, Mode};
use crate::ledger::{Ledger, StartError};
use crate::pure::count::Count;
use crate::pure::stix::Withdraw;

const STEP: &str = "ledger";

/// Asks the relay that runs on this data folder; `None`: none does.
pub(super) async fn running(config: &LedgerConfig) -> Result<Option<Status>, Finding> {
    let asked = async { RelayClient::at(&config.data_dir)?.ask(&StatusRequest {}).await };
    asked.await.map_err(|error| {
        let remedy = "run `check` as the user that runs the relay, and with the same release";
        Finding::error("relay", "", format!("{error:#}"), remedy)
    })
}

/// What the running relay says of itself.
pub(super) fn of_relay(status: &Status) -> Vec<Finding> {
    let ledger = &status.ledger;
    let figures = format!("{}, {}", Count(ledger.events, "event"), Count(ledger.claims, "claim"));
    let mut findings = vec![Finding::ok(STEP, "", format!("held by the running relay: {figures}"))];
    findings.extend(status.degraded.iter().map(|words| Finding::warning("relay", "", words, "")));
    findings
}

/// Opens it as `run` would, or looks whether it could be made.
pub(super) async fn look(config: &Config) -> Finding {
    let file = config.ledger.data_dir.join("ledger.db");
    let subject = file.display().to_string();
    if !file.exists() {
        return match probe(&config.ledger) {
            Ok(()) => to_be_made(config, &subject),
            Err(error) => Finding::error(
                STEP,
                &subject,
                format!("cannot be made: {error}"),
                "set ledger.data_dir to a folder on a local disk that this user may write",
            ),
        };
    }
    let ledger = match Ledger::open(&config.ledger).await {
        Ok(ledger) => ledger,
        Err(error) => {
            let words = error.to_string();
            let (seen, hint) = words.split_once("\n  hint: ").unwrap_or((&words, ""));
            return Finding::error(STEP, &subject, seen, hint);
        }
    };
    let status = ledger.status().await;
    ledger.close().await;
    match status {
        Ok(status) => Finding::ok(
            STEP,
            &subject,
            format!("{}, {}", Count(status.events, "event"), Count(status.claims, "claim")),
        ),
        Err(error) => {
            Finding::error(STEP, &subject, error.to_string(), "`ledger check` looks closer")
        }
    }
}

/// `run` refuses an empty one where nothing can tell which ids are used up.
fn to_be_made(config: &Config, subject: &str) -> Finding {
    let live = config.targets.iter().filter(|one| one.enabled && one.mode == Mode::Live);
    let silent = live.filter(|one| one.withdraw == Withdraw::Revoke && !tells_used_up_ids(one));
    let names: Vec<&str> = silent.map(|target| target.name.as_str()).collect();
    if names.is_empty() {
        return Finding::ok(STEP, subject, "not there yet; the first `run` makes it");
    }
    let words = StartError::Forgotten.to_string();
    let (seen, hint) = words.split_once("\n  hint: ").unwrap_or((&words, ""));
    Finding::error(
        STEP,
        subject,
        format!("`run` will not start for {}: {seen}", names.join(", ")),
        hint,
    )
}

/// The folder, or the nearest one above it that is there, can be written.
fn probe(config: &LedgerConfig) -> std::io::Result<()> {
    let folder = config.data_dir.ancestors().find(|folder| folder.is_dir());
    tempfile::tempfile_in(folder.unwrap_or(&config.data_dir)).map(drop)
}
