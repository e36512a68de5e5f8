//! The table `inferred`: how many indicators were withdrawn because of absence or new warninglists. The guard counts
//! them against its limit.

use crate::ledger::sql::{Result, SqlError, Transaction, statements, values};

statements! {
    // Rows are only added up, so two of one moment need no key.
    RECORD(Text, Text, Integer, Integer) =
        "INSERT INTO inferred (source, view, at, objects) VALUES ($1, $2, $3, $4)";
    SUM_SINCE(Text, Text, Integer) =
        "SELECT COALESCE(CAST(SUM(objects) AS BIGINT), 0) FROM inferred
         WHERE source = $1 AND view = $2 AND at > $3";
    FORGET_OLDER(Integer) = "DELETE FROM inferred WHERE at < $1";
    NOT_AFTER(Integer) = "UPDATE inferred SET at = $1 WHERE at > $1";
}

/// Live indicators of a view that lose what claimed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ledger) struct Going {
    pub view: String,
    pub objects: i64,
}

/// Counts what was withdrawn at `now`, Unix milliseconds.
pub(in crate::ledger) fn record(
    tx: &Transaction<'_>,
    source: &str,
    going: &[Going],
    now: i64,
) -> Result<()> {
    let rows = going.iter().map(|Going { view, objects }| values![source, view, now, objects]);
    tx.execute_each(&RECORD, rows).map(drop)
}

/// How many indicators of a view were withdrawn after `since`, Unix milliseconds.
pub(in crate::ledger) fn sum_since(
    tx: &Transaction<'_>,
    source: &str,
    view: &str,
    since: i64,
) -> Result<i64> {
    tx.row(&SUM_SINCE, &values![source, view, since])?.ok_or(SqlError::NoRow)
}

pub(in crate::ledger) fn forget_older(tx: &Transaction<'_>, before: i64) -> Result<usize> {
    tx.execute(&FORGET_OLDER, &values![before])
}

/// Sets stored times that are later than `now` to `now`: a clock that was ahead noted them.
pub(in crate::ledger) fn not_after(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.execute(&NOT_AFTER, &values![now]).map(drop)
}
