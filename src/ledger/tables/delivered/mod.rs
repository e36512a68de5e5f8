//! The table `delivered`: what targets were sent, from the first attempt on, and what became of it.

pub(in crate::ledger) mod deletions;
pub(in crate::ledger) mod mending;
pub(in crate::ledger) mod requests;

use uuid::Uuid;

use crate::ledger::sql::{Result, SqlError, Transaction, row, statements, values};

statements! {
    IS_ANY(Text) = "SELECT EXISTS (SELECT 1 FROM delivered WHERE target = $1)";
    // What was never accepted is NULL, and in neither count. Each count is one of an index: there may be a million.
    COUNT(Text) =
        "SELECT (SELECT count(*) FROM delivered WHERE target = $1)
             - (SELECT count(*) FROM delivered WHERE target = $1 AND context)
             - (SELECT count(*) FROM delivered
                WHERE target = $1 AND accepted IS NULL AND NOT context)
             - (SELECT count(*) FROM delivered WHERE target = $1 AND accepted = 0 AND NOT context),
             (SELECT count(*) FROM delivered WHERE target = $1 AND accepted = 0 AND NOT context)";
    // In steps: a target may have been sent a million objects.
    DELETE(Text, Integer) =
        "DELETE FROM delivered WHERE target = $1 AND object IN
             (SELECT object FROM delivered WHERE target = $1 LIMIT $2)";
    DELETE_OBJECT(Text, Bytes) =
        "DELETE FROM delivered WHERE target IN (SELECT target FROM targets WHERE view = $1)
             AND object = $2";
    DELETE_ALL() = "DELETE FROM delivered";
    NOT_AFTER(Integer) = "UPDATE delivered SET accepted_at = $1 WHERE accepted_at > $1";
    /// Counts for absent targets too. SQLite finds the rows of each target in the index.
    BRING_FORWARD(Integer, Integer) =
        "UPDATE delivered SET resend_at = $1
         WHERE target IN (SELECT target FROM targets) AND resend_at > $2";
}

/// The value of `accepted` for a version that this ledger did not render.
const FOREIGN: i64 = 1;

/// The value of `deletion` while a deletion is on its way.
const ON_ITS_WAY: i64 = -1;

row! {
    /// How many indicators a target accepted.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::ledger) struct DeliveredCount {
        pub live: i64,
        pub withdrawn: i64,
    }
}

/// Whether the target was sent anything.
pub(in crate::ledger) fn is_any(tx: &Transaction<'_>, target: &str) -> Result<bool> {
    tx.row(&IS_ANY, &values![target])?.ok_or(SqlError::NoRow)
}

/// How many indicators the target accepted.
pub(in crate::ledger) fn count(tx: &Transaction<'_>, target: &str) -> Result<DeliveredCount> {
    tx.row(&COUNT, &values![target])?.ok_or(SqlError::NoRow)
}

/// Forgets what the target was sent, at most `limit` objects; returns how many.
pub(in crate::ledger) fn delete(tx: &Transaction<'_>, target: &str, limit: i64) -> Result<usize> {
    tx.execute(&DELETE, &values![target, limit])
}

/// Forgets that targets of a view were sent these objects.
pub(in crate::ledger) fn delete_objects(
    tx: &Transaction<'_>,
    view: &str,
    objects: &[Uuid],
) -> Result<()> {
    tx.execute_each(&DELETE_OBJECT, objects.iter().map(|object| values![view, object])).map(drop)
}

pub(in crate::ledger) fn delete_all(tx: &Transaction<'_>) -> Result<()> {
    tx.execute(&DELETE_ALL, &values![]).map(drop)
}

/// Sets stored times that are later than `now` to `now`: a clock that was ahead noted them.
pub(in crate::ledger) fn not_after(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.execute(&NOT_AFTER, &values![now]).map(drop)
}

/// Brings objects that are due to be sent again later than `limit` forward to `now`.
pub(in crate::ledger) fn bring_forward(tx: &Transaction<'_>, now: i64, limit: i64) -> Result<()> {
    tx.execute(&BRING_FORWARD, &values![now, limit]).map(drop)
}
