//! Tries out on a copy of the ledger what a command would do (`--dry-run`). Nothing is sent from the copy, and the ledger
//! stays as it is.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use super::output::print;
use super::{ConfigSource, door};
use crate::admin::{Needs, Request, Services};
use crate::config::{Config, LedgerConfig};
use crate::ledger::{Alteration, Altered, Ledger, copy_warninglists};
use crate::pure::safe;

/// The request to copy the ledger to a file that does not exist yet.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CopyLedger {
    pub to: PathBuf,
}

pub(super) const COPY: Request<CopyLedger, ()> =
    Request::change("/ledger/copy", Needs::Settings, |services, asked: CopyLedger| {
        Box::pin(async move { copy_to(services, &asked.to).await })
    })
    .slow();

async fn copy_to(services: &Services, to: &Path) -> anyhow::Result<()> {
    ensure!(to.is_absolute(), "{} is no absolute path", to.display());
    // SQLite writes into an empty file and keeps its permissions. So only this user can read the copy.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    made.with_context(|| format!("make {}", to.display()))?;
    let copied = services.ledger.copy_to(to).await.context("the ledger cannot be copied");
    // An incomplete copy would look like a ledger, so it is removed.
    copied.inspect_err(|_| drop(std::fs::remove_file(to)))
}

/// A copy of the ledger and of the warninglists in force. Its files go when it is dropped.
pub(super) struct Trial {
    /// The configuration, with the place of the copy.
    pub config: Config,
    _folder: TempDir,
}

impl Trial {
    /// Copies the ledger, by the running relay if there is one.
    ///
    /// # Errors
    /// There is no ledger, or the copy cannot be written.
    pub(super) async fn begin(settings: &ConfigSource, config: Config) -> anyhow::Result<Self> {
        let from = &config.ledger;
        // Its path is absolute, because the relay makes the copy and may run in another folder.
        let folder = TempDir::new_in(&from.data_dir)
            .context("make a folder for a copy of the ledger in ledger.data_dir")?;
        let to = folder.path();
        door::ask(settings, &COPY, CopyLedger { to: to.join("ledger.db") }).await?;
        copy_warninglists(&from.data_dir, to).await.context("copy the warninglists in force")?;
        let ledger = LedgerConfig { data_dir: to.to_owned(), ..from.clone() };
        Ok(Self { config: Config { ledger, ..config }, _folder: folder })
    }
}

/// Prints what each target would be sent because of the changes after `before`. `why` ends the sentence of the counts.
/// Returns how many indicators would be withdrawn, by target.
///
/// # Errors
/// The copy cannot be read, or standard output is closed.
pub(super) async fn tell_altered(
    ledger: &Ledger,
    before: i64,
    why: &str,
) -> anyhow::Result<BTreeMap<String, i64>> {
    let mut ended = BTreeMap::new();
    for target in ledger.targets().await? {
        let mut counts: BTreeMap<Alteration, i64> = BTreeMap::new();
        let mut second_forms = 0;
        let mut after = Uuid::nil();
        loop {
            let page = ledger.altered_since(&target, before, after, 500, Ledger::now()).await?;
            let Some(last) = page.last() else { break };
            after = last.object;
            let mut text = String::new();
            for altered in &page {
                *counts.entry(altered.how()).or_default() += 1;
                let is_new = altered.how() == Alteration::New;
                second_forms += usize::from(is_new && altered.second_form);
                text.push_str(&format!("{target}: {}\n", safe::line(&words(altered))));
            }
            print(&text)?;
        }
        let of = |how| counts.get(&how).copied().unwrap_or_default();
        let [new, changed, withdrawn] =
            [Alteration::New, Alteration::Changed, Alteration::Withdrawn].map(of);
        print(&format!(
            "{target}: {new} new, {changed} changed and {withdrawn} withdrawn indicators would be sent {why}\n"
        ))?;
        if second_forms > 0 {
            print(&format!(
                "{target}: {second_forms} of the new ones are URLs in the form that requests have: see convert.url_root\n"
            ))?;
        }
        ended.insert(target, withdrawn);
    }
    Ok(ended)
}

fn words(altered: &Altered) -> String {
    let what = match altered.how() {
        Alteration::New => "new      ",
        Alteration::Changed => "changed  ",
        Alteration::Withdrawn => "withdrawn",
    };
    let body: Value = serde_json::from_str(&altered.body).unwrap_or_default();
    let pattern = body.get("pattern").and_then(Value::as_str).unwrap_or_default();
    let by = altered.event.map_or_else(String::new, |event| format!(" by event {event}"));
    format!("{what} {pattern}{by}")
}
