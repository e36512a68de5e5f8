//! The tables `suppressed` and `suppressed_spellings`: the values that an operator withholds, and how
//! claims spell them.

use crate::ledger::sql::{Result, Transaction, row, statements, values};

statements! {
    // No conflict is expected: an earlier suppression of the value was taken off in the same unit.
    INSERT(Text, Integer, Integer, Text) =
        "INSERT INTO suppressed (value, since, until, reason) VALUES ($1, $2, $3, $4)";
    SPELL(Text, Text) = "INSERT INTO suppressed_spellings (spelling, value) VALUES ($1, $2)";
    ALL() = "SELECT value, since, until, reason FROM suppressed ORDER BY since DESC, value";
    SPELLED(Text) = "SELECT s.value, s.since, s.until, s.reason FROM suppressed s
        JOIN suppressed_spellings p ON p.value = s.value WHERE p.spelling = $1";
    SPELLINGS(Text) = "SELECT spelling FROM suppressed_spellings WHERE value = $1";
    OVER(Integer, Integer) = "SELECT value FROM suppressed WHERE until <= $1 LIMIT $2";
    DELETE_OVER(Text, Integer) = "DELETE FROM suppressed WHERE value = $1 AND until <= $2";
    DELETE(Text) = "DELETE FROM suppressed WHERE value = $1";
    TAKE_SPELLINGS(Text) = "DELETE FROM suppressed_spellings WHERE value = $1 RETURNING spelling";
    COUNT() = "SELECT count(*) FROM suppressed";
    /// A suppression lasts as long as it was meant to.
    NOT_AFTER(Integer) =
        "UPDATE suppressed SET until = until - (since - $1), since = $1 WHERE since > $1";
}

row! {
    #[derive(Debug)]
    pub(in crate::ledger) struct SuppressedValue {
        /// As the operator wrote it.
        pub value: String,
        /// Unix milliseconds.
        pub since: i64,
        /// Unix milliseconds; `None`: until an operator takes it back.
        pub until: Option<i64>,
        pub reason: String,
    }
}

pub(in crate::ledger) fn insert(
    tx: &Transaction<'_>,
    suppressed: &SuppressedValue,
    spellings: &[String],
) -> Result<()> {
    let SuppressedValue { value, since, until, reason } = suppressed;
    tx.execute(&INSERT, &values![value, since, *until, reason])?;
    tx.execute_each(&SPELL, spellings.iter().map(|spelling| values![spelling, value])).map(drop)
}

/// All of them, the newest first.
pub(in crate::ledger) fn all(tx: &Transaction<'_>) -> Result<Vec<SuppressedValue>> {
    tx.rows(&ALL, &values![])
}

/// Those that withhold a claim of this spelling.
pub(in crate::ledger) fn spelled(
    tx: &Transaction<'_>,
    spelling: &str,
) -> Result<Vec<SuppressedValue>> {
    tx.rows(&SPELLED, &values![spelling])
}

/// How claims spell a suppressed value, in lower case.
pub(in crate::ledger) fn spellings(tx: &Transaction<'_>, value: &str) -> Result<Vec<String>> {
    tx.rows(&SPELLINGS, &values![value])
}

/// The first values whose suppression is over.
pub(in crate::ledger) fn over(tx: &Transaction<'_>, now: i64, limit: i64) -> Result<Vec<String>> {
    tx.rows(&OVER, &values![now, limit])
}

/// Deletes a suppression; returns its spellings.
pub(in crate::ledger) fn delete(tx: &Transaction<'_>, value: &str) -> Result<Vec<String>> {
    tx.execute(&DELETE, &values![value])?;
    tx.rows(&TAKE_SPELLINGS, &values![value])
}

/// Deletes a suppression if its time is over; returns its spellings.
pub(in crate::ledger) fn delete_over(
    tx: &Transaction<'_>,
    value: &str,
    now: i64,
) -> Result<Option<Vec<String>>> {
    match tx.execute(&DELETE_OVER, &values![value, now])? {
        0 => Ok(None),
        _ => tx.rows(&TAKE_SPELLINGS, &values![value]).map(Some),
    }
}

pub(in crate::ledger) fn count(tx: &Transaction<'_>) -> Result<i64> {
    Ok(tx.row(&COUNT, &values![])?.unwrap_or_default())
}

/// Sets stored times that are later than `now` to `now`: a clock that was ahead noted them.
pub(in crate::ledger) fn not_after(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.execute(&NOT_AFTER, &values![now]).map(drop)
}
