//! Whether a snapshot is to be applied, and what its head comes to beside what is known already.

use super::apply::Application;
use super::judgement::Origin;
use super::small::Whole;
use super::sql::{Result, Transaction, row, statements, values};
use super::tag_changes::{self, TagChanges};
use super::wanted::decode;
use super::{claims, events, head, narrow};
use crate::pure::convert::EventFacts;

statements! {
    EVENT(Text, Bytes) =
        "SELECT timestamp, content, sequence, deleted_at, facts FROM events
         WHERE source = $1 AND event = $2";
}

/// Whether a snapshot is to be applied.
#[derive(Debug)]
pub(super) enum Begun {
    /// The ledger holds exactly this.
    Unchanged,
    /// An older snapshot than the applied one, which `Event.timestamp` tells.
    Stale,
    /// The event was deleted; only a REST read begun after that brings it back.
    Deleted,
    /// The read began before something that the ledger knows.
    Overtaken,
    Started(Box<Application>),
}

/// The head of a snapshot that was begun.
#[derive(Debug)]
pub(super) struct Head {
    pub facts: EventFacts,
    pub generation: i64,
    /// It says something else than before: all objects of the event are merged anew.
    pub changed: bool,
    /// What was heard of its tags, of a push.
    pub heard: TagChanges,
}

row! {
    #[derive(Debug)]
    struct EventRow {
        timestamp: i64,
        content: Option<i64>,
        sequence: i64,
        deleted_at: Option<i64>,
        facts: String,
    }
}

impl EventRow {
    /// Why a snapshot is not to be applied.
    fn objection(&self, origin: &Origin, facts: &EventFacts, content: i64) -> Option<Begun> {
        if origin.is_overtaken(self.sequence, self.deleted_at) {
            return Some(Begun::Overtaken);
        }
        if self.deleted_at.is_some() && !origin.is_read() {
            return Some(Begun::Deleted);
        }
        if self.deleted_at.is_none() && !origin.is_read() && facts.timestamp < self.timestamp {
            return Some(Begun::Stale);
        }
        (self.content == Some(content)).then_some(Begun::Unchanged)
    }
}

/// Compares a snapshot's head with the ledger and, if it is to be applied, writes the head.
///
/// `content` is the fingerprint of the whole snapshot.
pub(super) fn begin(
    tx: &Transaction<'_>,
    source: &str,
    (facts, content): (&EventFacts, i64),
    origin: Origin,
) -> Result<Begun> {
    let stored: Option<EventRow> = tx.row(&EVENT, &values![source, facts.uuid])?;
    let mut facts = facts.clone();
    let mut before = None;
    if stored.is_none() && origin.is_of_known() {
        return Ok(Begun::Overtaken);
    }
    if stored.is_none() && !origin.is_read() && narrow::is_outdated(tx, source, &facts)? {
        return Ok(Begun::Stale);
    }
    if let Some(row) = stored {
        if let Some(objection) = row.objection(&origin, &facts, content) {
            return Ok(objection);
        }
        // An event that was deleted before the ledger knew it has no facts.
        before = decode::<EventFacts>(&row.facts).ok();
    }
    if let Some(before) = &before {
        origin.reconcile(before, &mut facts);
    }
    let heard = heard_of(tx, source, &origin, &mut facts)?;
    let event_changed = before.is_some_and(|before| head::says_more(&before, &facts));
    let generation = head::write_head(tx, source, &facts)?;
    if event_changed {
        // If this does not come to its end, all claims are judged by the new head nevertheless.
        events::begin_whole(tx, (source, facts.uuid), Whole::Refresh)?;
    }
    let stored = claims::stored_claims(tx, source, facts.uuid)?;
    let head = Head { facts, generation, changed: event_changed, heard };
    Ok(Begun::Started(Box::new(Application::new(source, origin, head, stored))))
}

/// What was heard of tags by MISP's numbers counts against a push that may be from before it; a read
/// settles it.
fn heard_of(
    tx: &Transaction<'_>,
    source: &str,
    origin: &Origin,
    facts: &mut EventFacts,
) -> Result<TagChanges> {
    let number = facts.id;
    match origin {
        Origin::Push { .. } => {
            let taken = origin.taken(facts.timestamp);
            let heard = tag_changes::not_before(tx, source, number, taken)?;
            heard.apply(tag_changes::EVENT, &mut facts.tags);
            Ok(heard)
        }
        Origin::Read(shown) => {
            tag_changes::forget(tx, source, number, shown.began)?;
            Ok(TagChanges::default())
        }
    }
}
