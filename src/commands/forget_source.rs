//! The command `forget-source` ends what a source claims that is no longer read.

use anyhow::{Context, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::output::print;
use super::trial::{Trial, tell_altered};
use super::{ConfigSource, door};
use crate::admin::{Needs, Request, Services};
use crate::app;
use crate::config::Config;
use crate::ledger::{ForgottenSource, Ledger};
use crate::log_event::LogEvent;
use crate::pure::count::Count;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ForgetSourceOptions {
    /// The source's name, as `status` shows it
    #[arg(value_name = "NAME")]
    pub source: String,

    /// Print what would be sent and withdrawn, and what other sources keep, and change nothing. The source may still be
    /// read
    #[arg(long)]
    pub dry_run: bool,
}

/// Forgets a source that is not read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForgetSource {
    pub source: String,
}

pub(super) const FORGET_SOURCE: Request<ForgetSource, ForgottenSource> =
    Request::change("/forget-source", Needs::Targets, |services, asked: ForgetSource| {
        Box::pin(end(services, asked.source))
    })
    .slow();

async fn end(services: &Services, source: String) -> anyhow::Result<ForgottenSource> {
    let read: Vec<String> = services.sources.iter().map(|one| one.name.clone()).collect();
    let forgotten = services.ledger.forget_source(&services.views, &source, &read).await;
    let done = forgotten.context("the ledger cannot be written")?;
    match &done {
        ForgottenSource::Done { events, withdrawn } => {
            tracing::warn!(
                event = LogEvent::OperatorForgetSource.word(),
                source,
                events,
                withdrawn,
                "A source is forgotten, as an operator asked"
            );
        }
        ForgottenSource::Configured | ForgottenSource::Unknown { .. } => tracing::info!(
            event = LogEvent::OperatorForgetSource.word(),
            source,
            ?done,
            "An operator asked to forget a source that is read or not known. Nothing was changed"
        ),
    }
    Ok(done)
}

/// Ends what a source claims that is no longer read, or tells what that would do.
///
/// # Errors
/// The source is read or unknown, neither a relay nor the ledger can do it, or standard output is closed.
pub async fn forget_source(
    settings: &ConfigSource,
    options: ForgetSourceOptions,
) -> anyhow::Result<()> {
    let ForgetSourceOptions { source, dry_run } = options;
    if dry_run {
        return Box::pin(try_out(settings, &source)).await;
    }
    let (done, _) =
        door::ask(settings, &FORGET_SOURCE, ForgetSource { source: source.clone() }).await?;
    let (events, withdrawn) = counts(&source, done)?;
    print(&format!(
        "{source} is forgotten, with {events}: {withdrawn} that nothing else claims are being withdrawn.\n"
    ))
}

/// Forgets the source in a copy of the ledger, and prints what that sends and withdraws.
async fn try_out(settings: &ConfigSource, source: &str) -> anyhow::Result<()> {
    let mut trial = Trial::begin(settings, settings.load(Needs::Targets).await?).await?;
    let ledger = Ledger::open(&trial.config.ledger).await?;
    let told = tell(&mut trial.config, &ledger, source).await;
    ledger.close().await;
    told
}

async fn tell(config: &mut Config, ledger: &Ledger, source: &str) -> anyhow::Result<()> {
    app::remember_sources(config, ledger).await?;
    let views = app::services_of(config, ledger, Needs::Settings)?.views;
    let before = ledger.last_change().await?;
    let targets = ledger.targets().await?;
    let mut held = Vec::new();
    for target in &targets {
        held.push(ledger.live_of_source(target, source).await?);
    }
    // The source may still be read: nothing becomes of the copy.
    let done = ledger.forget_source(&views, source, &[]).await?;
    let (events, _) = counts(source, done)?;
    let why = format!("because {source} is forgotten");
    let ended = tell_altered(ledger, before, &why).await?;
    for (target, claimed) in targets.iter().zip(held) {
        let kept = claimed.saturating_sub(ended.get(target).copied().unwrap_or_default());
        print(&format!(
            "{target}: other sources keep {kept} of {claimed} live indicators that {source} claims\n"
        ))?;
    }
    print(&format!(
        "{source} would be forgotten, with {events}. Nothing was sent, and the ledger is as it was.\n"
    ))
}

/// Returns how many events were forgotten and objects withdrawn.
///
/// # Errors
/// The source is read or unknown.
fn counts(source: &str, done: ForgottenSource) -> anyhow::Result<(Count<usize>, Count<usize>)> {
    match done {
        ForgottenSource::Done { events, withdrawn } => {
            Ok((Count(events, "event"), Count(withdrawn, "object")))
        }
        ForgottenSource::Configured => bail!(
            "{source} is read: the relay would fill the ledger with it again\n  hint: set source.{source}.enabled = false, or remove the section, and restart the relay first"
        ),
        ForgottenSource::Unknown { absent } if absent.is_empty() => {
            bail!(
                "the ledger holds nothing of a source {source:?}, and nothing of any that is not read"
            )
        }
        ForgottenSource::Unknown { absent } => bail!(
            "the ledger holds nothing of a source {source:?}; of those that it holds, these are not read: {}",
            absent.join(", ")
        ),
    }
}
