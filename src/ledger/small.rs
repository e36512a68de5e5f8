//! Notices that name a few claims: withdrawals, tags, sightings, webhook publications, gaps.

use std::time::{Instant, SystemTime};

use axum::body::Bytes;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::change::Change;
use super::meant::meant;
use super::reads::{self, Asking};
use super::sightings::{self, Sighted};
use super::tags::Affected;
use super::wanted::refresh;
use super::withdraw::{self, Ending, Which, Withdrawn};
use super::writer::{Writer, millis, unix};
use super::{Writing, events, narrow, tagging};
use crate::metrics;
use crate::notice::{
    AudienceShown, Cause, EventRef, Gap, GapReason, Receipt, ReportedSighting as Heard, Subject,
    What, Withdrawal,
};
use crate::pure::convert;
use crate::pure::misp;

/// Work on a whole event that may need several transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// Merge its objects anew.
    Refresh,
    /// End its claims.
    End,
}

/// Applies small notices in one transaction; what concerns a whole large event goes on in others.
pub(super) async fn apply(writer: &mut Writer, batch: Vec<(What, Instant)>) -> sqlx::Result<()> {
    let views = std::sync::Arc::clone(&writer.views);
    let mut tx = writer.ledger.begin().await?;
    let mut whole = Vec::new();
    let mut last = Change::new(&views, None, 0);
    for (what, received) in batch {
        let heard = unix(SystemTime::now() - received.elapsed());
        let mut change = Change::new(&views, None, heard);
        whole.extend(one(writer, &mut tx, what, &mut change).await?);
        last.altered += change.altered;
        last.withdrawn += change.withdrawn;
        last.context += change.context;
    }
    writer.ledger.commit(tx, &last).await?;
    for event in whole {
        writer.go_through(event).await?;
    }
    Ok(())
}

/// The events that still have to be gone through.
async fn one(
    writer: &Writer,
    tx: &mut Writing,
    what: What,
    change: &mut Change<'_>,
) -> sqlx::Result<Vec<Uuid>> {
    let source = writer.settings.source.as_str();
    match what {
        What::Withdrawn(Withdrawal::Event { uuid, timestamp }) => {
            withdraw::delete_event(tx, (source, uuid), timestamp, change.opened_at).await?;
            tracing::info!(event = %uuid, "event deleted in MISP: its claims end");
            return go_through(writer, tx, (uuid, Whole::End), change).await;
        }
        What::Withdrawn(Withdrawal::Shown(frame)) => {
            return shown(writer, tx, &frame, change).await;
        }
        What::Withdrawn(withdrawal) => return withdrawn(writer, tx, withdrawal, change).await,
        What::Sighted(heard) => sighted(writer, tx, *heard, change).await?,
        What::Touched(event) => look_again(writer, tx, event, change).await?,
        What::Tagged(tag) => return tagging::tagged(writer, tx, &tag, change).await,
        What::TagAltered(tag) => tagging::altered(writer, tx, tag, change).await?,
        What::Published(_)
        | What::Announced(_)
        | What::Gap(_)
        | What::Read(_)
        | What::Warninglist(_) => {}
    }
    Ok(Vec::new())
}

/// Begins to go through all claims of an event; the event, if that takes more transactions.
async fn go_through(
    writer: &Writer,
    tx: &mut Writing,
    (event, whole): (Uuid, Whole),
    change: &mut Change<'_>,
) -> sqlx::Result<Vec<Uuid>> {
    let key = (writer.settings.source.as_str(), event);
    writer.applied.invalidate(&event);
    events::begin_whole(tx, key, whole).await?;
    let done = events::step(tx, key, change).await?;
    Ok(if done { Vec::new() } else { vec![event] })
}

async fn withdrawn(
    writer: &Writer,
    tx: &mut Writing,
    withdrawal: Withdrawal,
    change: &mut Change<'_>,
) -> sqlx::Result<Vec<Uuid>> {
    let source = writer.settings.source.as_str();
    let audience = audience(&withdrawal);
    let Some(ending) = ending(&withdrawal, change) else { return Ok(Vec::new()) };
    let events = withdraw::claimants(tx, source, ending.which).await?;
    if events.is_empty() || matches!(ending.which, Which::Object(_)) {
        withdraw::remember(tx, source, &ending, change.opened_at).await?;
    }
    // Before anything ends: what the ledger holds tells whether the audience is another one.
    let unfinished = match audience {
        Some(frame) => shown(writer, tx, &frame, change).await?,
        None => Vec::new(),
    };
    for event in events {
        writer.applied.invalidate(&event);
        withdrawn_from(tx, (source, event), &ending, change).await?;
    }
    Ok(unfinished)
}

/// To whom an edited attribute is shown now.
fn audience(withdrawal: &Withdrawal) -> Option<AudienceShown> {
    match withdrawal {
        Withdrawal::Edited { attribute, timestamp, audience: Some(audience), .. } => {
            Some(AudienceShown {
                what: Subject::Attribute(*attribute),
                audience: **audience,
                timestamp: *timestamp,
            })
        }
        Withdrawal::Edited { .. }
        | Withdrawal::Attribute { .. }
        | Withdrawal::Object { .. }
        | Withdrawal::Event { .. }
        | Withdrawal::Shown(_) => None,
    }
}

