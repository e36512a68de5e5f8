//! The table `own_sightings`: the sightings by which hits are told to MISP, and what became of each. The state is what
//! the columns say: due until there is a `sighting` or a reason why it is `refused`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ledger::sql::{Result, Transaction, row, statements, values};

/// The sighting of source $1, attribute $2, target $3 and day $4.
macro_rules! by_key {
    () => {
        " WHERE source = $1 AND attribute = $2 AND target = $3 AND day = $4"
    };
}

/// Whether a sighting is still to be told.
macro_rules! is_due {
    () => {
        "sighting IS NULL AND refused IS NULL"
    };
}

statements! {
    // At most one of an attribute, target and day, however many alerts there are.
    ADD(Text, Bytes, Text, Integer, Integer, Integer, Text, Integer, Boolean) =
        "INSERT INTO own_sightings
             (source, attribute, target, day, attribute_id, seen_at, said_by, due_at, in_doubt)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (source, attribute, target, day) DO NOTHING";
    DUE(Text, Integer, Integer) = concat!(
        "SELECT attribute, target, day, attribute_id, seen_at, said_by, attempts, in_doubt
         FROM own_sightings WHERE source = $1 AND ", is_due!(), " AND due_at <= $2
         ORDER BY due_at, day, target, attribute LIMIT $3"
    );
    NEXT_DUE(Text) =
        concat!("SELECT MIN(due_at) FROM own_sightings WHERE source = $1 AND ", is_due!());
    BEGIN(Text, Bytes, Text, Integer, Text, Integer) = concat!(
        "UPDATE own_sightings SET in_doubt = TRUE, attempts = attempts + 1, said_by = $5, due_at = $6",
        by_key!()
    );
    DOUBT_ALL() = concat!("UPDATE own_sightings SET in_doubt = TRUE WHERE ", is_due!());
    FORGET_DUE(Text) = concat!("DELETE FROM own_sightings WHERE source = $1 AND ", is_due!());
    TAKEN(Text, Bytes, Text, Integer, Bytes) =
        concat!("UPDATE own_sightings SET sighting = $5, in_doubt = FALSE", by_key!());
    REFUSED(Text, Bytes, Text, Integer, Text) =
        concat!("UPDATE own_sightings SET refused = $5, in_doubt = FALSE", by_key!());
    PUT_OFF(Text, Bytes, Text, Integer, Integer, Boolean) =
        concat!("UPDATE own_sightings SET due_at = $5, in_doubt = $6", by_key!());
    OF_ATTRIBUTE(Text, Bytes) =
        "SELECT target, day, seen_at, in_doubt, sighting, refused FROM own_sightings
         WHERE source = $1 AND attribute = $2 ORDER BY day DESC, target";
    COUNTS() = concat!(
        "SELECT source, CAST(SUM(CASE WHEN ", is_due!(), " THEN 1 ELSE 0 END) AS BIGINT),
             CAST(SUM(CASE WHEN sighting IS NOT NULL THEN 1 ELSE 0 END) AS BIGINT),
             CAST(SUM(CASE WHEN refused IS NOT NULL THEN 1 ELSE 0 END) AS BIGINT)
         FROM own_sightings GROUP BY source ORDER BY source"
    );
    // What is due stays, however old.
    FORGET_OLDER(Integer, Integer) =
        "DELETE FROM own_sightings WHERE (source, attribute, target, day) IN
             (SELECT source, attribute, target, day FROM own_sightings
              WHERE day < $1 AND (sighting IS NOT NULL OR refused IS NOT NULL) LIMIT $2)";
    BRING_FORWARD(Integer) = concat!(
        "UPDATE own_sightings SET due_at = $1 WHERE ", is_due!(), " AND due_at > $1"
    );
}

/// A sighting of an attribute, for hits of a target on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) struct OwnSightingKey<'a> {
    pub source: &'a str,
    pub attribute: Uuid,
    pub target: &'a str,
    /// Of UTC, since 1970.
    pub day: i64,
}

/// A sighting that is to be told.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct NewOwnSighting<'a> {
    pub key: OwnSightingKey<'a>,
    /// MISP's number of the attribute.
    pub attribute_id: i64,
    /// Unix seconds.
    pub seen_at: i64,
    pub said_by: &'a str,
    /// MISP may have it all the same.
    pub doubt: bool,
}

/// Adds a sighting that is due at `now`, Unix milliseconds. Returns whether it is new.
pub(in crate::ledger) fn add(
    tx: &Transaction<'_>,
    new: NewOwnSighting<'_>,
    now: i64,
) -> Result<bool> {
    let NewOwnSighting { key, attribute_id, seen_at, said_by, doubt } = new;
    let OwnSightingKey { source, attribute, target, day } = key;
    let row = values![source, attribute, target, day, attribute_id, seen_at, said_by, now, doubt];
    Ok(tx.execute(&ADD, &row)? > 0)
}

