//! The table `announced`: publications from the webhook that the feed has not confirmed yet.

use super::keys::EventKey;
use crate::ledger::sql::{Result, SqlError, Transaction, statements, values};

statements! {
    STORE(Text, Bytes, Integer, Bytes) =
        "INSERT INTO announced (source, event, received_at, body) VALUES ($1, $2, $3, $4)
         ON CONFLICT (source, event) DO UPDATE SET received_at = excluded.received_at,
             body = excluded.body";
    BODY(Text, Bytes) = "SELECT body FROM announced WHERE source = $1 AND event = $2";
    FORGET(Text, Bytes) = "DELETE FROM announced WHERE source = $1 AND event = $2";
    // A body that came later is of a later publication, which this one does not confirm.
    CONFIRM(Text, Bytes, Integer) =
        "DELETE FROM announced WHERE source = $1 AND event = $2 AND received_at <= $3";
    DROP_OLDER(Integer) = "DELETE FROM announced WHERE received_at < $1";
    COUNT() = "SELECT count(*) FROM announced";
    NOT_AFTER(Integer) = "UPDATE announced SET received_at = $1 WHERE received_at > $1";
}

/// Stores a publication that was received at `now`, Unix milliseconds.
pub(in crate::ledger) fn store(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    body: &[u8],
    now: i64,
) -> Result<()> {
    tx.execute(&STORE, &values![source, event, now, body]).map(drop)
}

/// The publication of an event.
pub(in crate::ledger) fn body(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<Option<Vec<u8>>> {
    let body: Option<(Vec<u8>,)> = tx.row(&BODY, &values![source, event])?;
    Ok(body.map(|(body,)| body))
}

pub(in crate::ledger) fn forget(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
) -> Result<()> {
    tx.execute(&FORGET, &values![source, event]).map(drop)
}

/// Forgets the publication of an event if it was received by `told_at`, Unix milliseconds.
pub(in crate::ledger) fn confirm(
    tx: &Transaction<'_>,
    EventKey { source, event }: EventKey<'_>,
    told_at: i64,
) -> Result<()> {
    tx.execute(&CONFIRM, &values![source, event, told_at]).map(drop)
}

/// Drops what was received before `before`; returns how much.
pub(in crate::ledger) fn drop_older(tx: &Transaction<'_>, before: i64) -> Result<usize> {
    tx.execute(&DROP_OLDER, &values![before])
}

pub(in crate::ledger) fn count(tx: &Transaction<'_>) -> Result<i64> {
    tx.row(&COUNT, &values![])?.ok_or(SqlError::NoRow)
}

/// Sets stored times that are later than `now` to `now`: a clock that was ahead noted them.
pub(in crate::ledger) fn not_after(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.execute(&NOT_AFTER, &values![now]).map(drop)
}
