//! Statements on `delivered` for deletions: which are due, on their way, or over for good.

use uuid::Uuid;

use super::ON_ITS_WAY;
use crate::ledger::sql::{Result, Transaction, row, statements, values};
use crate::ledger::tables::targets::TargetView;

/// The object is withdrawn, no request with it is open, and no other object uses its id.
macro_rules! rests {
    () => {
        "d.accepted = 0 AND NOT d.context AND d.sending IS NULL AND d.doubt IS NULL
         AND d.resend_at IS NULL AND w.version = 0
         AND NOT EXISTS (SELECT 1 FROM wanted o WHERE o.view = w.view AND o.stix_id = w.stix_id
                         AND o.stix_id <> o.object AND o.version <> 0)"
    };
}

statements! {
    DUE(Text, Text, Integer, Integer, Integer) = concat!(
        "SELECT w.object, w.stix_id, d.deletions FROM delivered d
         JOIN wanted w ON w.view = $2 AND w.object = d.object
         WHERE d.target = $1 AND d.deletion <= $3 AND d.accepted_at <= $4 AND ",
        rests!(),
        " ORDER BY d.deletion LIMIT $5"
    );
    // Looked at again in the statement that notes it: since the list was made, the indicator may have been
    // published again and an upload of it may be on its way.
    BEGIN(Text, Text, Bytes, Integer) = concat!(
        "UPDATE delivered AS d SET deletion = $4 WHERE d.target = $1 AND d.object = $3
         AND EXISTS (SELECT 1 FROM wanted w WHERE w.view = $2 AND w.object = d.object AND ",
        rests!(),
        ")"
    );
    /// If an upload is on its way, it is unknown whether it or the deletion arrives first, so the deletion stays noted.
    END(Text, Bytes, Integer, Integer) =
        "UPDATE delivered SET deletions = deletions + $4,
             deletion = CASE WHEN $4 > 0 AND sending IS NOT NULL THEN deletion ELSE $3 END
         WHERE target = $1 AND object = $2 AND accepted = 0";
    // Copies are found by their id, so the deletion may have taken what has the id now.
    SEND_HEIRS_AGAIN(Text, Text, Bytes, Bytes, Integer) =
        "UPDATE delivered SET resend_at = $5 WHERE target = $1 AND object IN
             (SELECT w.object FROM wanted w
              WHERE w.view = $2 AND w.stix_id = $3 AND w.stix_id <> w.object AND w.object <> $4
                  AND w.version <> 0)";
    /// Except for deletions that are over for good.
    BRING_FORWARD(Integer) = "UPDATE delivered SET deletion = $1
        WHERE deletion > $1 AND deletion < 9223372036854775807 AND accepted = 0 AND NOT context";
}

row! {
    /// An indicator whose withdrawal a target accepted.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Deletable {
        pub object: Uuid,
        pub stix_id: Uuid,
        /// How often its deletion was tried.
        pub deletions: i16,
    }
}

/// Indicators whose withdrawal a target accepted before `before`, and whose deletion is due.
pub(in crate::ledger) fn due(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
    before: i64,
    now: i64,
    limit: i64,
) -> Result<Vec<Deletable>> {
    tx.rows(&DUE, &values![target, view, now, before, limit])
}

/// Notes that a deletion is sent now. Returns `false` if it must not be sent.
pub(in crate::ledger) fn begin(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
    object: Uuid,
) -> Result<bool> {
    Ok(tx.execute(&BEGIN, &values![target, view, object, ON_ITS_WAY])? > 0)
}

/// Notes that a deletion has ended, and that it must be checked again at `due_at`.
pub(in crate::ledger) fn end(
    tx: &Transaction<'_>,
    target: &str,
    object: Uuid,
    due_at: i64,
    tried: bool,
) -> Result<()> {
    let tries = i16::from(tried);
    tx.execute(&END, &values![target, object, due_at, tries]).map(drop)
}

/// Has the objects sent again that took over the id of a deleted one, under `identity = "attribute"`.
pub(in crate::ledger) fn send_heirs_again(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
    deleted: &Deletable,
    now: i64,
) -> Result<()> {
    let values = values![target, view, deleted.stix_id, deleted.object, now];
    tx.execute(&SEND_HEIRS_AGAIN, &values).map(drop)
}

/// Brings the deletions that are due later than `now` forward to `now`.
pub(in crate::ledger) fn bring_forward(tx: &Transaction<'_>, now: i64) -> Result<()> {
    tx.execute(&BRING_FORWARD, &values![now]).map(drop)
}
