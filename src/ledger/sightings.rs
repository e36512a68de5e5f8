//! Sightings: false positives and expirations that users of MISP report of attributes. They are kept
//! beside the claims, whether or not the attribute claims anything yet, and outlive publications.

use std::collections::HashSet;

use uuid::Uuid;

use super::Ledger;
use super::change::Change;
use super::judgement::Origin;
use super::sql::{Result, Transaction, row, statements, values};
use super::wanted::refresh;
use super::writer::Context;
use crate::pure::misp::{Sighting, SightingKind};

/// The date of the newest expiration of a row of `claims`, Unix milliseconds.
macro_rules! expires_at {
    () => {
        "(SELECT s.at * 1000 FROM sightings s
          WHERE s.source = claims.source AND s.attribute = claims.attribute AND s.kind = 2
          AND s.value IN (claims.value, '') ORDER BY s.number DESC, s.at DESC LIMIT 1)"
    };
}
pub(super) use expires_at;

/// How many false positives were reported of a row of `claims`.
macro_rules! false_positives {
    () => {
        "(SELECT count(*) FROM sightings s
          WHERE s.source = claims.source AND s.attribute = claims.attribute AND s.kind = 1
          AND s.value IN (claims.value, ''))"
    };
}
pub(super) use false_positives;

statements! {
    HEARD_BEFORE(Text, Bytes, Integer) = "SELECT attribute, sighting FROM sightings
         WHERE source = $1 AND event = $2 AND heard_at < $3";
    CLAIMED_OBJECTS(Text, Bytes, Bytes) = "SELECT object FROM claims
         WHERE source = $1 AND event = $2 AND attribute = $3";
    CLAIMED_VALUES(Text, Bytes, Bytes) = "SELECT value FROM claims
         WHERE source = $1 AND event = $2 AND attribute = $3";
    KNOWN(Text, Bytes, Bytes) = "SELECT value, kind, number, at FROM sightings
         WHERE source = $1 AND attribute = $2 AND sighting = $3";
    INSERT(Text, Bytes, Bytes, Text, Integer, Integer, Integer, Bytes, Integer) =
        "INSERT INTO sightings
             (source, attribute, sighting, value, kind, number, at, event, heard_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    DELETE(Text, Bytes, Bytes) = "DELETE FROM sightings
         WHERE source = $1 AND attribute = $2 AND sighting = $3";
    SLICE(Integer, Integer, Integer) = "SELECT heard_at FROM sightings
         WHERE heard_at > $1 AND heard_at < $2 ORDER BY heard_at LIMIT $3";
    /// Of attributes that claim nothing.
    FORGET(Integer, Integer) = "DELETE FROM sightings
         WHERE heard_at > $1 AND heard_at <= $2 AND NOT EXISTS
             (SELECT 1 FROM claims c WHERE c.source = sightings.source
              AND c.event = sightings.event AND c.attribute = sightings.attribute)";
}

/// A sighting of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sighted {
    pub attribute: Uuid,
    pub sighting: Sighting,
    /// Of the observables that were sighted; empty: whatever the attribute claims.
    pub values: Vec<String>,
}

/// Takes in sightings of an event's attributes, and merges anew what they change; how many were news.
pub(super) fn take_in(
    tx: &Transaction<'_>,
    event: (&str, Uuid),
    sighted: &[Sighted],
    change: &mut Change<'_>,
) -> Result<usize> {
    let mut touched = HashSet::new();
    let mut news = 0;
    for one in sighted {
        if store(tx, event, one, change.opened_at)? {
            touched.insert(one.attribute);
            news += 1;
        }
    }
    merge_anew(tx, event, &touched, change)?;
    Ok(news)
}

/// MISP has deleted a sighting. Whether it was known.
pub(super) fn take_back(
    tx: &Transaction<'_>,
    event: (&str, Uuid),
    (attribute, sighting): (Uuid, Uuid),
    change: &mut Change<'_>,
) -> Result<bool> {
    let known = delete(tx, event.0, (attribute, sighting))?;
    if known {
        merge_anew(tx, event, &HashSet::from([attribute]), change)?;
    }
    Ok(known)
}

/// Takes back the event's sightings that a read of all of them does not show; it `began` after they
/// were heard of.
fn take_back_unshown(
    tx: &Transaction<'_>,
    event: (&str, Uuid),
    (shown, began): (&HashSet<Uuid>, i64),
    change: &mut Change<'_>,
) -> Result<()> {
    let known: Vec<(Uuid, Uuid)> = tx.rows(&HEARD_BEFORE, &values![event.0, event.1, began])?;
    let mut touched = HashSet::new();
    // Some stand there several times, with a value each.
    for (attribute, sighting) in known.into_iter().filter(|(_, one)| !shown.contains(one)) {
        delete(tx, event.0, (attribute, sighting))?;
        touched.insert(attribute);
    }
    merge_anew(tx, event, &touched, change)
}

