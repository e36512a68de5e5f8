//! The table `counters`: the numbers of the last change and of the last event, how often the ledger was opened, and
//! what the ledger notes of the clock.

use crate::ledger::sql::{Result, SqlError, Transaction, statements, values};

statements! {
    NEXT_CHANGE() =
        "UPDATE counters SET value = value + 1 WHERE name = 'change' RETURNING value";
    NEXT_EVENT() =
        "UPDATE counters SET value = value + 1 WHERE name = 'event' RETURNING value";
    // A ledger of an earlier release has counted none.
    NEXT_HIT() = "INSERT INTO counters (name, value) VALUES ('hit', 1)
        ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value";
    LAST_HIT() = "SELECT value FROM counters WHERE name = 'hit'";
    LAST_CHANGE() = "SELECT value FROM counters WHERE name = 'change'";
    // A number that is in use must not be given again: objects of the old change would count for the new one.
    RAISE_CHANGE() = "UPDATE counters SET value = (SELECT COALESCE(MAX(change), 0) FROM wanted)
        WHERE name = 'change' AND value < (SELECT MAX(change) FROM wanted)";
    RAISE_EVENT() = "UPDATE counters SET value = (SELECT COALESCE(MAX(number), 0) FROM events)
        WHERE name = 'event' AND value < (SELECT MAX(number) FROM events)";
    COUNT_OPENING() = "UPDATE counters SET value = value + 1 WHERE name = 'opened'";
    TIME(Text) = "SELECT value FROM counters WHERE name = $1";
    STORE_TIME(Text, Integer) = "INSERT INTO counters (name, value) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    RAISE_TIME(Text, Integer) = "UPDATE counters SET value = $2 WHERE name = $1 AND value < $2";
}

/// What the ledger notes of the clock, Unix milliseconds.
#[derive(Debug, Clone, Copy, strum::IntoStaticStr)]
pub(in crate::ledger) enum ClockTime {
    /// The latest time that any part of the relay saw.
    #[strum(serialize = "clock")]
    Latest,
    /// When upkeep last looked at the clock.
    #[strum(serialize = "clock followed")]
    Followed,
    /// When the clock last moved ahead by days; 0: never.
    #[strum(serialize = "clock jumped")]
    Jumped,
}

/// Counts a new change; returns its number.
pub(in crate::ledger) fn next_change(tx: &Transaction<'_>) -> Result<i64> {
    tx.row(&NEXT_CHANGE, &values![])?.ok_or(SqlError::NoRow)
}

/// Counts a new event; returns its number.
pub(super) fn next_event(tx: &Transaction<'_>) -> Result<i64> {
    tx.row(&NEXT_EVENT, &values![])?.ok_or(SqlError::NoRow)
}

/// Counts a new hit; returns its number.
pub(super) fn next_hit(tx: &Transaction<'_>) -> Result<i64> {
    tx.row(&NEXT_HIT, &values![])?.ok_or(SqlError::NoRow)
}

/// The number of the last hit; 0: there was none.
pub(super) fn last_hit(tx: &Transaction<'_>) -> Result<i64> {
    let last: Option<i64> = tx.row(&LAST_HIT, &values![])?;
    Ok(last.unwrap_or_default())
}

pub(in crate::ledger) fn last_change(tx: &Transaction<'_>) -> Result<i64> {
    tx.row(&LAST_CHANGE, &values![])?.ok_or(SqlError::NoRow)
}

/// Raises the numbers of the last change and of the last event to the highest that are in use.
pub(in crate::ledger) fn raise(tx: &Transaction<'_>) -> Result<()> {
    tx.execute(&RAISE_CHANGE, &values![])?;
    tx.execute(&RAISE_EVENT, &values![]).map(drop)
}

/// Counts how often the ledger was opened. This fails if nothing can be written. Writing an unchanged value would prove
/// nothing, because SQLite does not write such a page.
pub(in crate::ledger) fn count_opening(tx: &Transaction<'_>) -> Result<()> {
    tx.execute(&COUNT_OPENING, &values![]).map(drop)
}

/// 0: the ledger has not noted it yet.
pub(in crate::ledger) fn time(tx: &Transaction<'_>, time: ClockTime) -> Result<i64> {
    let value: Option<i64> = tx.row(&TIME, &values![<&str>::from(time)])?;
    Ok(value.unwrap_or_default())
}

pub(in crate::ledger) fn store_time(tx: &Transaction<'_>, time: ClockTime, now: i64) -> Result<()> {
    tx.execute(&STORE_TIME, &values![<&str>::from(time), now]).map(drop)
}

/// Stores a time only if it is later than the stored one.
pub(in crate::ledger) fn raise_time(tx: &Transaction<'_>, time: ClockTime, now: i64) -> Result<()> {
    tx.execute(&RAISE_TIME, &values![<&str>::from(time), now]).map(drop)
}
