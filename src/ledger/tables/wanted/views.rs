//! Statements on `wanted` for targets that move to another view, and for views that have no target any more.

use super::its_targets;
use crate::ledger::sql::{Result, Transaction, statements, values};

statements! {
    /// Each is found in the index by the one before.
    VIEWS() =
        "WITH RECURSIVE known (view) AS (
             SELECT MIN(view) FROM wanted
             UNION ALL SELECT (SELECT MIN(w.view) FROM wanted w WHERE w.view > known.view)
             FROM known WHERE known.view IS NOT NULL)
         SELECT view FROM known WHERE view IS NOT NULL";
    // What the new view knows already, it has judged by its own policy. Identities, techniques and actors
    // never end, so they need not be brought.
    BRING(Text, Integer, Boolean, Text, Text, Text) =
        "INSERT INTO wanted (view, object, key, observable, kind, stix_id, body, valid_from,
             valid_until, version, change, generation, revoke, source, said_at, tlp)
         SELECT CAST($1 AS TEXT), w.object, w.key, w.observable, w.kind, w.stix_id, w.body,
             w.valid_from, w.valid_until, 0, CAST($2 AS BIGINT), w.generation,
             CASE w.version WHEN 0 THEN w.revoke ELSE $3 OR w.kind = 'relationship' END,
             w.source, w.said_at, w.tlp
         FROM delivered d JOIN wanted w ON w.view = $4 AND w.object = d.object
         WHERE d.target = $5 AND w.kind IN ('indicator', $6)
         ON CONFLICT (view, object) DO NOTHING";
    // The second condition: of two generations of one key only the newest may live.
    END_USED_UP(Integer, Boolean, Text, Text) =
        "UPDATE wanted SET version = 0, change = $1, revoke = $2 OR kind = 'relationship'
         WHERE view = $3 AND version <> 0 AND (
             EXISTS (SELECT 1 FROM delivered d WHERE d.target = $4 AND d.object = wanted.object
                     AND d.revoked > 0)
             OR EXISTS (SELECT 1 FROM wanted n WHERE n.view = $3 AND n.key = wanted.key
                        AND n.key <> n.object AND n.generation > wanted.generation))";
    END_RELATIONSHIPS(Integer, Text) =
        "UPDATE wanted SET version = 0, change = $1, revoke = TRUE
         WHERE view = $2 AND version <> 0 AND source IN
             (SELECT object FROM wanted e WHERE e.view = $2 AND e.version = 0 AND e.change = $1)";
    FORGET_UNSENT_OF_VIEW(Text) = concat!(
        "DELETE FROM wanted WHERE view = $1 AND NOT EXISTS
             (SELECT 1 FROM delivered d WHERE d.object = wanted.object AND d.target IN ",
        its_targets!(),
        ")"
    );
    /// Withdraws the indicators by expiry, which can be undone, since it is unknown how the target will withdraw when
    /// it comes back.
    CLOSE_VIEW(Text) =
        "UPDATE wanted SET version = 0, revoke = (kind = 'relationship')
         WHERE view = $1 AND version <> 0 AND kind IN ('indicator', 'relationship')";
    // Asked in the same statement, since a target may see the view again by now.
    FORGET_UNSEEN_VIEW(Text, Integer) =
        "DELETE FROM wanted WHERE view = $1 AND object IN
             (SELECT object FROM wanted WHERE view = $1 LIMIT $2)
         AND NOT EXISTS (SELECT 1 FROM targets WHERE view = $1)";
}

/// A target that sees another view than before.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct NewViewOfTarget<'a> {
    pub target: &'a str,
    pub before: &'a str,
    pub view: &'a str,
    /// Whether the new view wants only indicators.
    pub only_indicators: bool,
    /// Whether the new view withdraws by `revoked`.
    pub revokes: bool,
}

/// The views that have objects.
pub(in crate::ledger) fn views(tx: &Transaction<'_>) -> Result<Vec<String>> {
    tx.rows(&VIEWS, &values![])
}

/// Writes to the target's new view, as withdrawn, the objects that the target was sent and that the view does not know.
/// Returns how many.
pub(in crate::ledger) fn bring(
    tx: &Transaction<'_>,
    moved: &NewViewOfTarget<'_>,
    change: i64,
) -> Result<usize> {
    let NewViewOfTarget { target, before, view, only_indicators, revokes } = *moved;
    let beside = if only_indicators { "indicator" } else { "relationship" };
    tx.execute(&BRING, &values![view, change, revokes, before, target, beside])
}

/// Withdraws the objects of the new view whose ids are used up at the target, or that are of an older generation than
/// the view knows, and the relationships that start there. Returns how many objects.
pub(in crate::ledger) fn end_used_up(
    tx: &Transaction<'_>,
    moved: &NewViewOfTarget<'_>,
    change: i64,
) -> Result<usize> {
    let NewViewOfTarget { target, view, revokes, .. } = *moved;
    let ended = tx.execute(&END_USED_UP, &values![change, revokes, view, target])?;
    if ended > 0 {
        tx.execute(&END_RELATIONSHIPS, &values![change, view])?;
    }
    Ok(ended)
}

/// Closes a view. It keeps the objects that any of its targets was sent, as withdrawn, and deletes the others.
pub(in crate::ledger) fn close_view(tx: &Transaction<'_>, view: &str) -> Result<()> {
    tx.execute(&FORGET_UNSENT_OF_VIEW, &values![view])?;
    tx.execute(&CLOSE_VIEW, &values![view]).map(drop)
}

/// Forgets at most `limit` objects of a view that no target sees any more; returns how many.
pub(in crate::ledger) fn forget_unseen_view(
    tx: &Transaction<'_>,
    view: &str,
    limit: i64,
) -> Result<usize> {
    tx.execute(&FORGET_UNSEEN_VIEW, &values![view, limit])
}
