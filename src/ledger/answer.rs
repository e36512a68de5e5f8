//! Applies MISP's answers to reads of events. A publication from the feed or the webhook is only a hint; an answer
//! decides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::change::Change;
use super::event_outcome::EventOutcome;
use super::judgement::{Asked, Origin, Shown};
use super::owner::Unit;
use super::running::{Applied, Purpose, RunningSnapshot, Taken};
use super::snapshot::{self, Snapshot, Source};
use super::sql::Result;
use super::tables::events::{self, DeletedAt};
use super::tables::reads::{self, Postponement, Vain};
use super::time::{millis, unix};
use super::whole::{self, Unfinished};
use super::writing::{Context, RestRules};
use super::{Lane, Ledger};
use crate::document::Document;
use crate::log_event::{LogEvent, ms};
use crate::notice::{EventAnswer, Read, Receipt};

/// An event that was published less than this many seconds ago goes into the live lane, however the relay found it.
const RECENT: i64 = 600;

/// Begins to apply an answer, unless the relay heard something about the event since the request began.
pub(super) async fn begin(context: &Arc<Context>, read: Read, received: Instant) -> Result<Taken> {
    let Some(rest) = context.rest() else { return Ok(Taken::Done(Receipt::Refused)) };
    let (document, selected) = match &read.answer {
        EventAnswer::Gone => return Ok(Taken::Done(gone(context, rest, &read).await?)),
        EventAnswer::Event { document, selected } => (document.clone(), *selected),
    };
    let snapshot = match shown(context, rest, &read, document, selected).await {
        Ok(snapshot) => snapshot,
        Err(why) => return Ok(Taken::Done(refuse(context, rest, &read, &why).await?)),
    };
    // Notices about events that the ledger does not know may be about this one.
    if read.sequence <= 0 && read.sequence != context.ledger.strange(context.source()) {
        return Ok(Taken::Done(again(context, rest, &read).await?));
    }
    let Origin::Read(shown) = snapshot.head.origin else {
        return Ok(Taken::Done(Receipt::Refused));
    };
    // By another view a read only forbids, and of an unknown event there is nothing to forbid.
    if !shown.of_our_view && !knows(context, read.event).await? {
        return Ok(Taken::Done(settle(context, &read).await?));
    }
    if read.confirm && !shown.published && is_postponed(context, rest, &read).await? {
        return Ok(Taken::Done(Receipt::Again));
    }
    // After the answer the ledger may hold something else than the last push, even if that push comes
    // again.
    context.applied.invalidate(&read.event);
    let lane = lane(&read, &shown);
    let running = RunningSnapshot::new(context, snapshot, Purpose::Answer(read), lane, received);
    Ok(Taken::Running(Box::new(running)))
}

/// Ends the work on an answer.
pub(super) async fn end(context: &Arc<Context>, read: &Read, applied: Applied) -> Result<Receipt> {
    let Some(rest) = context.rest() else { return Ok(Receipt::Refused) };
    match applied {
        // It was settled with the last of it.
        Applied::Wholly => {
            EventOutcome::Read.count();
            Ok(Receipt::Committed)
        }
        Applied::Refused => settle(context, read).await,
        Applied::Overtaken | Applied::GivenUp => again(context, rest, read).await,
        Applied::BrokenOff => {
            let why = "the relay failed at reading or converting it, and its log says how: if the disk is in order, please report that with the event";
            refuse(context, rest, read, why).await
        }
    }
}

/// The snapshot that MISP answered with, or why it cannot be used.
async fn shown(
    context: &Context,
    rest: &RestRules,
    read: &Read,
    document: Document,
    selected: bool,
) -> Result<Snapshot, String> {
    let asked = Asked {
        began: unix(read.began),
        sequence: read.sequence,
        date: read.date,
        selected,
        of_our_view: rest.key.is_accepted(),
        sees_all: rest.key.sees_all(),
    };
    let source = Source::Read(asked, rest.on_unpublish);
    let folder = &context.ledger.shared.folder;
    match snapshot::read(document, folder, context.views.fingerprint(), source).await {
        Ok(snapshot) if snapshot.head.facts.uuid == read.event => Ok(snapshot),
        Ok(snapshot) => Err(format!(
            "MISP answers with event {} in its place: look for a proxy that mixes answers up",
            snapshot.head.facts.uuid
        )),
        Err(refusal) => Err(format!(
            "{refusal}; mend what stands there in MISP (the event's info, a comment, a value), or report it as a fault of the relay"
        )),
    }
}

fn lane(read: &Read, shown: &Shown) -> Lane {
    let is_recent = shown.published && shown.publication >= read.date.saturating_sub(RECENT);
    if read.backlog && !is_recent { Lane::Backlog } else { Lane::Live }
}

async fn knows(context: &Arc<Context>, event: Uuid) -> Result<bool> {
    let work = Arc::clone(context);
    context.ledger.read(move |tx| events::is_known(tx, work.key(event))).await
}

