//! Statements on `delivered` for repairs: a target does not hold what it accepted, or holds what it was never sent.

use uuid::Uuid;

use super::FOREIGN;
use crate::ledger::sql::{Result, Transaction, statements, values};
use crate::ledger::tables::targets::TargetView;

statements! {
    /// An object that other targets refused stays refused in its new change.
    KEEP_REJECTED(Integer, Text, Bytes) =
        "UPDATE delivered SET rejected_in = $1 WHERE object = $3 AND rejected IS NOT NULL
             AND rejected_in = (SELECT change FROM wanted WHERE view = $2 AND object = $3)
             AND target IN (SELECT target FROM targets WHERE view = $2)";
    // As accepted in a version that nobody rendered, it differs from the withdrawn one: so the withdrawal
    // is pending.
    ADOPT(Text, Text, Bytes, Integer, Integer, Integer, Integer) =
        "INSERT INTO delivered
             (target, object, created, modified, accepted, accepted_at, valid_until, context)
         SELECT CAST($1 AS TEXT), object, CAST($4 AS BIGINT), CAST($5 AS BIGINT), CAST($6 AS BIGINT),
             CAST($5 AS BIGINT), CAST($7 AS BIGINT), kind <> 'indicator'
         FROM wanted WHERE view = $2 AND object = $3 AND version = 0
         ON CONFLICT (target, object) DO NOTHING";
    // The id is used up, whoever revoked it (`revoked` 2).
    ADOPT_REVOKED(Text, Bytes, Integer, Integer) =
        "INSERT INTO delivered (target, object, created, modified, accepted, accepted_at,
             valid_until, revoked)
         VALUES ($1, $2, $3, $4, 0, $4, 0, 2) ON CONFLICT (target, object) DO NOTHING";
    // The accepted version counts as one of unknown outcome, so its repeat has the same times and the same
    // bytes. Where anything was sent since the look, or another version is wanted by now, the look says
    // nothing any more.
    UNSETTLE(Text, Text, Bytes, Integer, Integer) =
        "UPDATE delivered SET sending = accepted,
             valid_until = CASE WHEN $5 > valid_until THEN $5 ELSE valid_until END,
             ended_at = CASE WHEN $5 > 0 THEN NULL ELSE ended_at END
         WHERE target = $1 AND object = $3 AND accepted_at = $4
             AND sending IS NULL AND doubt IS NULL AND resend_at IS NULL
             AND accepted = (SELECT version FROM wanted WHERE view = $2 AND object = $3)
         RETURNING object";
}

/// An indicator of ours that a target holds and the ledger does not know, or knows as withdrawn elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Its key in the ledger.
    pub object: Uuid,
    pub stix_id: Uuid,
    /// The key that its claims would have, and which generation of it this is.
    pub key: Uuid,
    pub generation: i16,
    /// The body as Sentinel holds it, without the members that [`crate::pure::stix::live`] adds.
    pub body: String,
    /// Unix milliseconds.
    pub valid_from: i64,
    pub valid_until: i64,
    pub created: i64,
    pub modified: i64,
}

/// An object that a target does not hold as it accepted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deviation {
    pub object: Uuid,
    /// When it was accepted, as read.
    pub accepted_at: i64,
    /// The end of its validity at the target, if the target accepted its withdrawal and still shows it as live.
    /// Otherwise 0.
    pub valid_until: i64,
}

/// Keeps these objects refused, where targets of the view refused them, when they join change `number`.
pub(in crate::ledger) fn keep_rejected(
    tx: &Transaction<'_>,
    view: &str,
    objects: &[Uuid],
    number: i64,
) -> Result<()> {
    tx.execute_each(&KEEP_REJECTED, objects.iter().map(|object| values![number, view, object]))
        .map(drop)
}

/// Notes that the target holds a withdrawn object that it was never sent. Returns whether that is new and the object is
/// not wanted.
pub(in crate::ledger) fn adopt(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
    stray: &Stray,
) -> Result<bool> {
    let Stray { object, created, modified, valid_until, .. } = stray;
    let values = values![target, view, object, created, modified, FOREIGN, valid_until];
    Ok(tx.execute(&ADOPT, &values)? > 0)
}

/// Notes that an object is revoked at the target. Returns whether that is new.
pub(in crate::ledger) fn adopt_revoked(
    tx: &Transaction<'_>,
    target: &str,
    stray: &Stray,
) -> Result<bool> {
    let Stray { object, created, modified, .. } = stray;
    Ok(tx.execute(&ADOPT_REVOKED, &values![target, object, created, modified])? > 0)
}

/// Marks the outcome of these objects as unknown, unless something changed since they were read. If the target still
/// shows a withdrawn object as live, its withdrawal gets a new end. Returns the objects that it marked.
pub(in crate::ledger) fn unsettle(
    tx: &Transaction<'_>,
    TargetView { target, view }: TargetView<'_>,
    deviations: &[Deviation],
) -> Result<Vec<Uuid>> {
    let each = deviations
        .iter()
        .map(|one| values![target, view, one.object, one.accepted_at, one.valid_until]);
    tx.rows_each(&UNSETTLE, each)
}
