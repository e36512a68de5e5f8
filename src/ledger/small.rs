//! Notices that name a few claims: withdrawals, tags, sightings, webhook publications, gaps.

use std::time::{Instant, SystemTime};

use axum::body::Bytes;
use uuid::Uuid;

use super::change::Change;
use super::meant::meant;
use super::owner::Unit;
use super::reads::{self, Asking};
use super::sightings::{self, Sighted};
use super::sql::{Result, Transaction, statements, values};
use super::tags::Affected;
use super::wanted::refresh;
use super::withdraw::{self, Ending, Which, Withdrawn};
use super::writer::{Context, Writer, millis, unix};
use super::{events, narrow, tagging};
use crate::metrics;
use crate::notice::{
    AudienceShown, Cause, EventRef, Gap, GapReason, Receipt, ReportedSighting as Heard, Subject,
    What, Withdrawal,
};
use crate::pure::convert;
use crate::pure::misp;

statements! {
    FORGET_ANNOUNCED(Text, Bytes, Integer) =
        "DELETE FROM announced WHERE source = $1 AND event = $2 AND received_at <= $3";
    HEAL_GAPS(Text, Bytes, Integer) =
        "DELETE FROM gaps WHERE source = $1 AND event = $2 AND until <= $3";
    ANNOUNCE(Text, Bytes, Integer, Bytes) =
        "INSERT INTO announced (source, event, received_at, body) VALUES ($1, $2, $3, $4)
         ON CONFLICT (source, event) DO UPDATE SET received_at = excluded.received_at,
             body = excluded.body";
    WAS_DROPPED(Text, Bytes, Integer) =
        "SELECT until FROM gaps
         WHERE source = $1 AND event = $2 AND until > $3 AND publication";
    ANNOUNCED(Text, Bytes) = "SELECT body FROM announced WHERE source = $1 AND event = $2";
}

/// Work on a whole event that may need several transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// Merge its objects anew.
    Refresh,
    /// End its claims.
    End,
}

/// Applies small notices in one transaction; what concerns a whole large event goes on in others.
pub(super) async fn apply(writer: &Writer, batch: Vec<(What, Instant)>) -> Result<()> {
    let context = std::sync::Arc::clone(&writer.context);
    let work = move |unit: &Unit<'_>| {
        let mut whole = Vec::new();
        for (what, received) in &batch {
            let heard = unix(SystemTime::now() - received.elapsed());
            let mut change = Change::new(&context.views, None, heard);
            whole.extend(one(&context, unit, what, &mut change)?);
            unit.wake(&change);
        }
        Ok(whole)
    };
    for event in writer.context.ledger.write(work).await? {
        writer.go_through(event).await?;
    }
    Ok(())
}

/// The events that still have to be gone through.
fn one(
    context: &Context,
    unit: &Unit<'_>,
    what: &What,
    change: &mut Change<'_>,
) -> Result<Vec<Uuid>> {
    let source = context.source();
    match what {
        What::Withdrawn(Withdrawal::Event { uuid, timestamp }) => {
            let (uuid, timestamp) = (*uuid, *timestamp);
            withdraw::delete_event(unit, (source, uuid), timestamp, change.opened_at)?;
            tracing::info!(event = %uuid, "event deleted in MISP: its claims end");
            return go_through(context, unit, (uuid, Whole::End), change);
        }
        What::Withdrawn(Withdrawal::Shown(frame)) => {
            return shown(context, unit, frame, change);
        }
        What::Withdrawn(withdrawal) => return withdrawn(context, unit, withdrawal, change),
        What::Sighted(heard) => sighted(context, unit, heard, change)?,
        What::Touched(event) => look_again(context, unit, *event, change)?,
        What::Tagged(tag) => return tagging::tagged(context, unit, tag, change),
        What::TagAltered(tag) => tagging::altered(context, unit, *tag, change)?,
        What::Published(_)
        | What::Announced(_)
        | What::Gap(_)
        | What::Read(_)
        | What::Warninglist(_) => {}
    }
    Ok(Vec::new())
}

