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
use crate::app::{NO_KEY, Scope};
use crate::config::ConfigSource;
use crate::ledger::{Ledger, millis};
use crate::log_event::LogEvent;
use crate::pure::safe;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ResyncOptions {
    /// Ask only this source; without it, all that have a key are asked
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,

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

/// Returns the routes of the control socket for this command.
pub(super) fn routes() -> Router<Control> {
    Router::new().merge(route(&RESYNC)).merge(route(&PROGRESS)).merge(route(&IS_GONE))
}

/// The request to begin a resync of a scope.
const RESYNC: Request<Scope, ()> =
    Request::change("/resync", Needs::Secrets, |services, scope| Box::pin(begin(services, scope)));

async fn begin(services: &Services, scope: Scope) -> anyhow::Result<()> {
    let Scope { event, since, .. } = scope;
    let sources = scope.which(services.clients().map(|(source, _)| source))?;
    ensure!(event.is_none() || since.is_none(), "a resync is of one event, or since a time");
    for source in &sources {
        let begun = scope.begin(&services.ledger, source).await;
        begun.context("the ledger cannot be written")?;
    }
    tracing::info!(
        event = LogEvent::OperatorResync.word(),
        misp_event = event.map(tracing::field::display),
        since,
        sources = sources.join(", "),
        "A resync begins, as an operator asked"
    );
    Ok(())
}

/// The request for the progress of the resync of each source, and for what is queued.
const PROGRESS: Request<Nothing, Vec<ResyncState>> =
    Request::read("/resync/progress", Needs::Settings, |services, _| Box::pin(progress(services)));

async fn progress(services: &Services) -> anyhow::Result<Vec<ResyncState>> {
    let asked = services.sources.iter().filter(|source| source.rest.is_some());
    let names: Vec<String> = asked.map(|source| source.name.clone()).collect();
    let progress = ResyncState::of_all(&services.ledger, &names);
    let progress = progress.await.context("the ledger cannot be read")?;
    let fault = |name: &str| {
        let source = services.sources.iter().find(|source| source.name == name)?;
        source.rest.as_ref()?.now().error
    };
    Ok(progress.into_iter().map(|one| ResyncState { fault: fault(&one.source), ..one }).collect())
}

/// The question whether every MISP lacks an event, or does not show it to this key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IsGone {
    event: Uuid,
}

const IS_GONE: Request<IsGone, bool> =
    Request::change("/resync/is-gone", Needs::Secrets, |services, asked: IsGone| {
        Box::pin(async move {
            for (_, client) in services.clients() {
                if !client.is_gone(asked.event).await? {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    })
    .slow();

/// Reads everything in MISP again and compares it. Shows the progress until it is done.
///
/// # Errors
/// There is no key, neither a relay nor the ledger can do it, or standard output is closed.
pub async fn resync(settings: &ConfigSource, options: ResyncOptions) -> anyhow::Result<()> {
    let ResyncOptions { source, event, since, dry_run, detach } = options;
    let since = since.map(|age| (Ledger::now() - millis(*age)) / 1_000);
    let scope = Scope { source, event, since };
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
    const KEPT: [&str; 3] = ["rest", "events", "held"];
    let kept = |line: &&String| KEPT.iter().any(|start| line.starts_with(start));
    let note = |line: &String| format!("note: {}\n", safe::line(line));
    let notes: String = status.degraded.iter().filter(kept).map(note).collect();
    print(&notes)
}

async fn without_relay(settings: &ConfigSource, scope: Scope) -> anyhow::Result<()> {
    let config = load_without_relay(settings, Needs::Secrets).await?;
    ensure!(config.has_key(), NO_KEY);
    // A resync must not create a ledger, so it is opened once before.
    open(&config.ledger).await?.close().await;
    let (reading, done) = read(&config, scope).await?;
    reading.end().await.close().await;
    print(&format!("{done}\nNo relay is running: its next start sends what differs.\n"))
}