row! {
    /// A sighting that is due.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct DueSighting {
        pub attribute: Uuid,
        pub target: String,
        /// Of UTC, since 1970.
        pub day: i64,
        /// MISP's number of the attribute.
        pub attribute_id: i64,
        /// Unix seconds.
        pub seen_at: i64,
        /// The source that the sighting names.
        pub said_by: String,
        /// How often MISP was asked.
        pub attempts: i64,
        /// MISP was asked, and its answer is not known: it may have the sighting.
        pub doubt: bool,
    }
}

/// The sightings of a source that are due at `now`, Unix milliseconds, at most `limit`.
pub(in crate::ledger) fn due(
    tx: &Transaction<'_>,
    source: &str,
    now: i64,
    limit: i64,
) -> Result<Vec<DueSighting>> {
    tx.rows(&DUE, &values![source, now, limit])
}

/// When the next sighting of a source is due, Unix milliseconds.
pub(in crate::ledger) fn next_due(tx: &Transaction<'_>, source: &str) -> Result<Option<i64>> {
    let next: Option<(Option<i64>,)> = tx.row(&NEXT_DUE, &values![source])?;
    Ok(next.and_then(|(next,)| next))
}

fn by_key(key: OwnSightingKey<'_>) -> [crate::ledger::sql::Value<'_>; 4] {
    let OwnSightingKey { source, attribute, target, day } = key;
    values![source, attribute, target, day]
}

/// Notes that MISP is being asked, with this source: from now on it may have the sighting. If nothing is noted after it, it
/// is tried again at `due_at`, Unix milliseconds.
pub(in crate::ledger) fn begin(
    tx: &Transaction<'_>,
    key: OwnSightingKey<'_>,
    said_by: &str,
    due_at: i64,
) -> Result<()> {
    let [source, attribute, target, day] = by_key(key);
    tx.execute(&BEGIN, &[source, attribute, target, day, said_by.into(), due_at.into()]).map(drop)
}

/// Notes that MISP may have all that are due: what the ledger knows of them is of an earlier time.
pub(in crate::ledger) fn doubt_all(tx: &Transaction<'_>) -> Result<()> {
    tx.execute(&DOUBT_ALL, &values![]).map(drop)
}

/// Deletes what a source is to be told.
pub(in crate::ledger) fn forget_due(tx: &Transaction<'_>, source: &str) -> Result<()> {
    tx.execute(&FORGET_DUE, &values![source]).map(drop)
}

/// Notes that MISP has it, under this uuid.
pub(in crate::ledger) fn taken(
    tx: &Transaction<'_>,
    key: OwnSightingKey<'_>,
    sighting: Uuid,
) -> Result<()> {
    let [source, attribute, target, day] = by_key(key);
    tx.execute(&TAKEN, &[source, attribute, target, day, sighting.into()]).map(drop)
}

/// Notes that it is refused for good.
pub(in crate::ledger) fn refused(
    tx: &Transaction<'_>,
    key: OwnSightingKey<'_>,
    reason: &str,
) -> Result<()> {
    let [source, attribute, target, day] = by_key(key);
    tx.execute(&REFUSED, &[source, attribute, target, day, reason.into()]).map(drop)
}

/// Notes that it is tried again at `due_at`, Unix milliseconds. `doubt`: MISP may have it.
pub(in crate::ledger) fn put_off(
    tx: &Transaction<'_>,
    key: OwnSightingKey<'_>,
    due_at: i64,
    doubt: bool,
) -> Result<()> {
    let [source, attribute, target, day] = by_key(key);
    tx.execute(&PUT_OFF, &[source, attribute, target, day, due_at.into(), doubt.into()]).map(drop)
}

row! {
    /// What became of a sighting.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(in crate::ledger) struct ToldSighting {
        pub target: String,
        pub day: i64,
        pub seen_at: i64,
        pub doubt: bool,
        pub sighting: Option<Uuid>,
        pub refused: Option<String>,
    }
}

/// The sightings of an attribute of a source, the newest first.
pub(in crate::ledger) fn of_attribute(
    tx: &Transaction<'_>,
    source: &str,
    attribute: Uuid,
) -> Result<Vec<ToldSighting>> {
    tx.rows(&OF_ATTRIBUTE, &values![source, attribute])
}

row! {
    /// How many sightings of a source are in which state.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct OwnSightingCounts {
        pub source: String,
        pub due: i64,
        pub taken: i64,
        pub refused: i64,
    }
}

pub(in crate::ledger) fn counts(tx: &Transaction<'_>) -> Result<Vec<OwnSightingCounts>> {
    tx.rows(&COUNTS, &values![])
}

/// Forgets at most `limit` sightings of days before `day` that are not due; returns how many.
pub(in crate::ledger) fn forget_older(tx: &Transaction<'_>, day: i64, limit: i64) -> Result<usize> {
    tx.execute(&FORGET_OLDER, &values![day, limit])
}

/// Brings what is due later than `now` forward to `now`: a clock that was ahead put it off.
pub(in crate::ledger) fn bring_forward(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.execute(&BRING_FORWARD, &values![now]).map(drop)
}