/// What is shown to fewer than before is forbidden at once; whatever a frame says otherwise than the
/// ledger, a read tells.
async fn shown(
    writer: &Writer,
    tx: &mut Writing,
    frame: &AudienceShown,
    change: &mut Change<'_>,
) -> sqlx::Result<Vec<Uuid>> {
    let source = writer.settings.source.as_str();
    let events = match frame.what {
        Subject::Event(uuid) => {
            // An edited event, whatever was edited.
            look_again(writer, tx, uuid, change).await?;
            let named = EventRef { uuid: Some(uuid), id: None };
            let known = meant(tx, source, &named).await?.events().to_vec();
            if known.is_empty() {
                narrow::keep_out_older(tx, source, (uuid, frame), change).await?;
            }
            known
        }
        Subject::Object(uuid) => withdraw::claimants(tx, source, Which::Object(uuid)).await?,
        Subject::Attribute(uuid) => withdraw::claimants(tx, source, Which::Attribute(uuid)).await?,
    };
    let mut unfinished = Vec::new();
    for event in events {
        let narrowed = narrow::apply(tx, (source, event), frame, change).await?;
        if narrowed.differs && writer.settings.rest.is_some() {
            let asking = Asking::at_once(change.opened_at);
            reads::ask(tx, (source, event), asking, change.opened_at).await?;
        }
        unfinished.extend(merge_affected(writer, tx, (event, narrowed.affected), change).await?);
    }
    Ok(unfinished)
}

/// Merges anew what a notice affects; the event, if that takes more transactions.
pub(super) async fn merge_affected(
    writer: &Writer,
    tx: &mut Writing,
    (event, affected): (Uuid, Affected),
    change: &mut Change<'_>,
) -> sqlx::Result<Vec<Uuid>> {
    match affected {
        Affected::Nothing => Ok(Vec::new()),
        Affected::Objects(objects) => {
            writer.applied.invalidate(&event);
            refresh(tx, &objects, change).await.map(|()| Vec::new())
        }
        Affected::Event => go_through(writer, tx, (event, Whole::Refresh), change).await,
    }
}

async fn withdrawn_from(
    tx: &mut Writing,
    key: (&str, Uuid),
    ending: &Ending,
    change: &mut Change<'_>,
) -> sqlx::Result<()> {
    let (event, why) = (key.1, ending.why);
    change.event = Some(event);
    match withdraw::withdraw(tx, key, ending, change).await? {
        Withdrawn::Claims(0) => {}
        Withdrawn::Claims(claims) => {
            metrics::claims("gone", claims as u64);
            tracing::info!(%event, claims, withdrawn = change.withdrawn, why, "withdrawal");
        }
        Withdrawn::Older => {
            tracing::warn!(%event, why, "a withdrawal looks older than its claim: only a REST read of the event can judge it");
        }
    }
    Ok(())
}

/// What is to end, unless it is a whole event.
fn ending(withdrawal: &Withdrawal, change: &Change<'_>) -> Option<Ending> {
    let (which, timestamp, why) = match withdrawal {
        Withdrawal::Attribute { attribute, timestamp, cause, .. } => {
            let why = match cause {
                Cause::Deleted => "attribute deleted",
                Cause::ToIdsOff => "to_ids switched off",
            };
            (Which::Attribute(*attribute), *timestamp, why)
        }
        Withdrawal::Edited { attribute, timestamp, .. } => {
            (Which::Attribute(*attribute), *timestamp, "type or value edited")
        }
        Withdrawal::Object { object, timestamp, .. } => {
            (Which::Object(*object), *timestamp, "object deleted")
        }
        Withdrawal::Event { .. } | Withdrawal::Shown(_) => return None,
    };
    let keep = match withdrawal {
        Withdrawal::Edited { kind, value, .. } => {
            let said = convert::said(kind, value);
            Some(said.iter().map(|observable| change.views.object_key(observable)).collect())
        }
        Withdrawal::Attribute { .. }
        | Withdrawal::Object { .. }
        | Withdrawal::Event { .. }
        | Withdrawal::Shown(_) => None,
    };
    let ids_only = matches!(withdrawal, Withdrawal::Attribute { cause: Cause::ToIdsOff, .. });
    Some(Ending { which, timestamp, keep, ids_only, why })
}

