//! Decides whether to apply a snapshot, and combines its head with what the ledger already knows of the event.

use super::apply::{Application, BegunHead};
use super::judgement::Origin;
use super::narrow;
use super::sql::{Result, Transaction};
use super::tables::claims;
use super::tables::events::{self, StoredEvent, Whole};
use super::tables::keys::EventKey;
use super::tables::tag_changes;
use crate::pure::convert::EventFacts;

/// Whether to apply a snapshot.
#[derive(Debug)]
pub(super) enum Begun {
    /// The ledger already holds exactly this snapshot.
    Unchanged,
    /// The snapshot is older than the applied one, as `Event.timestamp` tells.
    Stale,
    /// The event was deleted; only a REST read begun after that brings it back.
    Deleted,
    /// The read began before the last notice about the event.
    Overtaken,
    Started(Box<Application>),
}

/// Why a snapshot is not to be applied.
fn objection(
    stored: &StoredEvent,
    origin: &Origin,
    facts: &EventFacts,
    content: i64,
) -> Option<Begun> {
    if origin.is_overtaken(stored.sequence, stored.deleted_at) {
        return Some(Begun::Overtaken);
    }
    if stored.deleted_at.is_some() && !origin.is_read() {
        return Some(Begun::Deleted);
    }
    // A read is what MISP answers now, so an older timestamp is no objection to it.
    if stored.deleted_at.is_none() && !origin.is_read() && facts.timestamp < stored.timestamp {
        return Some(Begun::Stale);
    }
    // `events::touch` takes the stored content away, so an event that was altered since is never unchanged.
    (stored.content == Some(content)).then_some(Begun::Unchanged)
}

/// Compares a snapshot's head with the ledger and, if it is to be applied, writes the head.
///
/// `content` is the fingerprint of the whole snapshot.
pub(super) fn begin(
    tx: &Transaction<'_>,
    source: &str,
    facts: &EventFacts,
    content: i64,
    origin: Origin,
) -> Result<Begun> {
    let event = EventKey::new(source, facts.uuid);
    let mut facts = facts.clone();
    let mut before = None;
    match events::stored(tx, event)? {
        Some(stored) => {
            if let Some(objection) = objection(&stored, &origin, &facts, content) {
                return Ok(objection);
            }
            before = stored.facts();
        }
        // The event was forgotten since the request began, so the answer is asked for anew as that of an
        // unknown one.
        None if origin.is_of_known() => return Ok(Begun::Overtaken),
        None if !origin.is_read() && narrow::is_outdated(tx, source, &facts)? => {
            return Ok(Begun::Stale);
        }
        None => {}
    }
    if let Some(before) = &before {
        origin.reconcile(before, &mut facts);
    }
    if let Origin::Read(shown) = origin {
        // A read shows what came of the tags that were put on and taken off before it.
        tag_changes::settle(tx, source, facts.id, shown.began)?;
    }
    // After the settling: what the read shows already must not count against it.
    origin.tags_heard(tx, source, &facts)?.apply(tag_changes::EVENT, &mut facts.tags);
    let changed = before.is_some_and(|before| says_more(&before, &facts));
    let stage = events::begin_snapshot(tx, source, &facts)?;
    if changed {
        // If this does not come to its end, all claims are judged by the new head nevertheless.
        events::begin_whole(tx, event, Whole::Refresh)?;
    }
    let stored = claims::digests(tx, event)?;
    let head = BegunHead { facts, stage, changed };
    Ok(Begun::Started(Box::new(Application::new(source, origin, head, stored))))
}

/// Whether the two heads differ in anything that policy or merging reads. Neither reads the event's own times.
fn says_more(stored: &EventFacts, now: &EventFacts) -> bool {
    let without_times = |facts: &EventFacts| EventFacts {
        timestamp: 0,
        publish_timestamp: 0,
        narrowed_at: 0,
        ..facts.clone()
    };
    without_times(stored) != without_times(now)
}
