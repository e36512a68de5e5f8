//! Applies publications of the feed, and a webhook's publication if it replaces one that the feed lost.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::body::Bytes;
use uuid::Uuid;

use super::applying::confirm;
use super::event_outcome::EventOutcome;
use super::owner::Unit;
use super::running::{Applied, Purpose, RunningSnapshot, Taken, log_unchanged};
use super::snapshot::{self, SnapshotHead, Source};
use super::sql::Result;
use super::time::unix;
use super::writing::Context;
use super::{Lane, Ledger};
use crate::log_event::LogEvent;
use crate::notice::{Gap, GapReason, Receipt};

/// Begins to apply a publication.
pub(super) async fn begin(context: &Arc<Context>, body: Bytes, received: Instant) -> Result<Taken> {
    let bytes = body.len();
    let key = context.rest().map(|rest| &rest.key);
    // The feed shows what a site administrator sees. A key that sees less must confirm what may not be for
    // it.
    let weigh = key.is_some_and(|key| !(key.sees_all() && key.is_accepted()));
    let received_at = unix(SystemTime::now() - received.elapsed()) / 1_000;
    let source = Source::Push { weigh, received: received_at };
    let folder = &context.ledger.shared.folder;
    let snapshot = match snapshot::read(body, folder, context.views.fingerprint(), source).await {
        Ok(snapshot) => snapshot,
        Err(refusal) => {
            tracing::warn!(
                event = LogEvent::PublicationUnreadable.word(),
                bytes,
                why = %refusal,
                "A publication cannot be read. It is skipped, and a gap is noted"
            );
            note_gap(context).await?;
            return Ok(Taken::Done(Receipt::Refused));
        }
    };
    let (event, content) = (snapshot.head.facts.uuid, snapshot.head.content);
    let searches = context.rest().is_some_and(|rest| rest.searches);
    if searches || snapshot.head.restricted {
        tracing::info!(
            event = LogEvent::PublicationWaits.word(),
            misp_event = %event,
            "A publication waits for a REST read: the key may not see it, or misp.search may not select it"
        );
        ask_confirmation(context, event).await?;
        return Ok(Taken::Done(Receipt::Committed));
    }
    if context.applied.get(&event) == Some(content) {
        log_unchanged(event);
        let work = Arc::clone(context);
        let again = move |unit: &Unit<'_>| {
            confirm(unit, work.key(event), Ledger::now())?;
            work.ask_read_back(unit, event)
        };
        context.ledger.write(again).await?;
        return Ok(Taken::Done(Receipt::Committed));
    }
    context.applied.invalidate(&event);
    let running =
        RunningSnapshot::new(context, snapshot, Purpose::Publication, Lane::Live, received);
    Ok(Taken::Running(Box::new(running)))
}

/// Ends the work on a publication.
pub(super) async fn end(
    context: &Arc<Context>,
    head: &SnapshotHead,
    applied: Applied,
) -> Result<Receipt> {
    let event = head.facts.uuid;
    match applied {
        // Nothing else is kept in the cache: the repeat of what was not wholly applied must be applied.
        Applied::Wholly => context.applied.insert(event, head.content),
        Applied::BrokenOff => {
            tracing::error!(
                event = LogEvent::RelayFault.word(),
                misp_event = %event,
                "The relay failed at converting a publication. Report this with the event; a gap is noted"
            );
            note_gap(context).await?;
        }
        Applied::Refused | Applied::Overtaken | Applied::GivenUp => {}
    }
    Ok(Receipt::Committed)
}

/// Asks for reads of the event until MISP shows it published.
pub(super) async fn ask_confirmation(context: &Arc<Context>, event: Uuid) -> Result<()> {
    let work = Arc::clone(context);
    let ask = move |unit: &Unit<'_>| work.ask_confirmation(unit, event);
    context.ledger.write(ask).await
}

/// Records a gap for a publication that is lost.
async fn note_gap(context: &Context) -> Result<()> {
    EventOutcome::Refused.count();
    let now = SystemTime::now();
    let gap = Gap {
        reason: GapReason::MalformedFrame,
        intake: "publication".into(),
        since: now,
        event: None,
        publication: false,
    };
    context.ledger.record_gap(context.source(), &gap, unix(now), unix(now)).await
}
