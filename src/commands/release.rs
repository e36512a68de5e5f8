//! The command `held` lists the claims that the guard keeps although MISP no longer shows them. The command
//! `release` ends them. It can also tell the relay that MISP is right to show no events, that its new warninglists
//! are right, or that gaps need no healing.
use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::output::{print, time};
use super::{ConfigSource, door};
use crate::admin::{Needs, Nothing, Request, Services, SourceServices};
use crate::ledger::{Adopted, GapStatus, Held, Ledger, Releasing, SqlResult, may_empty};
use crate::log_event::LogEvent;
use crate::pure::count::Count;
use crate::pure::safe;

/// What the guard keeps.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AllHeld {
    held: Vec<Held>,
    /// The number of live indicators that MISP's present warninglists would withdraw; `None` if no lists
    /// wait.
    warninglists: Option<i64>,
}

/// The request for what the guard keeps.
pub(super) const HELD: Request<Nothing, AllHeld> =
    Request::read("/held", Needs::Settings, |services, _| Box::pin(all_held(services)));

async fn all_held(services: &Services) -> anyhow::Result<AllHeld> {
    let Services { ledger, .. } = services;
    let read = tokio::try_join!(ledger.held(), ledger.waiting_warninglists());
    let (held, warninglists) = read.context("the ledger cannot be read")?;
    Ok(AllHeld { held, warninglists })
}

/// Prints what the guard keeps, and why.
///
/// # Errors
/// Neither a relay nor the ledger can answer, or standard output is closed.
pub async fn held(settings: &ConfigSource) -> anyhow::Result<()> {
    let (all, _) = door::ask(settings, &HELD, Nothing {}).await?;
    print(&words(&all))
}

fn words(all: &AllHeld) -> String {
    let AllHeld { held, warninglists } = all;
    let mut text: String = held.iter().map(line).collect();
    if !held.is_empty() {
        text.push_str("MISP no longer shows these claims, but has not deleted them. `release` ends them; if MISP is at fault, mend it: a claim that it shows again is no longer held.\n");
    }
    if let Some(going) = *warninglists {
        let going = Count(going, "live indicator");
        text.push_str(&format!("MISP's present warninglists wait: they would withdraw {going}, more than the guard allows, so the ones before stay in force. Look at them in MISP, then `release --warninglists`.\n"));
    }
    if text.is_empty() {
        text.push_str("Nothing is held.\n");
    }
    text
}

fn line(held: &Held) -> String {
    let Held { source, event, info, claims, since, example } = held;
    let (since, claims) = (time(*since), Count(*claims, "claim"));
    let line =
        format!("event {event} {info:?} of {source}: {claims} since {since}, such as {example}");
    format!("{}\n", safe::line(&line))
}

#[derive(Debug, Args)]
pub struct ReleaseOptions {
    #[command(flatten)]
    pub release: Release,

    /// Put the warninglists into force that the guard keeps waiting: MISP is right about them
    #[arg(long, conflicts_with_all = ["source", "event", "empty"])]
    pub warninglists: bool,

    /// Close all gaps although nothing healed them: without misp.key no catch-up does. Publish again in MISP first
    /// what was published or withdrawn then
    #[arg(long, conflicts_with_all = ["source", "event", "empty", "warninglists"])]
    pub gaps: bool,
}

/// How long a look at MISP may find it empty after the operator allowed it, milliseconds.
const LEAVE: i64 = 600_000;

// Ends the claims that the guard keeps. The answer is how many ended. With `empty`, it ends none itself: it
// only allows the next look at MISP to withdraw everything.
#[derive(Debug, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Release only what is held of this source, or with --empty accept only of this one that it is empty
    #[arg(long, value_name = "NAME")]
    #[serde(default)]
    pub source: Option<String>,

    /// Release only what is held of this event
    #[arg(long, value_name = "UUID", conflicts_with = "empty")]
    pub event: Option<Uuid>,

    /// Accept that MISP shows none of the events that the ledger holds
    #[arg(long)]
    #[serde(default)]
    pub empty: bool,
}

