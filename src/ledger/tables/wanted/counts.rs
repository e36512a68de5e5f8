//! Counts the live objects in `wanted`.

use uuid::Uuid;

use crate::ledger::sql::{Result, SqlError, Transaction, statements, values};

statements! {
    // Two sums, each by an index: the first generation has its key as its object.
    COUNT_LIVE_OF_KEY(Text, Bytes) =
        "SELECT (SELECT count(*) FROM wanted
                 WHERE view = $1 AND object = $2 AND key = $2 AND version <> 0)
             + (SELECT count(*) FROM wanted
                WHERE view = $1 AND key = $2 AND key <> object AND version <> 0)";
    // The condition `observable <> key` is that of the index.
    COUNT_LIVE_OF_OBSERVABLE(Text, Bytes) =
        "SELECT count(*) FROM wanted
         WHERE view = $1 AND observable = $2 AND observable <> key AND version <> 0";
    /// Three counts, each of an index. Rows are read of context objects only.
    COUNT_LIVE_INDICATORS_OF(Text) =
        "SELECT (SELECT count(*) FROM wanted WHERE view = $1 AND kind = 'indicator')
             - (SELECT count(*) FROM wanted WHERE view = $1 AND version = 0)
             + (SELECT count(*) FROM wanted WHERE view = $1 AND version = 0 AND kind <> 'indicator')";
    COUNT_LIVE_INDICATORS() =
        "SELECT (SELECT count(*) FROM wanted WHERE kind = 'indicator')
             - (SELECT count(*) FROM wanted WHERE version = 0)
             + (SELECT count(*) FROM wanted WHERE version = 0 AND kind <> 'indicator')";
    COUNT_LIVE_CONTEXT() =
        "SELECT count(*) FROM wanted WHERE version <> 0 AND kind <> 'indicator'";
    COUNT_LIVE_OF_SOURCE(Text, Text) =
        "SELECT count(*) FROM wanted w WHERE w.view = $1 AND w.version <> 0 AND w.kind = 'indicator'
         AND EXISTS (SELECT 1 FROM claims c JOIN events e ON e.number = c.event_number
             WHERE c.object = w.observable AND e.source = $2)";
}

/// How many live objects have this key: one or none.
pub(in crate::ledger) fn count_live_of_key(
    tx: &Transaction<'_>,
    view: &str,
    key: Uuid,
) -> Result<i64> {
    tx.row(&COUNT_LIVE_OF_KEY, &values![view, key])?.ok_or(SqlError::NoRow)
}

/// How many live indicators an observable has in a view where each attribute has one of its own.
pub(in crate::ledger) fn count_live_of_observable(
    tx: &Transaction<'_>,
    view: &str,
    observable: Uuid,
) -> Result<i64> {
    tx.row(&COUNT_LIVE_OF_OBSERVABLE, &values![view, observable])?.ok_or(SqlError::NoRow)
}

pub(in crate::ledger) fn count_live_indicators_of(tx: &Transaction<'_>, view: &str) -> Result<i64> {
    tx.row(&COUNT_LIVE_INDICATORS_OF, &values![view])?.ok_or(SqlError::NoRow)
}

/// How many live indicators all views have.
pub(in crate::ledger) fn count_live_indicators(tx: &Transaction<'_>) -> Result<i64> {
    tx.row(&COUNT_LIVE_INDICATORS, &values![])?.ok_or(SqlError::NoRow)
}

/// How many live context objects all views have.
pub(in crate::ledger) fn count_live_context(tx: &Transaction<'_>) -> Result<i64> {
    tx.row(&COUNT_LIVE_CONTEXT, &values![])?.ok_or(SqlError::NoRow)
}

/// How many live indicators a view has on observables that a source claims.
pub(in crate::ledger) fn count_live_of_source(
    tx: &Transaction<'_>,
    view: &str,
    source: &str,
) -> Result<i64> {
    tx.row(&COUNT_LIVE_OF_SOURCE, &values![view, source])?.ok_or(SqlError::NoRow)
}