async fn sighted(
    writer: &Writer,
    tx: &mut Writing,
    heard: Heard,
    change: &mut Change<'_>,
) -> sqlx::Result<()> {
    let source = writer.settings.source.as_str();
    let Heard { event, attribute, said, sighting, taken_back } = heard;
    let known = withdraw::claimants(tx, source, Which::Attribute(attribute)).await?;
    let known = known.first().copied();
    change.event = known;
    let place = (source, known.or(event.uuid).unwrap_or_default());
    let is_news = if taken_back {
        sightings::take_back(tx, place, (attribute, sighting.uuid), change).await?
    } else {
        let observables = said.map(|(kind, value)| convert::said(&kind, &value));
        let values = observables.into_iter().flatten().map(|one| one.value).collect();
        let one = Sighted { attribute, sighting, values };
        sightings::take_in(tx, place, &[one], change).await? > 0
    };
    let Some(event) = known else { return Ok(()) };
    writer.applied.invalidate(&event);
    if is_news {
        withdraw::touch(tx, (source, event)).await?;
        let (kind, withdrawn) = (sighting.kind, change.withdrawn);
        tracing::info!(%event, %attribute, ?kind, taken_back, altered = change.altered, withdrawn, "sighting");
    }
    Ok(())
}

/// Has a known event read: what was heard has no time of MISP's, or does not say what changed.
async fn look_again(
    writer: &Writer,
    tx: &mut Writing,
    event: Uuid,
    change: &Change<'_>,
) -> sqlx::Result<()> {
    let source = writer.settings.source.as_str();
    let named = EventRef { uuid: Some(event), id: None };
    let known = meant(tx, source, &named).await?;
    read_soon(writer, tx, known.events(), change).await
}

pub(super) async fn read_soon(
    writer: &Writer,
    tx: &mut Writing,
    events: &[Uuid],
    change: &Change<'_>,
) -> sqlx::Result<()> {
    let Some(rest) = &writer.settings.rest else { return Ok(()) };
    let asking = Asking::soon(&rest.times, change.opened_at);
    for event in events {
        let key = (writer.settings.source.as_str(), *event);
        reads::ask(tx, key, asking, change.opened_at).await?;
    }
    Ok(())
}

/// A publication of the event came: what a webhook announced is no longer needed, and gaps that
/// name the event are healed.
pub(super) async fn confirm(
    tx: &mut SqliteConnection,
    source: &str,
    (event, told_at): (Uuid, i64),
) -> sqlx::Result<()> {
    for table in [
        "DELETE FROM announced WHERE source = $1 AND event = $2 AND received_at <= $3",
        "DELETE FROM gaps WHERE source = $1 AND event = $2 AND until <= $3",
    ] {
        sqlx::query(table).bind(source).bind(event).bind(told_at).execute(&mut *tx).await?;
    }
    Ok(())
}

impl Writer {
    /// Has a webhook's publication confirmed by REST; without a key, stores it until ZeroMQ confirms
    /// it, or applies it at once if the confirmation came first and its payload was dropped.
    pub(super) async fn announce(&mut self, body: Bytes, now: i64) -> sqlx::Result<Receipt> {
        let event = match misp::Event::parse(&body) {
            Ok(event) => event.uuid,
            Err(_) => return Ok(Receipt::Refused),
        };
        if self.settings.rest.is_some() {
            self.ask_confirmation(event).await?;
            return Ok(Receipt::Committed);
        }
        sqlx::query(
            "INSERT INTO announced (source, event, received_at, body) VALUES ($1, $2, $3, $4)
             ON CONFLICT (source, event) DO UPDATE SET received_at = excluded.received_at,
                 body = excluded.body",
        )
        .bind(&self.settings.source)
        .bind(event)
        .bind(now)
        .bind(body.as_ref())
        .execute(&self.ledger.writer)
        .await?;
        let within = millis(self.settings.confirm_within);
        let dropped: Option<i64> = sqlx::query_scalar(
            "SELECT until FROM gaps
             WHERE source = $1 AND event = $2 AND until > $3 AND publication",
        )
        .bind(&self.settings.source)
        .bind(event)
        .bind(now.saturating_sub(within))
        .fetch_optional(&self.ledger.readers)
        .await?;
        if dropped.is_some() {
            self.use_announced(event).await?;
        }
        Ok(Receipt::Committed)
    }

    pub(super) async fn gap(&mut self, gap: Gap, now: i64) -> sqlx::Result<Receipt> {
        let since = unix(gap.since);
        if gap.reason == GapReason::Disconnected
            && self.ledger.is_first_outage(&gap.intake, since).await?
        {
            return Ok(Receipt::Committed);
        }
        self.ledger.record_gap(&self.settings.source, &gap, since, now).await?;
        if let Some(event) = gap.event.filter(|_| gap.publication) {
            self.use_announced(event).await?;
        }
        Ok(Receipt::Committed)
    }

    /// A publication of this event came, and its payload could not be kept: the webhook's is as
    /// good.
    async fn use_announced(&mut self, event: Uuid) -> sqlx::Result<()> {
        let body: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT body FROM announced WHERE source = $1 AND event = $2")
                .bind(&self.settings.source)
                .bind(event)
                .fetch_optional(&self.ledger.readers)
                .await?;
        let Some(body) = body else { return Ok(()) };
        self.publish(body.into(), Instant::now()).await?;
        tracing::info!(%event, "the webhook's publication stands in for a dropped one");
        Ok(())
    }
}