pub(super) fn merge_anew(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
    attributes: &HashSet<Uuid>,
    change: &mut Change<'_>,
) -> Result<()> {
    let places = attributes.iter().map(|attribute| values![source, event, attribute]);
    let mut objects: Vec<Uuid> = tx.rows_each(&CLAIMED_OBJECTS, places)?;
    objects.sort_unstable();
    objects.dedup();
    refresh(tx, &objects, change)
}

row! {
    #[derive(Debug, PartialEq, Eq)]
    struct Row {
        value: String,
        kind: i16,
        number: i64,
        at: i64,
    }
}

/// Whether it is news.
fn store(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
    sighted: &Sighted,
    now: i64,
) -> Result<bool> {
    let Sighted { attribute, sighting, .. } = *sighted;
    let Sighting { uuid: sighting, number, kind, at } = sighting;
    let mut known: Vec<Row> = tx.rows(&KNOWN, &values![source, attribute, sighting])?;
    known.sort_unstable_by(|one, other| one.value.cmp(&other.value));
    let kind = code(kind);
    let row = |value| Row { value, kind, number, at };
    let mut values = sighted.values.clone();
    if values.is_empty() && !known.is_empty() {
        return Ok(false);
    }
    if values.is_empty() {
        values = claimed_values(tx, (source, event), attribute)?;
    }
    values.sort_unstable();
    values.dedup();
    let rows: Vec<Row> = values.into_iter().map(row).collect();
    if rows == known {
        return Ok(false);
    }
    delete(tx, source, (attribute, sighting))?;
    let rows = rows.iter().map(|row| {
        let Row { value, kind, number, at } = row;
        values![source, attribute, sighting, value, *kind, number, at, event, now]
    });
    tx.execute_each(&INSERT, rows)?;
    Ok(true)
}

/// What the attribute claims now; the empty value if that is nothing.
fn claimed_values(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
    attribute: Uuid,
) -> Result<Vec<String>> {
    let values: Vec<String> = tx.rows(&CLAIMED_VALUES, &values![source, event, attribute])?;
    Ok(if values.is_empty() { vec![String::new()] } else { values })
}

fn delete(tx: &Transaction<'_>, source: &str, (attribute, sighting): (Uuid, Uuid)) -> Result<bool> {
    Ok(tx.execute(&DELETE, &values![source, attribute, sighting])? > 0)
}

fn code(kind: SightingKind) -> i16 {
    match kind {
        SightingKind::FalsePositive => 1,
        SightingKind::Expiration => 2,
    }
}

/// Sightings looked at in a step of forgetting.
const STEP: i64 = 1_000;

/// A sighting of which a read that began so soon after it may not know, milliseconds.
const JUST: i64 = 2_000;

impl Context {
    /// What a read does not show was deleted, unless the key may not see all.
    pub(super) fn take_back_unshown(
        &self,
        tx: &Transaction<'_>,
        (event, origin): (Uuid, Origin),
        shown: &HashSet<Uuid>,
        change: &mut Change<'_>,
    ) -> Result<()> {
        let key = self.settings.rest.as_ref().map(|rest| &rest.key);
        let sees_all = key.is_some_and(|key| key.sees_all() && key.is_accepted());
        let (Origin::Read(read), true) = (origin, sees_all) else { return Ok(()) };
        let event = (self.settings.source.as_str(), event);
        let began = read.began.saturating_sub(JUST);
        take_back_unshown(tx, event, (shown, began), change)
    }
}

impl Ledger {
    /// Forgets sightings from before `before` of attributes that claim nothing, among the next ones
    /// heard of after `after` (Unix milliseconds); returns where to go on, and how many.
    pub(super) async fn forget_sightings(&self, after: i64, before: i64) -> Result<(i64, u64)> {
        let slice: Vec<i64> =
            self.read(move |tx| tx.rows(&SLICE, &values![after, before, STEP])).await?;
        let Some(last) = slice.last().copied() else { return Ok((0, 0)) };
        let forgotten =
            self.write(move |unit| unit.execute(&FORGET, &values![after, last])).await?;
        let is_end = i64::try_from(slice.len()).is_ok_and(|rows| rows < STEP);
        Ok((if is_end { 0 } else { last }, forgotten as u64))
    }
}
