//! Notices that name a few claims: withdrawals, tags, sightings, webhook publications, gaps.

use std::time::{Instant, SystemTime};

use axum::body::Bytes;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::change::Change;
use super::reads::{self, Asking};
use super::sightings::{self, Sighted};
use super::tags::{self, Affected};
use super::wanted::refresh;
use super::withdraw::{self, Ending, Tombstone, Which, Withdrawn};
use super::writer::{Writer, millis, unix};
use super::{Writing, events};
use crate::convert;
use crate::metrics;
use crate::misp;
use crate::notice::{Cause, EventRef, Gap, Receipt, Sighted as Heard, TagChange, What, Withdrawal};

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

/// The event that still has to be gone through, if any.
async fn one(
    writer: &Writer,
    tx: &mut Writing,
    what: What,
    change: &mut Change<'_>,
) -> sqlx::Result<Option<Uuid>> {
    let source = writer.settings.source.as_str();
    let event = match what {
        What::Withdrawn(Withdrawal::Event { uuid, timestamp }) => {
            withdraw::delete_event(tx, (source, uuid), timestamp, change.opened_at).await?;
            tracing::info!(event = %uuid, "event deleted in MISP: its claims end");
            events::begin_whole(tx, (source, uuid), Whole::End).await?;
            writer.applied.invalidate(&uuid);
            return events::step(tx, (source, uuid), change)
                .await
                .map(|done| (!done).then_some(uuid));
        }
        What::Withdrawn(withdrawal) => withdrawn(tx, source, withdrawal, change).await?,
        What::Sighted(heard) => sighted(tx, source, *heard, change).await?,
        What::Touched(event) => {
            look_again(writer, tx, event, change).await?;
            None
        }
        What::Tagged(tag) => return tagged(writer, tx, &tag, change).await,
        What::Published(_)
        | What::Announced(_)
        | What::Gap(_)
        | What::Read(_)
        | What::Warninglist(_) => None,
    };
    if let Some(event) = event {
        writer.applied.invalidate(&event);
    }
    Ok(None)
}

/// The event whose claims it concerned.
async fn withdrawn(
    tx: &mut Writing,
    source: &str,
    withdrawal: Withdrawal,
    change: &mut Change<'_>,
) -> sqlx::Result<Option<Uuid>> {
    let Some((event, ending)) = ending(tx, source, withdrawal, change).await? else {
        return Ok(None);
    };
    let Some(uuid) = withdraw::find_event(tx, source, &event).await? else { return Ok(None) };
    change.event = Some(uuid);
    let why = ending.why;
    match withdraw::withdraw(tx, (source, uuid), &ending, change).await? {
        Withdrawn::Claims(0) => {}
        Withdrawn::Claims(claims) => {
            metrics::claims("gone", claims as u64);
            tracing::info!(event = %uuid, claims, withdrawn = change.withdrawn, why, "withdrawal");
        }
        Withdrawn::Older => {
            tracing::warn!(event = %uuid, why, "a withdrawal looks older than its claim: only a REST read of the event can judge it");
        }
    }
    Ok(Some(uuid))
}

/// What is to end; for an attribute, a tombstone is left whether or not it claims anything.
async fn ending(
    tx: &mut Writing,
    source: &str,
    withdrawal: Withdrawal,
    change: &Change<'_>,
) -> sqlx::Result<Option<(EventRef, Ending)>> {
    Ok(Some(match withdrawal {
        Withdrawal::Attribute { event, attribute, timestamp, cause } => {
            let ids_only = cause == Cause::ToIdsOff;
            // What was never published needs no tombstone for its to_ids: there are floods of them.
            if !ids_only || withdraw::find_event(tx, source, &event).await?.is_some() {
                let tombstone = Tombstone { ids_only, ..Tombstone::of(attribute, timestamp) };
                withdraw::bury(tx, source, &tombstone, change.opened_at).await?;
            }
            let why = match cause {
                Cause::Deleted => "attribute deleted",
                Cause::ToIdsOff => "to_ids switched off",
            };
            let which = Which::Attribute(attribute);
            (event, Ending { which, timestamp, keep: vec![], ids_only, why })
        }
        Withdrawal::Edited { event, attribute, timestamp, kind, value } => {
            let key = |observable| change.views.object_key(observable);
            let keep = convert::said(&kind, &value).iter().map(key).collect();
            let (which, why) = (Which::Attribute(attribute), "type or value edited");
            (event, Ending { which, timestamp, keep, ids_only: false, why })
        }
        Withdrawal::Object { event, object, timestamp } => {
            let (which, why) = (Which::Object(object), "object deleted");
            (event, Ending { which, timestamp, keep: vec![], ids_only: false, why })
        }
        Withdrawal::Event { .. } => return Ok(None),
    }))
}

/// The event of the attribute, where the ledger knows it.
async fn sighted(
    tx: &mut Writing,
    source: &str,
    heard: Heard,
    change: &mut Change<'_>,
) -> sqlx::Result<Option<Uuid>> {
    let Heard { event, attribute, said, sighting, taken_back } = heard;
    let known = withdraw::find_event(tx, source, &event).await?;
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
    if let (Some(event), true) = (known, is_news) {
        withdraw::touch(tx, (source, event)).await?;
        let (kind, withdrawn) = (sighting.kind, change.withdrawn);
        tracing::info!(%event, %attribute, ?kind, taken_back, altered = change.altered, withdrawn, "sighting");
    }
    Ok(known)
}

/// Has a known event read: what was heard has no time of MISP's, or does not say what changed.
async fn look_again(
    writer: &Writer,
    tx: &mut Writing,
    event: Uuid,
    change: &Change<'_>,
) -> sqlx::Result<()> {
    let Some(rest) = &writer.settings.rest else { return Ok(()) };
    let source = writer.settings.source.as_str();
    let known = EventRef { uuid: Some(event), id: None };
    if withdraw::find_event(tx, source, &known).await?.is_none() {
        return Ok(());
    }
    let asking = Asking::soon(&rest.times, change.opened_at);
    reads::ask(tx, (source, event), asking, change.opened_at).await
}

async fn tagged(
    writer: &Writer,
    tx: &mut Writing,
    tag: &TagChange,
    change: &mut Change<'_>,
) -> sqlx::Result<Option<Uuid>> {
    let source = writer.settings.source.as_str();
    let by_number = EventRef { uuid: None, id: Some(tag.event_id) };
    let Some(event) = withdraw::find_event(tx, source, &by_number).await? else {
        writer.ledger.note_strange();
        return Ok(None);
    };
    writer.applied.invalidate(&event);
    change.event = Some(event);
    let affected = tags::apply(tx, (source, event), tag, change.opened_at / 1_000).await?;
    look_again(writer, tx, event, change).await?;
    let unfinished = match affected {
        Affected::Nothing => None,
        Affected::Objects(objects) => {
            refresh(tx, &objects, change).await?;
            None
        }
        Affected::Event => {
            events::begin_whole(tx, (source, event), Whole::Refresh).await?;
            let done = events::step(tx, (source, event), change).await?;
            (!done).then_some(event)
        }
    };
    if !change.is_empty() {
        let attached = tag.attached;
        tracing::info!(%event, tag = tag.tag, attached, altered = change.altered, withdrawn = change.withdrawn, "tag changed");
    }
    Ok(unfinished)
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
