//! The table `cursors`: how far catch-up has come, in MISP's time, and of which hits a source was told.

use crate::ledger::sql::{Result, Transaction, statements, values};

statements! {
    STORE(Text, Text, Integer) =
        "INSERT INTO cursors (source, name, value) VALUES ($1, $2, $3)
         ON CONFLICT (source, name) DO UPDATE SET value = excluded.value";
    FORGET(Text, Text) = "DELETE FROM cursors WHERE source = $1 AND name = $2";
    VALUE(Text, Text) = "SELECT value FROM cursors WHERE source = $1 AND name = $2";
}

/// How far one listing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListingCursor {
    pub name: &'static str,
    /// MISP's time, Unix seconds.
    pub value: i64,
}

pub(in crate::ledger) fn store(
    tx: &Transaction<'_>,
    source: &str,
    ListingCursor { name, value }: ListingCursor,
) -> Result<()> {
    tx.execute(&STORE, &values![source, name, value]).map(drop)
}

pub(in crate::ledger) fn value(
    tx: &Transaction<'_>,
    source: &str,
    name: &str,
) -> Result<Option<i64>> {
    tx.row(&VALUE, &values![source, name])
}

pub(in crate::ledger) fn forget(tx: &Transaction<'_>, source: &str, name: &str) -> Result<()> {
    tx.execute(&FORGET, &values![source, name]).map(drop)
}