/// Begins to go through all claims of an event; the event, if that takes more transactions.
fn go_through(
    context: &Context,
    unit: &Unit<'_>,
    (event, whole): (Uuid, Whole),
    change: &mut Change<'_>,
) -> Result<Vec<Uuid>> {
    let key = (context.source(), event);
    context.applied.invalidate(&event);
    events::begin_whole(unit, key, whole)?;
    let done = events::step(unit, key, change)?;
    Ok(if done { Vec::new() } else { vec![event] })
}

fn withdrawn(
    context: &Context,
    unit: &Unit<'_>,
    withdrawal: &Withdrawal,
    change: &mut Change<'_>,
) -> Result<Vec<Uuid>> {
    let source = context.source();
    let audience = audience(withdrawal);
    let Some(ending) = ending(withdrawal, change) else { return Ok(Vec::new()) };
    let events = withdraw::claimants(unit, source, ending.which)?;
    if events.is_empty() || matches!(ending.which, Which::Object(_)) {
        withdraw::remember(unit, source, &ending, change.opened_at)?;
    }
    // Before anything ends: what the ledger holds tells whether the audience is another one.
    let unfinished = match audience {
        Some(frame) => shown(context, unit, &frame, change)?,
        None => Vec::new(),
    };
    for event in events {
        context.applied.invalidate(&event);
        withdrawn_from(unit, (source, event), &ending, change)?;
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
fn shown(
    context: &Context,
    unit: &Unit<'_>,
    frame: &AudienceShown,
    change: &mut Change<'_>,
) -> Result<Vec<Uuid>> {
    let source = context.source();
    let events = match frame.what {
        Subject::Event(uuid) => {
            // An edited event, whatever was edited.
            look_again(context, unit, uuid, change)?;
            let named = EventRef { uuid: Some(uuid), id: None };
            let known = meant(unit, source, &named)?.events().to_vec();
            if known.is_empty() {
                narrow::keep_out_older(unit, source, (uuid, frame), change)?;
            }
            known
        }
        Subject::Object(uuid) => withdraw::claimants(unit, source, Which::Object(uuid))?,
        Subject::Attribute(uuid) => withdraw::claimants(unit, source, Which::Attribute(uuid))?,
    };
    let mut unfinished = Vec::new();
    for event in events {
        let narrowed = narrow::apply(unit, (source, event), frame, change)?;
        if narrowed.differs && context.settings.rest.is_some() {
            let asking = Asking::at_once(change.opened_at);
            reads::ask(unit, (source, event), asking, change.opened_at)?;
        }
        unfinished.extend(merge_affected(context, unit, (event, narrowed.affected), change)?);
    }
    Ok(unfinished)
}

/// Merges anew what a notice affects; the event, if that takes more transactions.
pub(super) fn merge_affected(
    context: &Context,
    unit: &Unit<'_>,
    (event, affected): (Uuid, Affected),
    change: &mut Change<'_>,
) -> Result<Vec<Uuid>> {
    match affected {
        Affected::Nothing => Ok(Vec::new()),
        Affected::Objects(objects) => {
            context.applied.invalidate(&event);
            refresh(unit, &objects, change).map(|()| Vec::new())
        }
        Affected::Event => go_through(context, unit, (event, Whole::Refresh), change),
    }
}

fn withdrawn_from(
    unit: &Unit<'_>,
    key: (&str, Uuid),
    ending: &Ending,
    change: &mut Change<'_>,
) -> Result<()> {
    let (event, why) = (key.1, ending.why);
    change.event = Some(event);
    match withdraw::withdraw(unit, key, ending, change)? {
        Withdrawn::Claims(0) => {}
        Withdrawn::Claims(claims) => {
            unit.then(move |_| metrics::claims("gone", claims as u64));
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

fn sighted(
    context: &Context,
    unit: &Unit<'_>,
    heard: &Heard,
    change: &mut Change<'_>,
) -> Result<()> {
    let source = context.source();
    let Heard { ref event, ref said, attribute, sighting, taken_back } = *heard;
    let known = withdraw::claimants(unit, source, Which::Attribute(attribute))?;
    let known = known.first().copied();
    change.event = known;
    let place = (source, known.or(event.uuid).unwrap_or_default());
    let is_news = if taken_back {
        sightings::take_back(unit, place, (attribute, sighting.uuid), change)?
    } else {
        let observables = said.as_ref().map(|(kind, value)| convert::said(kind, value));
        let values = observables.into_iter().flatten().map(|one| one.value).collect();
        let one = Sighted { attribute, sighting, values };
        sightings::take_in(unit, place, &[one], change)? > 0
    };
    let Some(event) = known else { return Ok(()) };
    context.applied.invalidate(&event);
    if is_news {
        withdraw::touch(unit, (source, event))?;
        let (kind, withdrawn) = (sighting.kind, change.withdrawn);
        tracing::info!(%event, %attribute, ?kind, taken_back, altered = change.altered, withdrawn, "sighting");
    }
    Ok(())
}

/// Has a known event read: what was heard has no time of MISP's, or does not say what changed.
fn look_again(context: &Context, unit: &Unit<'_>, event: Uuid, change: &Change<'_>) -> Result<()> {
    let source = context.source();
    let named = EventRef { uuid: Some(event), id: None };
    let known = meant(unit, source, &named)?;
    read_soon(context, unit, known.events(), change)
}

pub(super) fn read_soon(
    context: &Context,
    unit: &Unit<'_>,
    events: &[Uuid],
    change: &Change<'_>,
) -> Result<()> {
    let Some(rest) = &context.settings.rest else { return Ok(()) };
    let asking = Asking::soon(&rest.times, change.opened_at);
    for event in events {
        let key = (context.source(), *event);
        reads::ask(unit, key, asking, change.opened_at)?;
    }
    Ok(())
}

/// A publication of the event came: what a webhook announced is no longer needed, and gaps that
/// name the event are healed.
pub(super) fn confirm(
    tx: &Transaction<'_>,
    source: &str,
    (event, told_at): (Uuid, i64),
) -> Result<()> {
    for statement in [&FORGET_ANNOUNCED, &HEAL_GAPS] {
        tx.execute(statement, &values![source, event, told_at])?;
    }
    Ok(())
}

impl Writer {
    /// Has a webhook's publication confirmed by REST; without a key, stores it until ZeroMQ confirms
    /// it, or applies it at once if the confirmation came first and its payload was dropped.
    pub(super) async fn announce(&mut self, body: Bytes, now: i64) -> Result<Receipt> {
        let event = match misp::Event::parse(&body) {
            Ok(event) => event.uuid,
            Err(_) => return Ok(Receipt::Refused),
        };
        if self.context.rest().is_some() {
            self.ask_confirmation(event).await?;
            return Ok(Receipt::Committed);
        }
        let context = std::sync::Arc::clone(&self.context);
        let dropped_since = now.saturating_sub(millis(context.settings.confirm_within));
        let store = move |unit: &Unit<'_>| {
            let source = context.source();
            unit.execute(&ANNOUNCE, &values![source, event, now, &*body])?;
            let dropped: Option<i64> =
                unit.row(&WAS_DROPPED, &values![source, event, dropped_since])?;
            Ok(dropped.is_some())
        };
        if self.context.ledger.write(store).await? {
            self.use_announced(event).await?;
        }
        Ok(Receipt::Committed)
    }

    pub(super) async fn gap(&mut self, gap: Gap, now: i64) -> Result<Receipt> {
        let (ledger, since) = (&self.context.ledger, unix(gap.since));
        if gap.reason == GapReason::Disconnected
            && ledger.is_first_outage(&gap.intake, since).await?
        {
            return Ok(Receipt::Committed);
        }
        ledger.record_gap(self.context.source(), &gap, since, now).await?;
        if let Some(event) = gap.event.filter(|_| gap.publication) {
            self.use_announced(event).await?;
        }
        Ok(Receipt::Committed)
    }

    /// A publication of this event came, and its payload could not be kept: the webhook's is as
    /// good.
    async fn use_announced(&mut self, event: Uuid) -> Result<()> {
        let source = self.context.source().to_owned();
        let read = move |tx: &Transaction<'_>| tx.row(&ANNOUNCED, &values![&source, event]);
        let body: Option<(Vec<u8>,)> = self.context.ledger.read(read).await?;
        let Some((body,)) = body else { return Ok(()) };
        self.publish(body.into(), Instant::now()).await?;
        tracing::info!(%event, "the webhook's publication stands in for a dropped one");
        Ok(())
    }
}
