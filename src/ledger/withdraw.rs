//! What MISP takes back. Withdrawals count at once, match by uuid and never by value, and leave a
//! tombstone, so that a snapshot from before them brings nothing back.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::apply::STEP;
use super::change::Change;
use super::reads::{self, Asking};
use super::sql::{Result, Transaction, row, statements, values};
use super::wanted::refresh;
use super::{claims, guard};
use crate::pure::convert::ClaimFacts;

statements! {
    CLAIMANTS_OF_ATTRIBUTE(Text, Bytes) = "SELECT event FROM claims
         WHERE source = $1 AND attribute = $2";
    CLAIMANTS_OF_OBJECT(Text, Bytes) = "SELECT event FROM claims
         WHERE source = $1 AND misp_object = $2";
    OF_ATTRIBUTE(Text, Bytes, Bytes) = "SELECT attribute, part, object, timestamp FROM claims
         WHERE source = $1 AND event = $2 AND attribute = $3";
    OF_OBJECT(Text, Bytes, Bytes) = "SELECT attribute, part, object, timestamp FROM claims
         WHERE source = $1 AND event = $2 AND misp_object = $3";
    OF_EVENT(Text, Bytes, Integer) = "SELECT attribute, part, object FROM claims
         WHERE source = $1 AND event = $2 LIMIT $3";
    TOMBSTONES(Text, Bytes) = "SELECT attribute, object, timestamp, ids_only, withdrawn_at
         FROM tombstones WHERE source = $1 AND attribute = $2";
    /// The later of two withdrawals counts, of the same second the stricter.
    BURY(Text, Bytes, Bytes, Integer, Boolean, Integer) =
        "INSERT INTO tombstones (source, attribute, object, timestamp, ids_only, withdrawn_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (source, attribute, object) DO UPDATE SET
             ids_only = CASE WHEN excluded.timestamp > tombstones.timestamp
                        THEN excluded.ids_only
                        WHEN excluded.timestamp = tombstones.timestamp
                        THEN excluded.ids_only AND tombstones.ids_only
                        ELSE tombstones.ids_only END,
             timestamp = CASE WHEN excluded.timestamp > tombstones.timestamp
                         THEN excluded.timestamp ELSE tombstones.timestamp END,
             withdrawn_at = excluded.withdrawn_at";
    UNBURY(Text, Bytes, Bytes) = "DELETE FROM tombstones
         WHERE source = $1 AND attribute = $2 AND object = $3";
    TOUCH(Text, Bytes) = "UPDATE events SET sequence = sequence + 1, content = NULL
         WHERE source = $1 AND event = $2";
    DELETE_EVENT(Text, Bytes, Integer, Integer) = "INSERT INTO events
         (source, event, misp_id, timestamp, sequence, generation, deleted_at, facts)
         VALUES ($1, $2, 0, $3, 1, 1, $4, '{}')
         ON CONFLICT (source, event) DO UPDATE SET deleted_at = excluded.deleted_at,
             content = NULL, sequence = events.sequence + 1, generation = events.generation + 1";
    FORGET_ANNOUNCED(Text, Bytes) = "DELETE FROM announced WHERE source = $1 AND event = $2";
}

/// What became of a withdrawal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Withdrawn {
    /// Claims that ended.
    Claims(usize),
    /// It looks older than the claim: only a REST read of the event can tell, which is noted.
    Older,
}

/// Claims that a withdrawal may end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    Attribute(Uuid),
    /// By the uuid of the MISP object around them.
    Object(Uuid),
}

row! {
    #[derive(Debug, Clone, Copy)]
    struct Found {
        attribute: Uuid,
        part: i16,
        object: Uuid,
        timestamp: i64,
    }
}

/// A withdrawal, made ready for the ledger.
#[derive(Debug)]
pub(super) struct Ending {
    pub which: Which,
    /// MISP's, of the withdrawal, Unix seconds.
    pub timestamp: i64,
    /// Of an edited attribute: the objects that it still claims.
    pub keep: Option<Vec<Uuid>>,
    /// See [`Tombstone`].
    pub ids_only: bool,
    /// For people.
    pub why: &'static str,
}

