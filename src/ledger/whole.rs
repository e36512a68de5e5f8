//! Ends all claims of an event, or merges them again, in transactions of bounded size. It notes this work in the ledger
//! before it begins, so that the next start continues it after a crash.

use std::sync::Arc;

use uuid::Uuid;

use super::Ledger;
use super::change::Change;
use super::copies;
use super::owner::Unit;
use super::refresh::refresh;
use super::sql::{Result, Transaction};
use super::tables::announced;
use super::tables::claims;
use super::tables::events::{self, DeletedAt, Whole};
use super::tables::keys::{EventCursor, EventKey};
use super::tags::{Affected, refresh_event};
use super::withdraw::end_claims;
use super::writing::Context;
use crate::log_event::LogEvent;
use crate::metrics;
use crate::recent::Committed;

/// An event on whose claims more work is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unfinished {
    pub event: Uuid,
    /// When the notice arrived, Unix milliseconds: what is left is part of the same news.
    pub heard: i64,
}

/// Begins to go through all claims of an event. The first step is part of the notice's own transaction, and for all
/// but large events it is the last one too. Returns the event if it needs more.
fn begin(
    context: &Context,
    unit: &Unit<'_>,
    event: Uuid,
    whole: Whole,
    change: &mut Change<'_>,
) -> Result<Option<Unfinished>> {
    let key = context.key(event);
    context.applied.invalidate(&event);
    // Noted in the transaction of the notice itself, so that no crash can come between the two.
    events::begin_whole(unit, key, whole)?;
    change.event = Some(event);
    let heard = change.opened_at;
    Ok(step(unit, key, None, change)?.map(|_| Unfinished { event, heard }))
}

/// Marks an event as deleted, known or not, and ends its claims. Returns the event if that takes more transactions.
pub(super) fn delete(
    context: &Context,
    unit: &Unit<'_>,
    event: Uuid,
    deleted: DeletedAt,
    change: &mut Change<'_>,
) -> Result<Option<Unfinished>> {
    let key = context.key(event);
    events::delete(unit, key, deleted)?;
    // A webhook's publication from before must not stand in for one of a deleted event.
    announced::forget(unit, key)?;
    show_deletion(unit, event, claims::count_of_event(unit, key)?, change.opened_at);
    // Without the event the source says nothing of its attributes any more, not even that it deleted some.
    copies::let_go(unit, key, |_| true, i64::MAX, change)?;
    begin(context, unit, event, Whole::End, change)
}

/// Counts the claims of a deleted event, and shows its end to people.
fn show_deletion(unit: &Unit<'_>, event: Uuid, claims: usize, heard: i64) {
    // One that claims nothing, or was deleted before, is no news.
    if claims > 0 {
        unit.then(move |shared| {
            metrics::claims("gone", claims as u64);
            shared.recent.committed(Committed::withdrawal(event, claims, "event deleted", heard));
        });
    }
}

/// Merges anew what a notice affects. Returns the event if that takes more transactions.
pub(super) fn merge_affected(
    context: &Context,
    unit: &Unit<'_>,
    event: Uuid,
    affected: &Affected,
    change: &mut Change<'_>,
) -> Result<Option<Unfinished>> {
    match affected {
        Affected::Nothing => Ok(None),
        Affected::Objects(objects) => {
            context.applied.invalidate(&event);
            refresh(unit, objects, change).map(|()| None)
        }
        Affected::Event => begin(context, unit, event, Whole::Refresh, change),
    }
}

/// A step through an event's claims, after those of `after`; the place of the last one if more are left.
fn step(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    after: Option<EventCursor>,
    change: &mut Change<'_>,
) -> Result<Option<EventCursor>> {
    let next = match events::unfinished(tx, event)? {
        // The claims of this step are gone, so the next one begins at the beginning again.
        Some(Whole::End) if end_claims(tx, event, change)? => Some(EventCursor::BEGINNING),
        Some(Whole::Refresh) => refresh_event(tx, event, after, change)?,
        Some(Whole::End) => None,
        None => return Ok(None),
    };
    if next.is_none() {
        events::end_whole(tx, event)?;
    }
    Ok(next)
}

/// Goes through all claims of an event of which the ledger notes that this is to be done.
pub(super) async fn go_through(
    context: &Arc<Context>,
    Unfinished { event, heard }: Unfinished,
) -> Result<()> {
    let mut after = None;
    loop {
        let work = Arc::clone(context);
        let step = move |unit: &Unit<'_>| {
            let mut change = Change::new(&work.views, Some(event), heard);
            let next = step(unit, work.key(event), after, &mut change)?;
            unit.wake(&change);
            Ok(next)
        };
        after = context.ledger.write_step(step).await?;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Takes up what a crash or a fault interrupted. An event whose snapshot is `in_work` waits for it: the
/// snapshot decides on the same claims.
pub(super) async fn resume(context: &Arc<Context>, in_work: &[Uuid]) {
    let source = context.source().to_owned();
    let unfinished = context.ledger.read(move |tx| events::all_unfinished(tx, &source)).await;
    let unfinished = unfinished.unwrap_or_default().into_iter();
    for event in unfinished.filter(|event| !in_work.contains(event)) {
        tracing::info!(
            event = LogEvent::EventResumed.word(),
            misp_event = %event,
            "The last run left this event unfinished, and the relay goes on with it"
        );
        if let Err(error) = go_through(context, Unfinished { event, heard: Ledger::now() }).await {
            tracing::error!(
                event = LogEvent::LedgerWorkFailed.word(),
                misp_event = %event,
                %error,
                "The relay cannot go on with an unfinished event"
            );
        }
    }
}
