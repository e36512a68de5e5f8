//! The command `resync` has the relay read everything in MISP again and compare it with the ledger.

mod dry_run;
mod follow;

use anyhow::{Context, bail, ensure};
use axum::Router;
use clap::Args;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::follow::{follow, read};
use super::door::{RelayClient, load_without_relay, open};
use super::output::{print, some_time};
use super::status::STATUS;
use crate::admin::control::{Control, route};
use crate::admin::{Needs, Nothing, Request, ResyncState, Services};
use crate::app::Scope;
use crate::config::ConfigSource;
use crate::ledger::{Ledger, millis};
use crate::log_event::LogEvent;
use crate::pure::safe;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct ResyncOptions {
    /// Read only this event
    #[arg(long, value_name = "UUID", conflicts_with = "since")]
    pub event: Option<Uuid>,

    /// Read only what was touched in MISP within this time, e.g. 30d
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    pub since: Option<humantime::Duration>,

    /// Print what would be sent and withdrawn, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Return at once, while the relay resyncs
    #[arg(long, conflicts_with = "dry_run")]
    pub detach: bool,
}

const NO_KEY: &str = "a resync reads MISP over REST: set misp.key (and misp.url)";

/// Returns the routes of the control socket for this command.
pub(super) fn routes() -> Router<Control> {
    Router::new()
        .merge(route(&RESYNC))
        .merge(route(&PROGRESS))
        .merge(route(&IS_GONE))
        .merge(route(&dry_run::COPY))
}

/// The request to begin a resync of a scope.
const RESYNC: Request<Scope, ()> =
    Request::change("/resync", Needs::Secrets, |services, scope| Box::pin(begin(services, scope)));

async fn begin(services: &Services, scope: Scope) -> anyhow::Result<()> {
    ensure!(services.misp.is_some(), NO_KEY);
    let Scope { event, since } = scope;
    ensure!(event.is_none() || since.is_none(), "a resync is of one event, or since a time");
    let begun = scope.begin(&services.ledger, &services.source).await;
    begun.context("the ledger cannot be written")?;
    tracing::info!(
        event = LogEvent::OperatorResync.word(),
        misp_event = event.map(tracing::field::display),
        since,
        "A resync begins, as an operator asked"
    );
    Ok(())
}

/// The request for the progress of the resync, and for what is queued. The answer is `None` if there never
/// was one.
const PROGRESS: Request<Nothing, Option<ResyncState>> =
    Request::read("/resync/progress", Needs::Settings, |services, _| Box::pin(progress(services)));

async fn progress(services: &Services) -> anyhow::Result<Option<ResyncState>> {
    let progress = ResyncState::of(&services.ledger, &services.source).await;
    let rest = services.relay.as_ref().and_then(|relay| relay.rest.as_ref());
    let fault = rest.and_then(|rest| rest.now().error);
    Ok(progress.context("the ledger cannot be read")?.map(|one| ResyncState { fault, ..one }))
}

/// The question whether MISP lacks an event, or does not show it to this key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IsGone {
    event: Uuid,
}

const IS_GONE: Request<IsGone, bool> =
    Request::change("/resync/is-gone", Needs::Secrets, |services, asked: IsGone| {
        Box::pin(async move {
            let client = services.misp.as_ref().context(NO_KEY)?;
            Ok(client.is_gone(asked.event).await?)
        })
    })
    .slow();

/// Reads everything in MISP again and compares it. Shows the progress until it is done.
///
/// # Errors
/// There is no key, neither a relay nor the ledger can do it, or standard output is closed.
pub async fn resync(settings: &ConfigSource, options: ResyncOptions) -> anyhow::Result<()> {
    let ResyncOptions { event, since, dry_run, detach } = options;
    let since = since.map(|age| (Ledger::now() - millis(*age)) / 1_000);
    let scope = Scope { event, since };
    if dry_run {
        return Box::pin(dry_run::dry_run(settings, scope)).await;
    }
    let relay = RelayClient::at(&settings.ledger()?.data_dir)?;
    if relay.ask(&RESYNC, &scope).await?.is_none() {
        return without_relay(settings, scope).await;
    }
    if detach {
        return print("The relay resyncs; `status` tells how far it is.\n");
    }
    let done = follow(async || match relay.ask(&PROGRESS, &Nothing {}).await? {
        Some(progress) => Ok(progress),
        None => bail!("the relay has ended; its next start goes on with the resync"),
    });
    let done = done.await?;
    print(&format!(
        "{done}\nAll is compared; what differed is being sent, as `status` and the log tell.\n"
    ))?;
    notes(&relay, event).await
}

/// Prints what prevented a correction.
async fn notes(relay: &RelayClient, event: Option<Uuid>) -> anyhow::Result<()> {
    if let Some(event) = event
        && relay.ask(&IS_GONE, &IsGone { event }).await? == Some(true)
    {
        print(&format!("MISP has no event {event}, or does not show it to this key.\n"))?;
    }
    let Some(status) = relay.ask(&STATUS, &Nothing {}).await? else { return Ok(()) };
    // Of all that may be degraded, only these prevent a resync from correcting something.
    const KEPT: [&str; 3] = ["rest:", "events:", "held:"];
    let kept = |line: &&String| KEPT.iter().any(|start| line.starts_with(start));
    let note = |line: &String| format!("note: {}\n", safe::line(line));
    let notes: String = status.degraded.iter().filter(kept).map(note).collect();
    print(&notes)
}

async fn without_relay(settings: &ConfigSource, scope: Scope) -> anyhow::Result<()> {
    let config = load_without_relay(settings, Needs::Secrets).await?;
    ensure!(config.misp.rest.is_some(), NO_KEY);
    // A resync must not create a ledger, so it is opened once before.
    open(&config.ledger).await?.close().await;
    let (reading, done) = read(&config, scope).await?;
    reading.end().await.close().await;
    print(&format!("{done}\nNo relay is running: its next start sends what differs.\n"))
}
