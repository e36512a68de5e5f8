//! The table `alert_cursors`: until when the alerts of each target were read.

use crate::ledger::sql::{Result, Transaction, statements, values};

statements! {
    VALUE(Text) = "SELECT value FROM alert_cursors WHERE target = $1";
    STORE(Text, Integer) = "INSERT INTO alert_cursors (target, value) VALUES ($1, $2)
        ON CONFLICT (target) DO UPDATE SET value = excluded.value";
    FORGET(Text) = "DELETE FROM alert_cursors WHERE target = $1";
    NOT_AFTER(Integer) = "UPDATE alert_cursors SET value = $1 WHERE value > $1";
}

/// Unix milliseconds. `None`: they were never read.
pub(in crate::ledger) fn value(tx: &Transaction<'_>, target: &str) -> Result<Option<i64>> {
    tx.row(&VALUE, &values![target])
}

/// Stores until when the alerts of a target were read, Unix milliseconds.
pub(in crate::ledger) fn store(tx: &Transaction<'_>, target: &str, until: i64) -> Result<()> {
    tx.execute(&STORE, &values![target, until]).map(drop)
}

pub(in crate::ledger) fn forget(tx: &Transaction<'_>, target: &str) -> Result<()> {
    tx.execute(&FORGET, &values![target]).map(drop)
}

/// Sets cursors that are later than `now` to `now`: a clock that was ahead moved them.
pub(in crate::ledger) fn not_after(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.execute(&NOT_AFTER, &values![now]).map(drop)
}