pub(super) const RELEASE: Request<Release, usize> =
    Request::change("/release", Needs::Targets, |services, asked| Box::pin(end(services, asked)))
        .slow();

async fn end(services: &Services, asked: Release) -> anyhow::Result<usize> {
    // The command line excludes this, but another program on the socket may ask for both.
    ensure!(!asked.empty || asked.event.is_none(), "release one event, or say that MISP is empty");
    let Release { source, event, empty } = asked;
    if let Some(source) = &source {
        is_known(services, source).await?;
    }
    if empty {
        return may_be_empty(services, source.as_deref()).await;
    }
    let Services { ledger, views, .. } = services;
    let which = Releasing { source, event };
    let released = ledger.release(views, &which, Ledger::now()).await;
    let claims = released.context("the ledger cannot be written")?;
    tracing::warn!(
        event = LogEvent::OperatorRelease.word(),
        source = which.source,
        misp_event = event.map(tracing::field::display),
        claims,
        "Held claims end, as an operator asked"
    );
    Ok(claims)
}

/// Checks the name of a source: that of one that is read, or that the ledger holds.
async fn is_known(services: &Services, source: &str) -> anyhow::Result<()> {
    let held = services.ledger.sources().await.context("the ledger cannot be read")?;
    let read = services.sources.iter().map(|one| one.name.as_str());
    let known: BTreeSet<&str> = held.iter().map(|one| one.source.as_str()).chain(read).collect();
    let names = known.iter().copied().collect::<Vec<_>>().join(", ");
    ensure!(known.contains(source), "no source {source:?}; those that are known: {names}");
    Ok(())
}

/// Allows the next look at MISP to withdraw what it no longer shows, even if that is everything. `only`: the only source
/// for which this holds.
async fn may_be_empty(services: &Services, only: Option<&str>) -> anyhow::Result<usize> {
    let shows_empty =
        |source: &&SourceServices| source.rest.as_ref().is_some_and(|rest| rest.now().empty);
    // Without a relay nobody has looked at MISP yet, so the leave is given in advance.
    let is_meant = |source: &&SourceServices| {
        only.is_none_or(|only| source.name == only)
            && (services.relay.is_none() || shows_empty(source))
    };
    let sources: Vec<&SourceServices> = services.sources.iter().filter(is_meant).collect();
    ensure!(
        !sources.is_empty(),
        "MISP shows events that the ledger holds: nothing is kept back for its being empty"
    );
    for source in &sources {
        may_be_empty_now(&services.ledger, &source.name)
            .await
            .context("the ledger cannot be written")?;
    }
    let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    tracing::warn!(
        event = LogEvent::OperatorRelease.word(),
        sources = names.join(", "),
        "MISP may be empty, as an operator says"
    );
    Ok(0)
}

async fn may_be_empty_now(ledger: &Ledger, source: &str) -> SqlResult<()> {
    // The leave ends by itself: it must not cover a fault of MISP that comes much later.
    let until = Value::from(Ledger::now() + LEAVE);
    ledger.remember(&may_empty(source), &until).await?;
    // The next look is asked for now, because the leave does not last long.
    ledger.look_again(source, Ledger::now()).await
}

/// The request to put the warninglists into force that the guard keeps waiting. The answer is how many
/// indicators they withdraw; `None` if no lists wait.
pub(super) const RELEASE_WARNINGLISTS: Request<Nothing, Option<usize>> =
    Request::change("/release-warninglists", Needs::Targets, |services, _| {
        Box::pin(adopt(services))
    })
    .slow();

