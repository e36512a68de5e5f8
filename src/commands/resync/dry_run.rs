//! Implements `resync --dry-run`: it resyncs a copy of the ledger, and prints what a real resync would send
//! and withdraw.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::super::output::print;
use super::super::{ConfigSource, door};
use super::follow::read;
use crate::admin::{Needs, Request, Services};
use crate::app::{NO_KEY, Scope};
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

/// Resyncs a copy of the ledger that nothing is sent from. Prints what would be sent.
pub(super) async fn dry_run(settings: &ConfigSource, scope: Scope) -> anyhow::Result<()> {
    let config = settings.load(Needs::Secrets).await?;
    ensure!(config.has_key(), NO_KEY);
    // Its path is absolute, because the relay makes the copy and may run in another folder.
    let folder = tempfile::TempDir::new_in(&config.ledger.data_dir)
        .context("make a folder for a copy of the ledger in ledger.data_dir")?;
    let ledger = copy(settings, &config.ledger, folder.path()).await?;
    let copied = Config { ledger, ..config };
    let before = last_change(&copied).await?;
    let (reading, done) = read(&copied, scope).await?;
    let ledger = reading.end().await;
    let told = tell_altered(&ledger, before, &copied).await;
    ledger.close().await;
    told?;
    print(&format!("{done}\nNothing was sent, and the ledger is as it was.\n"))
}

/// Copies the ledger and the warninglists in force.
async fn copy(
    settings: &ConfigSource,
    from: &LedgerConfig,
    to: &Path,
) -> anyhow::Result<LedgerConfig> {
    door::ask(settings, &COPY, CopyLedger { to: to.join("ledger.db") }).await?;
    copy_warninglists(&from.data_dir, to).await.context("copy the warninglists in force")?;
    Ok(LedgerConfig { data_dir: to.to_owned(), ..from.clone() })
}

/// Returns the last change before the resync. Forgets a resync that is going on in the copy, so that this one
/// begins from the start.
async fn last_change(config: &Config) -> anyhow::Result<i64> {
    let ledger = Ledger::open(&config.ledger).await?;
    for source in &config.sources {
        ledger.forget_resync(&source.name).await?;
    }
    let before = ledger.last_change().await?;
    ledger.close().await;
    Ok(before)
}

async fn tell_altered(ledger: &Ledger, before: i64, config: &Config) -> anyhow::Result<()> {
    for target in ledger.targets().await? {
        let mut counts: BTreeMap<Alteration, usize> = BTreeMap::new();
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
        let sources: Vec<&str> =
            config.enabled_sources().map(|source| source.name.as_str()).collect();
        print(&format!(
            "{target}: {new} new, {changed} changed and {withdrawn} withdrawn indicators would be sent from {}\n",
            sources.join(", ")
        ))?;
        if second_forms > 0 {
            print(&format!(
                "{target}: {second_forms} of the new ones are URLs in the form that requests have: see convert.url_root\n"
            ))?;
        }
    }
    Ok(())
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