impl Ending {
    /// Keeps older snapshots from claiming it (again). What an edit says comes with a snapshot of that
    /// very second.
    fn tombstone(&self) -> Tombstone {
        let (Which::Attribute(uuid) | Which::Object(uuid)) = self.which;
        let timestamp = self.timestamp.saturating_sub(i64::from(self.keep.is_some()));
        Tombstone { ids_only: self.ids_only, ..Tombstone::of(uuid, timestamp) }
    }

    fn keeps(&self, object: Uuid) -> bool {
        self.keep.as_ref().is_some_and(|keep| keep.contains(&object))
    }
}

/// The events whose claims a withdrawal is about, whatever MISP's number of them is now.
pub(super) fn claimants(tx: &Transaction<'_>, source: &str, which: Which) -> Result<Vec<Uuid>> {
    let (statement, uuid) = match which {
        Which::Attribute(uuid) => (&CLAIMANTS_OF_ATTRIBUTE, uuid),
        Which::Object(uuid) => (&CLAIMANTS_OF_OBJECT, uuid),
    };
    let mut events: Vec<Uuid> = tx.rows(statement, &values![source, uuid])?;
    // DISTINCT would have SQLite go through all claims of the source, in the order of their events.
    events.sort_unstable();
    events.dedup();
    Ok(events)
}

/// What is withdrawn may be on its way in a snapshot from before: it stays out.
pub(super) fn remember(
    tx: &Transaction<'_>,
    source: &str,
    withdrawal: &Ending,
    now: i64,
) -> Result<()> {
    bury(tx, source, &withdrawal.tombstone(), now)
}

/// Ends the claims of an attribute or object in one event, except those that are kept.
pub(super) fn withdraw(
    tx: &Transaction<'_>,
    event: (&str, Uuid),
    withdrawal: &Ending,
    change: &mut Change<'_>,
) -> Result<Withdrawn> {
    let Ending { timestamp, ids_only, .. } = *withdrawal;
    let found = find(tx, event, withdrawal.which)?;
    let ending: Vec<Found> =
        found.into_iter().filter(|claim| !withdrawal.keeps(claim.object)).collect();
    if ending.iter().any(|claim| claim.timestamp > timestamp) {
        reads::ask(tx, event, Asking::at_once(change.opened_at), change.opened_at)?;
        return Ok(Withdrawn::Older);
    }
    let is_whole = withdrawal.keep.as_ref().is_none_or(Vec::is_empty);
    for claim in &ending {
        let object = if is_whole { Uuid::nil() } else { claim.object };
        let tombstone = Tombstone { object, ids_only, ..Tombstone::of(claim.attribute, timestamp) };
        bury(tx, event.0, &tombstone, change.opened_at)?;
        end(tx, event, (claim.attribute, claim.part), (ids_only, change))?;
    }
    if !ending.is_empty() {
        guard::forget_gone(tx, event)?;
        touch(tx, event)?;
    }
    let objects: HashSet<Uuid> = ending.iter().map(|claim| claim.object).collect();
    refresh(tx, &objects.into_iter().collect::<Vec<_>>(), change)?;
    Ok(Withdrawn::Claims(ending.len()))
}

/// A claim that marks its value as a false positive goes on doing so without `to_ids`, until MISP shows
/// the attribute otherwise: switching `to_ids` off is what people do next.
fn end(
    tx: &Transaction<'_>,
    event: (&str, Uuid),
    place: claims::Place,
    (ids_only, change): (bool, &Change<'_>),
) -> Result<()> {
    let facts = if ids_only { claims::stored_facts(tx, event, place)? } else { None };
    match facts.filter(|facts| change.views.iter().any(|view| view.judge.disputes(facts))) {
        Some(facts) => {
            let facts = ClaimFacts { to_ids: false, ..facts };
            claims::alter(tx, event, place, &facts)
        }
        None => claims::delete(tx, event, place),
    }
}

fn find(tx: &Transaction<'_>, (source, event): (&str, Uuid), which: Which) -> Result<Vec<Found>> {
    match which {
        Which::Attribute(uuid) => tx.rows(&OF_ATTRIBUTE, &values![source, event, uuid]),
        Which::Object(uuid) => tx.rows(&OF_OBJECT, &values![source, event, uuid]),
    }
}

row! {
    /// What keeps a snapshot from before a withdrawal from undoing it.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Tombstone {
        /// Or a MISP object: whatever its attributes claim.
        pub attribute: Uuid,
        /// Nil: whatever the attribute claims.
        pub object: Uuid,
        /// MISP's, of the withdrawal, Unix seconds.
        pub timestamp: i64,
        /// `to_ids` was switched off, and nothing else.
        pub ids_only: bool,
        /// When the relay heard of it, Unix milliseconds.
        pub withdrawn_at: i64,
    }
}

