//! Takes in publications from the webhook. With a key for REST it asks for a read of the event. Without a key it stores
//! the publication until the feed confirms it. If the feed's own publication was dropped, it applies the webhook's
//! instead.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use uuid::Uuid;

use super::owner::Unit;
use super::publish;
use super::running::Taken;
use super::sql::Result;
use super::tables::{announced, gaps};
use super::time::{millis, unix};
use super::writing::Context;
use crate::log_event::LogEvent;
use crate::notice::{Gap, GapReason, Receipt};
use crate::pure::misp;

/// Has a webhook's publication confirmed by REST. Without a key, stores it until the feed confirms it, or
/// applies it at once if the confirmation came first and its payload was dropped.
pub(super) async fn announce(context: &Arc<Context>, body: Bytes, now: i64) -> Result<Taken> {
    let event = match misp::Event::parse(&body) {
        Ok(event) => event.uuid,
        Err(_) => return Ok(Taken::Done(Receipt::Refused)),
    };
    if context.rest().is_some() {
        publish::ask_confirmation(context, event).await?;
        return Ok(Taken::Done(Receipt::Committed));
    }
    let dropped_since = now.saturating_sub(millis(context.settings.confirm_within));
    let work = Arc::clone(context);
    let store = move |unit: &Unit<'_>| {
        let event = work.key(event);
        announced::store(unit, event, &body, now)?;
        // The feed's publication may have come first and been dropped: then nothing will confirm this one.
        gaps::lost_publication(unit, event, dropped_since)
    };
    if context.ledger.write(store).await? {
        return use_announced(context, event).await;
    }
    Ok(Taken::Done(Receipt::Committed))
}

/// Records a gap. If the gap is a dropped publication of the feed, applies the webhook's publication in its place.
pub(super) async fn gap(context: &Arc<Context>, gap: Gap, now: i64) -> Result<Taken> {
    let (ledger, since) = (&context.ledger, unix(gap.since));
    if gap.reason == GapReason::Disconnected
        && ledger.is_first_outage(context.source(), &gap.intake, since).await?
    {
        return Ok(Taken::Done(Receipt::Committed));
    }
    ledger.record_gap(context.source(), &gap, since, now).await?;
    match gap.event.filter(|_| gap.publication) {
        Some(event) => use_announced(context, event).await,
        None => Ok(Taken::Done(Receipt::Committed)),
    }
}

/// Applies the webhook's publication of this event, because the feed's publication came and its payload was dropped.
async fn use_announced(context: &Arc<Context>, event: Uuid) -> Result<Taken> {
    let work = Arc::clone(context);
    let body = context.ledger.read(move |tx| announced::body(tx, work.key(event))).await?;
    let Some(body) = body else { return Ok(Taken::Done(Receipt::Committed)) };
    tracing::info!(
        event = LogEvent::WebhookStandsIn.word(),
        misp_event = %event,
        "The webhook's publication stands in for a dropped one"
    );
    Ok(match publish::begin(context, body.into(), Instant::now()).await? {
        Taken::Done(_) => Taken::Done(Receipt::Committed),
        running @ Taken::Running(_) => running,
    })
}
