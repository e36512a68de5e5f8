//! Applies notices that concern a few claims or one event: withdrawals, tags, sightings and edits.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use uuid::Uuid;

use super::beside::{self, Sighted};
use super::change::Change;
use super::meant::meant;
use super::owner::Unit;
use super::sql::Result;
use super::tables::claims::{self, ClaimGroup};
use super::tables::events::{self, DeletedAt};
use super::tables::sightings::SightingKey;
use super::time::unix;
use super::whole::Unfinished;
use super::withdraw::{self, Ending, Withdrawn};
use super::writing::Context;
use super::{narrow, tagging, whole};
use crate::log_event::LogEvent;
use crate::metrics;
use crate::notice::{
    AudienceShown, Cause, EventRef, ReportedSighting as Heard, Subject, What, Withdrawal,
};
use crate::pure::convert;
use crate::recent::Committed;

/// A notice that shares a transaction with others.
#[derive(Debug)]
pub(super) struct SmallNotice {
    pub what: What,
    /// When it arrived.
    pub received: Instant,
}

/// Applies small notices in one transaction. If a notice concerns a whole large event, the rest of the work follows in
/// more transactions.
pub(super) async fn apply(context: &Arc<Context>, batch: Vec<Arc<SmallNotice>>) -> Result<()> {
    let work = Arc::clone(context);
    let apply = move |unit: &Unit<'_>| {
        let mut unfinished = Vec::new();
        for notice in &batch {
            let SmallNotice { what, received } = &**notice;
            let heard = unix(SystemTime::now() - received.elapsed());
            let mut change = Change::new(&work.views, None, heard);
            unfinished.extend(one(&work, unit, what, &mut change)?);
            unit.wake(&change);
        }
        Ok(unfinished)
    };
    // After the shared transaction: the rest of a large event takes steps of its own.
    for unfinished in context.ledger.write(apply).await? {
        whole::go_through(context, unfinished).await?;
    }
    Ok(())
}