async fn adopt(services: &Services) -> anyhow::Result<Option<usize>> {
    let Services { ledger, views, sources, .. } = services;
    let mut withdrawn = None;
    for source in sources.iter() {
        match ledger.release_warninglists(views, &source.name).await? {
            None => {}
            Some(Adopted::InForce { withdrawn: more, .. }) => {
                *withdrawn.get_or_insert(0) += more;
            }
            Some(Adopted::Same | Adopted::First | Adopted::Waiting { .. }) => {
                withdrawn.get_or_insert(0);
            }
        }
    }
    let Some(withdrawn) = withdrawn else { return Ok(None) };
    tracing::warn!(
        event = LogEvent::OperatorRelease.word(),
        withdrawn,
        "MISP's warninglists are in force, as an operator asked"
    );
    Ok(Some(withdrawn))
}

/// The request to close all gaps without a catch-up. The answer is those that it closed.
pub(super) const RELEASE_GAPS: Request<Nothing, Vec<GapStatus>> =
    Request::change("/release-gaps", Needs::Targets, |services, _| Box::pin(close(services)));

async fn close(services: &Services) -> anyhow::Result<Vec<GapStatus>> {
    // Closed by hand, the gap of a source with a key would not be healed any more.
    let has_key = |source: &SourceServices| source.means.rest;
    ensure!(
        !services.sources.iter().all(has_key),
        "misp.key is set, so a catch-up heals the gaps and closes them by itself"
    );
    let mut closed = Vec::new();
    for source in services.sources.iter() {
        if !has_key(source) {
            let gaps = services.ledger.close_gaps(&source.name).await;
            closed.extend(gaps.context("the ledger cannot be written")?);
        }
    }
    for GapStatus { source, intake, reason, since, until, times } in &closed {
        tracing::warn!(
            event = LogEvent::OperatorRelease.word(),
            source,
            intake,
            reason,
            since = time(*since),
            until = time(*until),
            times,
            "A gap is closed, as an operator asked. What MISP published or withdrew then may be missing until it is published again"
        );
    }
    Ok(closed)
}

fn gap_line(gap: &GapStatus) -> String {
    let GapStatus { source, intake, reason, since, until, times } = gap;
    let (since, until, times) = (time(*since), time(*until), Count(*times, "time"));
    let line = format!("{source}, {intake}: {reason}, {times}, from {since} to {until}");
    format!("{}\n", safe::line(&line))
}

async fn release_gaps(settings: &ConfigSource) -> anyhow::Result<()> {
    let (closed, _) = door::ask(settings, &RELEASE_GAPS, Nothing {}).await?;
    if closed.is_empty() {
        return print("No gap is open.\n");
    }
    let lines: String = closed.iter().map(gap_line).collect();
    let count = Count(closed.len(), "gap");
    print(&format!(
        "{lines}Closed: {count}. Nothing was healed: what MISP published or withdrew then may be missing until it is published again there.\n"
    ))
}

/// Ends what the guard keeps, or accepts that MISP is as empty as it looks.
///
/// # Errors
/// Neither a relay nor the ledger can do it, or standard output is closed.
pub async fn release(settings: &ConfigSource, options: ReleaseOptions) -> anyhow::Result<()> {
    if options.warninglists {
        return release_warninglists(settings).await;
    }
    if options.gaps {
        return release_gaps(settings).await;
    }
    let empty = options.release.empty;
    let (released, _) = door::ask(settings, &RELEASE, options.release).await?;
    if empty {
        return print("The next look at MISP withdraws what it no longer has.\n");
    }
    let released = Count(released, "held claim");
    print(&format!("Ended: {released}; what nothing else claims is withdrawn.\n"))
}

async fn release_warninglists(settings: &ConfigSource) -> anyhow::Result<()> {
    let (withdrawn, _) = door::ask(settings, &RELEASE_WARNINGLISTS, Nothing {}).await?;
    let Some(count) = withdrawn else { return print("No warninglists wait.\n") };
    let verb = if count == 1 { "is" } else { "are" };
    let count = Count(count, "indicator");
    print(&format!("The warninglists are in force; {count} {verb} withdrawn.\n"))
}
