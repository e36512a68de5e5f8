//! Implements `resync --dry-run`: it resyncs a copy of the ledger, and prints what a real resync would send
//! and withdraw.

use anyhow::ensure;

use super::super::ConfigSource;
use super::super::output::print;
use super::super::trial::{Trial, tell_altered};
use super::follow::read;
use crate::admin::Needs;
use crate::app::{NO_KEY, Scope};
use crate::config::Config;
use crate::ledger::Ledger;

/// Resyncs a copy of the ledger that nothing is sent from. Prints what would be sent.
pub(super) async fn dry_run(settings: &ConfigSource, scope: Scope) -> anyhow::Result<()> {
    let config = settings.load(Needs::Secrets).await?;
    ensure!(config.has_key(), NO_KEY);
    let trial = Trial::begin(settings, config).await?;
    let before = last_change(&trial.config).await?;
    let (reading, done) = read(&trial.config, scope).await?;
    let sources = reading.sources();
    let ledger = reading.end().await;
    let told =
        tell_altered(&ledger, before, &format!("from {}", sources.join(", "))).await.map(drop);
    ledger.close().await;
    told?;
    print(&format!("{done}\nNothing was sent, and the ledger is as it was.\n"))
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
