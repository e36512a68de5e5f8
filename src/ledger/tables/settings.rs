//! The table `settings`: what the ledger remembers under a name.

use crate::ledger::sql::{Result, Transaction, statements, values};

statements! {
    VALUE(Text) = "SELECT value FROM settings WHERE name = $1";
    STORE(Text, Text) = "INSERT INTO settings (name, value) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    UPDATE(Text, Text) = "UPDATE settings SET value = $2 WHERE name = $1";
    REPLACE(Text, Text, Text) = "UPDATE settings SET value = $3 WHERE name = $1 AND value = $2";
    FORGET(Text) = "DELETE FROM settings WHERE name = $1";
    JUDGED() = "SELECT name, value FROM settings WHERE name LIKE 'view %'";
    FORGET_ALL_JUDGED() = "DELETE FROM settings WHERE name LIKE 'view %'";
    RESYNCS() = "SELECT name FROM settings WHERE name LIKE 'resync %' ORDER BY name";
    // The value is the time at which a leave ends.
    END_LEAVES() = "UPDATE settings SET value = '0' WHERE name LIKE 'may empty %'";
}

/// How a view judged all claims at the last start.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::ledger) struct JudgedAs {
    pub view: String,
    /// The fingerprint of the view's policy, rendering and mapping.
    pub fingerprint: String,
}

pub(in crate::ledger) fn value(tx: &Transaction<'_>, name: &str) -> Result<Option<String>> {
    tx.row(&VALUE, &values![name])
}

pub(in crate::ledger) fn store(tx: &Transaction<'_>, name: &str, value: &str) -> Result<()> {
    tx.execute(&STORE, &values![name, value]).map(drop)
}

/// Stores a value only where the name has one already.
pub(in crate::ledger) fn update(tx: &Transaction<'_>, name: &str, value: &str) -> Result<()> {
    tx.execute(&UPDATE, &values![name, value]).map(drop)
}

/// Stores a value unless another one than `before` was stored meanwhile.
pub(in crate::ledger) fn replace(
    tx: &Transaction<'_>,
    name: &str,
    before: &str,
    value: &str,
) -> Result<()> {
    tx.execute(&REPLACE, &values![name, before, value]).map(drop)
}

pub(in crate::ledger) fn forget(tx: &Transaction<'_>, name: &str) -> Result<()> {
    tx.execute(&FORGET, &values![name]).map(drop)
}

/// How each view judged all claims.
pub(in crate::ledger) fn judged(tx: &Transaction<'_>) -> Result<Vec<JudgedAs>> {
    let rows: Vec<(String, String)> = tx.rows(&JUDGED, &values![])?;
    let judged = rows.into_iter().filter_map(|(name, fingerprint)| {
        Some(JudgedAs { view: name.strip_prefix("view ")?.to_owned(), fingerprint })
    });
    Ok(judged.collect())
}

/// Notes that a view has judged all claims.
pub(in crate::ledger) fn store_judged(
    tx: &Transaction<'_>,
    view: &str,
    fingerprint: &str,
) -> Result<()> {
    store(tx, &judged_name(view), fingerprint)
}

/// Makes the next start judge all claims of this view again.
pub(in crate::ledger) fn forget_judged(tx: &Transaction<'_>, view: &str) -> Result<()> {
    forget(tx, &judged_name(view))
}

/// Makes the next start judge all claims of all views again.
pub(in crate::ledger) fn forget_all_judged(tx: &Transaction<'_>) -> Result<()> {
    tx.execute(&FORGET_ALL_JUDGED, &values![]).map(drop)
}

fn judged_name(view: &str) -> String {
    format!("view {view}")
}

/// The sources for which a resync was stored, in the order of their names.
pub(in crate::ledger) fn resynced_sources(tx: &Transaction<'_>) -> Result<Vec<String>> {
    let names: Vec<String> = tx.rows(&RESYNCS, &values![])?;
    let sources = names.iter().filter_map(|name| name.strip_prefix("resync "));
    Ok(sources.map(str::to_owned).collect())
}

/// Ends every permission that an operator gave for a MISP that shows no events.
pub(in crate::ledger) fn end_leaves(tx: &Transaction<'_>) -> Result<()> {
    tx.execute(&END_LEAVES, &values![]).map(drop)
}