/// Applies one notice. Returns the events on whose claims more work is left.
fn one(
    context: &Context,
    unit: &Unit<'_>,
    what: &What,
    change: &mut Change<'_>,
) -> Result<Vec<Unfinished>> {
    match what {
        What::Withdrawn(Withdrawal::Event { uuid, timestamp }) => {
            let deleted = DeletedAt { timestamp: *timestamp, heard: change.opened_at };
            let event = *uuid;
            unit.then(move |_| {
                tracing::info!(
                    event = LogEvent::EventDeleted.word(),
                    misp_event = %event,
                    by = "a frame",
                    "The event was deleted in MISP, and its claims end"
                );
            });
            let unfinished = whole::delete(context, unit, event, deleted, change)?;
            return Ok(unfinished.into_iter().collect());
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

fn withdrawn(
    context: &Context,
    unit: &Unit<'_>,
    withdrawal: &Withdrawal,
    change: &mut Change<'_>,
) -> Result<Vec<Unfinished>> {
    let source = context.source();
    let Some(ending) = ending(withdrawal, change) else { return Ok(Vec::new()) };
    let events = claims::events_of(unit, source, ending.group)?;
    // Each claim that ends leaves a tombstone of its own. But what is not known yet, of the attribute or of
    // the object's other attributes, may be on its way in an older snapshot.
    if events.is_empty() || matches!(ending.group, ClaimGroup::OfMispObject(_)) {
        withdraw::remember(unit, source, &ending, change)?;
    }
    // Before anything ends: what the ledger holds tells whether the audience is another one.
    let unfinished = match audience(withdrawal) {
        Some(frame) => shown(context, unit, &frame, change)?,
        None => Vec::new(),
    };
    for event in events {
        context.applied.invalidate(&event);
        withdrawn_from(context, unit, event, &ending, change)?;
    }
    Ok(unfinished)
}

/// The new audience of an edited attribute.
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

/// Applies a frame about an audience. A narrower audience forbids at once. If the frame differs from the ledger, the
/// event is read.
fn shown(
    context: &Context,
    unit: &Unit<'_>,
    frame: &AudienceShown,
    change: &mut Change<'_>,
) -> Result<Vec<Unfinished>> {
    let source = context.source();
    let events = match frame.what {
        Subject::Event(uuid) => {
            // An edited event, whatever was edited.
            look_again(context, unit, uuid, change)?;
            if events::is_known(unit, context.key(uuid))? {
                vec![uuid]
            } else {
                narrow::keep_out_older(unit, source, uuid, frame, change.opened_at)?;
                Vec::new()
            }
        }
        Subject::Object(uuid) => claims::events_of(unit, source, ClaimGroup::OfMispObject(uuid))?,
        Subject::Attribute(uuid) => claims::events_of(unit, source, ClaimGroup::OfAttribute(uuid))?,
    };
    let mut unfinished = Vec::new();
    for event in events {
        let narrowed = narrow::apply(unit, context.key(event), frame, change)?;
        if narrowed.differs && context.rest().is_some() {
            context.ask_at_once(unit, event, change.opened_at)?;
        }
        let affected = &narrowed.affected;
        unfinished.extend(whole::merge_affected(context, unit, event, affected, change)?);
    }
    Ok(unfinished)
}

fn withdrawn_from(
    context: &Context,
    unit: &Unit<'_>,
    event: Uuid,
    ending: &Ending,
    change: &mut Change<'_>,
) -> Result<()> {
    let why = ending.why;
    change.event = Some(event);
    match withdraw::withdraw(unit, context.key(event), ending, change)? {
        Withdrawn::Claims(0) => {}
        Withdrawn::Claims(claims) => {
            let (withdrawn, heard) = (change.withdrawn, change.opened_at);
            unit.then(move |shared| {
                metrics::claims("gone", claims as u64);
                shared.recent.committed(Committed::withdrawal(event, claims, why, heard));
                tracing::info!(
                    event = LogEvent::ClaimsWithdrawn.word(),
                    misp_event = %event,
                    claims,
                    withdrawn,
                    why,
                    "MISP took attributes back, and their claims end"
                );
            });
        }
        Withdrawn::Older => unit.then(move |_| {
            tracing::warn!(
                event = LogEvent::WithdrawalDoubtful.word(),
                misp_event = %event,
                why,
                "A withdrawal looks older than its claim. Only a REST read of the event can judge it"
            );
        }),
    }
    Ok(())
}

/// Returns the claims that a withdrawal ends. `None`: it concerns a whole event, or only an audience.
fn ending(withdrawal: &Withdrawal, change: &Change<'_>) -> Option<Ending> {
    let (group, timestamp, why) = match withdrawal {
        Withdrawal::Attribute { attribute, timestamp, cause, .. } => {
            let why = match cause {
                Cause::Deleted => "attribute deleted",
                Cause::DeletedForGood => "attribute deleted for good",
                Cause::ToIdsOff => "to_ids switched off",
            };
            (ClaimGroup::OfAttribute(*attribute), *timestamp, why)
        }
        Withdrawal::Edited { attribute, timestamp, .. } => {
            (ClaimGroup::OfAttribute(*attribute), *timestamp, "type or value edited")
        }
        Withdrawal::Object { object, timestamp, .. } => {
            (ClaimGroup::OfMispObject(*object), *timestamp, "object deleted")
        }
        Withdrawal::Event { .. } | Withdrawal::Shown(_) => return None,
    };
    let keep = match withdrawal {
        // An edit may leave an observable as it was, for example if only the type changed.
        Withdrawal::Edited { kind, value, .. } => {
            let said = convert::said(kind, value);
            Some(said.iter().map(|observable| change.views.object_key(observable)).collect())
        }
        Withdrawal::Attribute { .. }
        | Withdrawal::Object { .. }
        | Withdrawal::Event { .. }
        | Withdrawal::Shown(_) => None,
    };
    // A snapshot of the same second without `to_ids` is no news from before this, but the same news.
    let ids_only = matches!(withdrawal, Withdrawal::Attribute { cause: Cause::ToIdsOff, .. });
    let for_good = matches!(
        withdrawal,
        Withdrawal::Attribute { cause: Cause::DeletedForGood, .. }
            | Withdrawal::Object { for_good: true, .. }
    );
    Some(Ending { group, timestamp, keep, ids_only, for_good, why })
}

fn sighted(
    context: &Context,
    unit: &Unit<'_>,
    heard: &Heard,
    change: &mut Change<'_>,
) -> Result<()> {
    let source = context.source();
    let Heard { ref event, ref said, attribute, sighting, taken_back } = *heard;
    let known = claims::events_of(unit, source, ClaimGroup::OfAttribute(attribute))?;
    // A sighting counts by its attribute. Where several events hold that, the first one stands for them.
    let known = known.first().copied();
    change.event = known;
    // Where no event is known, the sighting waits under the nil uuid: it counts by its attribute.
    let place = context.key(known.or(event.uuid).unwrap_or_default());
    let is_news = if taken_back {
        let key = SightingKey { source, attribute, sighting: sighting.uuid };
        beside::take_back_sighting(unit, place, key, change)?
    } else {
        let observables = said.as_ref().map(|(kind, value)| convert::said(kind, value));
        let values = observables.into_iter().flatten().map(|one| one.value).collect();
        let one = Sighted { attribute, sighting, values };
        beside::take_in_sightings(unit, place, &[one], change)? > 0
    };
    let Some(event) = known else { return Ok(()) };
    context.applied.invalidate(&event);
    if is_news {
        events::touch(unit, context.key(event))?;
        let (kind, altered, withdrawn) = (sighting.kind, change.altered, change.withdrawn);
        unit.then(move |_| {
            tracing::info!(
                event = LogEvent::SightingChanged.word(),
                misp_event = %event,
                %attribute,
                ?kind,
                taken_back,
                altered,
                withdrawn,
                "A sighting was reported in MISP, or taken back"
            );
        });
    }
    Ok(())
}

/// Asks for a read of a known event, because the notice has no time of MISP's, or does not say what changed.
fn look_again(context: &Context, unit: &Unit<'_>, event: Uuid, change: &Change<'_>) -> Result<()> {
    let known = meant(unit, context.source(), &EventRef { uuid: Some(event), id: None })?;
    context.ask_soon(unit, known.events(), change.opened_at)
}