/// Whether to read the event once more, because its publication is not saved yet or was blocked.
async fn is_postponed(context: &Arc<Context>, rest: &RestRules, read: &Read) -> Result<bool> {
    let next = usize::try_from(read.attempts + 1).unwrap_or(usize::MAX);
    let times = &rest.times.confirm_after;
    let Some((before, at)) = times.get(next - 1).zip(times.get(next)) else { return Ok(false) };
    let after = at.saturating_sub(*before);
    postpone(context, read, after, 1).await?;
    tracing::debug!(
        misp_event = %read.event,
        wait_ms = ms(after),
        "MISP does not show the event published yet, and is asked again"
    );
    Ok(true)
}

async fn again(context: &Arc<Context>, rest: &RestRules, read: &Read) -> Result<Receipt> {
    let after = rest.times.confirm_after.first().copied().unwrap_or_default();
    postpone(context, read, after, 0).await?;
    EventOutcome::Overtaken.count();
    Ok(Receipt::Again)
}

async fn postpone(
    context: &Arc<Context>,
    read: &Read,
    after: Duration,
    attempts: i64,
) -> Result<()> {
    let (work, event) = (Arc::clone(context), read.event);
    let due_at = Ledger::now() + millis(after);
    let postponement = Postponement { asked: read.asked, due_at, attempts };
    let postpone = move |unit: &Unit<'_>| reads::postpone(unit, work.key(event), postponement);
    context.ledger.write(postpone).await
}

/// Handles an answer that cannot be used: the event is read again after ever longer waits, and operators are told.
async fn refuse(context: &Context, rest: &RestRules, read: &Read, why: &str) -> Result<Receipt> {
    let pauses = rest.times.vain_pauses(Ledger::now());
    // The same answer would come again: a resync has compared what there is.
    let vain = Vain { event: read.event, asked: read.asked, why, patience: 1, pauses };
    let times = context.ledger.put_off_read(context.source(), vain).await?;
    tracing::error!(
        event = LogEvent::EventRefused.word(),
        misp_event = %read.event,
        why,
        times,
        "MISP's answer about an event cannot be used. What was known of it before stays, and it is read again later"
    );
    EventOutcome::Refused.count();
    Ok(Receipt::Committed)
}

async fn settle(context: &Arc<Context>, read: &Read) -> Result<Receipt> {
    let (work, event, asked) = (Arc::clone(context), read.event, read.asked);
    let settle = move |unit: &Unit<'_>| reads::settle(unit, work.key(event), asked);
    context.ledger.write(settle).await?;
    Ok(Receipt::Committed)
}

/// MISP says that there is no such event.
async fn gone(context: &Arc<Context>, rest: &RestRules, read: &Read) -> Result<Receipt> {
    let work = Arc::clone(context);
    let (event, asked, sequence) = (read.event, read.asked, read.sequence);
    let end = move |unit: &Unit<'_>| end_gone(&work, unit, event, asked, sequence);
    match context.ledger.write(end).await? {
        Gone::Overtaken => return again(context, rest, read).await,
        Gone::Unsure => {
            tracing::warn!(
                event = LogEvent::EventUnseen.word(),
                misp_event = %event,
                "The key does not see the event, and may see less than the key before. Nothing is withdrawn; start once with --accept-new-view if that is right"
            );
        }
        Gone::Known => {}
        Gone::Ending { unfinished } => {
            tracing::info!(
                event = LogEvent::EventDeleted.word(),
                misp_event = %event,
                by = "a read",
                "The event does not exist in MISP any more, and its claims end"
            );
            if let Some(unfinished) = unfinished {
                whole::go_through(context, unfinished).await?;
            }
        }
    }
    Ok(Receipt::Committed)
}

/// What came of the answer that an event does not exist.
#[derive(Debug, Clone, Copy)]
enum Gone {
    /// The ledger knows that already.
    Known,
    /// The read began before something that the ledger knows.
    Overtaken,
    /// The key may be unable to see the event.
    Unsure,
    /// Its claims end. `unfinished`: not all of them have yet.
    Ending { unfinished: Option<Unfinished> },
}

fn end_gone(
    context: &Context,
    unit: &Unit<'_>,
    event: Uuid,
    asked: i64,
    sequence: i64,
) -> Result<Gone> {
    let stored = events::stored(unit, context.key(event))?;
    // Something was heard of the event since the request began.
    if stored.as_ref().is_some_and(|stored| stored.sequence != sequence) {
        return Ok(Gone::Overtaken);
    }
    reads::settle(unit, context.key(event), asked)?;
    let living = stored.filter(|stored| stored.deleted_at.is_none());
    let Some(stored) = living else { return Ok(Gone::Known) };
    if !context.rest().is_some_and(|rest| rest.key.is_accepted()) {
        return Ok(Gone::Unsure);
    }
    let mut change = Change::new(&context.views, Some(event), Ledger::now());
    let deleted = DeletedAt { timestamp: stored.timestamp, heard: change.opened_at };
    let unfinished = whole::delete(context, unit, event, deleted, &mut change)?;
    unit.wake(&change);
    Ok(Gone::Ending { unfinished })
}