impl Tombstone {
    /// For whatever the attribute claims.
    pub(super) fn of(attribute: Uuid, timestamp: i64) -> Self {
        Self { attribute, object: Uuid::nil(), timestamp, ids_only: false, withdrawn_at: 0 }
    }

    /// Whether a snapshot that says this is from before the withdrawal. Of the same second, the
    /// withdrawal wins.
    pub(super) fn keeps_out(&self, facts: &ClaimFacts) -> bool {
        let same_news = self.ids_only && !facts.to_ids;
        facts.timestamp < self.timestamp || (facts.timestamp == self.timestamp && !same_news)
    }
}

/// The tombstones of these attributes and MISP objects, by them and the object that they claimed.
pub(super) fn tombstones(
    tx: &Transaction<'_>,
    source: &str,
    attributes: &[Uuid],
) -> Result<HashMap<(Uuid, Uuid), Tombstone>> {
    let attributes = attributes.iter().map(|attribute| values![source, attribute]);
    let found: Vec<Tombstone> = tx.rows_each(&TOMBSTONES, attributes)?;
    Ok(found.into_iter().map(|one| ((one.attribute, one.object), one)).collect())
}

/// Writes a tombstone.
pub(super) fn bury(
    tx: &Transaction<'_>,
    source: &str,
    tombstone: &Tombstone,
    now: i64,
) -> Result<()> {
    let Tombstone { attribute, object, timestamp, ids_only, .. } = *tombstone;
    tx.execute(&BURY, &values![source, attribute, object, timestamp, ids_only, now])?;
    Ok(())
}

/// A notice was applied: the stored content is no longer that of a snapshot.
pub(super) fn touch(tx: &Transaction<'_>, (source, event): (&str, Uuid)) -> Result<()> {
    tx.execute(&TOUCH, &values![source, event])?;
    Ok(())
}

/// Ends a tombstone.
pub(super) fn unbury(
    tx: &Transaction<'_>,
    source: &str,
    attribute: Uuid,
    object: Uuid,
) -> Result<()> {
    tx.execute(&UNBURY, &values![source, attribute, object])?;
    Ok(())
}

/// Marks an event as deleted, known or not; its claims end by [`end_claims`].
pub(super) fn delete_event(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
    timestamp: i64,
    now: i64,
) -> Result<()> {
    tx.execute(&DELETE_EVENT, &values![source, event, timestamp, now])?;
    tx.execute(&FORGET_ANNOUNCED, &values![source, event])?;
    Ok(())
}

/// Ends at most [`STEP`] claims of a deleted event; returns how many.
pub(super) fn end_claims(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
    change: &mut Change<'_>,
) -> Result<usize> {
    let most = i64::try_from(STEP).unwrap_or(i64::MAX);
    let rows: Vec<(Uuid, i16, Uuid)> = tx.rows(&OF_EVENT, &values![source, event, most])?;
    for (attribute, part, _) in &rows {
        claims::delete(tx, (source, event), (*attribute, *part))?;
    }
    guard::forget_gone(tx, (source, event))?;
    let objects: HashSet<Uuid> = rows.iter().map(|(.., object)| *object).collect();
    refresh(tx, &objects.into_iter().collect::<Vec<_>>(), change)?;
    Ok(rows.len())
}
