//! The table `sightings`: false positives and expirations that users of MISP report of attributes, whether or
//! not the attribute claims anything yet. They outlive publications.

use uuid::Uuid;

use super::keys::EventKey;
use crate::ledger::sql::{Result, Transaction, row, statements, values};

/// The date of the newest expiration of a row of `claims`, Unix milliseconds.
// Which one is the newest only the numbers of one source tell. Of the newest ones of several sources the latest date
// counts.
macro_rules! expires_at {
    () => {
        "(SELECT MAX(s.at) * 1000 FROM sightings s
          WHERE s.attribute = claims.attribute AND s.kind = 2 AND s.value IN (claims.value, '')
          AND NOT EXISTS (SELECT 1 FROM sightings newer
              WHERE newer.source = s.source AND newer.attribute = s.attribute AND newer.kind = 2
              AND newer.value IN (claims.value, '')
              AND (newer.number, newer.at) > (s.number, s.at)))"
    };
}
pub(super) use expires_at;

/// How many false positives were reported of the attribute of a row of `claims`. Each counts once, however many sources
/// show it.
macro_rules! false_positives {
    () => {
        "(SELECT count(DISTINCT s.sighting) FROM sightings s
          WHERE s.attribute = claims.attribute AND s.kind = 1
          AND s.value IN (claims.value, ''))"
    };
}
pub(super) use false_positives;

statements! {
    HEARD_BEFORE(Text, Bytes, Integer) = "SELECT attribute, sighting FROM sightings
         WHERE source = $1 AND event = $2 AND heard_at < $3";
    VALUES(Text, Bytes, Bytes) = "SELECT value, kind, number, at FROM sightings
         WHERE source = $1 AND attribute = $2 AND sighting = $3";
    INSERT(Text, Bytes, Bytes, Text, Integer, Integer, Integer, Bytes, Integer) =
        "INSERT INTO sightings
             (source, attribute, sighting, value, kind, number, at, event, heard_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    DELETE(Text, Bytes, Bytes) = "DELETE FROM sightings
         WHERE source = $1 AND attribute = $2 AND sighting = $3";
    // A walk by time, since the rows that may be forgotten are the oldest.
    HEARD_BETWEEN(Integer, Integer, Integer) = "SELECT heard_at FROM sightings
         WHERE heard_at > $1 AND heard_at < $2 ORDER BY heard_at LIMIT $3";
    // A sighting counts as long as its attribute claims anything, whatever its age.
    FORGET_UNCLAIMED(Integer, Integer) = "DELETE FROM sightings
         WHERE heard_at > $1 AND heard_at <= $2 AND NOT EXISTS
             (SELECT 1 FROM claims c WHERE c.attribute = sightings.attribute)";
    NOT_AFTER(Integer) = "UPDATE sightings SET heard_at = $1 WHERE heard_at > $1";
}

/// The key of a sighting. It may stand there several times, once for each value that was sighted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) struct SightingKey<'a> {
    pub source: &'a str,
    pub attribute: Uuid,
    pub sighting: Uuid,
}

row! {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(in crate::ledger) struct SightingOfAttribute {
        pub attribute: Uuid,
        pub sighting: Uuid,
    }
}

row! {
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(in crate::ledger) struct SightedValue {
        /// As claims have it; empty: whatever the attribute claims.
        pub value: String,
        /// 1: a false positive, 2: an expiration.
        pub kind: i16,
        pub number: i64,
        pub at: i64,
    }
}

/// The sightings of an event's attributes that were heard of before `before`, Unix milliseconds.
pub(in crate::ledger) fn heard_before(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    before: i64,
) -> Result<Vec<SightingOfAttribute>> {
    tx.rows(&HEARD_BEFORE, &values![source, event, before])
}

/// What is known of a sighting, in the order of its values.
pub(in crate::ledger) fn values_of(
    tx: &Transaction<'_>,
    SightingKey { source, attribute, sighting }: SightingKey<'_>,
) -> Result<Vec<SightedValue>> {
    let mut values: Vec<SightedValue> = tx.rows(&VALUES, &values![source, attribute, sighting])?;
    values.sort_unstable();
    Ok(values)
}

/// Replaces what is known of a sighting. `event`: that of its attribute.
pub(in crate::ledger) fn replace(
    tx: &Transaction<'_>,
    key: SightingKey<'_>,
    sighted: &[SightedValue],
    event: Uuid,
    now: i64,
) -> Result<()> {
    delete(tx, key)?;
    let SightingKey { source, attribute, sighting } = key;
    let rows = sighted.iter().map(|one| {
        let SightedValue { value, kind, number, at } = one;
        values![source, attribute, sighting, value, *kind, number, at, event, now]
    });
    tx.execute_each(&INSERT, rows).map(drop)
}

/// Returns whether the sighting was known.
pub(in crate::ledger) fn delete(
    tx: &Transaction<'_>,
    SightingKey { source, attribute, sighting }: SightingKey<'_>,
) -> Result<bool> {
    Ok(tx.execute(&DELETE, &values![source, attribute, sighting])? > 0)
}

/// When the next sightings after `after` and before `before` were heard of, Unix milliseconds.
pub(in crate::ledger) fn heard_between(
    tx: &Transaction<'_>,
    after: i64,
    before: i64,
    limit: i64,
) -> Result<Vec<i64>> {
    tx.rows(&HEARD_BETWEEN, &values![after, before, limit])
}

/// Forgets the sightings from after `after` up to `last` of attributes that claim nothing; returns how many.
pub(in crate::ledger) fn forget_unclaimed(
    tx: &Transaction<'_>,
    after: i64,
    last: i64,
) -> Result<usize> {
    tx.execute(&FORGET_UNCLAIMED, &values![after, last])
}

/// Sets stored times that are later than `now` to `now`: a clock that was ahead noted them.
pub(in crate::ledger) fn not_after(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.execute(&NOT_AFTER, &values![now]).map(drop)
}
