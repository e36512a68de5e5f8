//! Statements on `wanted` for withdrawn objects, which are kept until every target has taken the withdrawal.

use uuid::Uuid;

use super::{NewIndicator, its_targets};
use crate::ledger::sql::{Result, Transaction, statements, values};
use crate::ledger::tables::keys::GenerationKey;
use crate::ledger::tables::packed::pack_body;
use crate::pure::policy::Tlp;

/// A target is done with a withdrawn object: it has accepted the withdrawal before $4, or what it
/// holds was over by then. (After an accepted withdrawal its `valid_until` is 0.)
// Of what was never accepted a request may have arrived all the same, so it counts as held until its
// end.
macro_rules! done {
    () => {
        "(d.accepted = 0 AND d.accepted_at < $4
              AND d.sending IS NULL AND d.doubt IS NULL AND d.resend_at IS NULL
          OR COALESCE(d.accepted, 1) <> 0 AND d.valid_until < $4)"
    };
}

/// Whether a revocation of the object was sent, or may have been.
macro_rules! is_used_up {
    ($row:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM delivered d WHERE d.object = ",
            $row,
            ".object AND d.revoked > 0 AND d.target IN ",
            its_targets!(),
            ")"
        )
    };
}

statements! {
    // Its claims are unknown, so the key stands for the observable too.
    NOTE_WITHDRAWN(Text, Bytes, Bytes, Bytes, Bytes, Integer, Integer, Integer, Boolean) =
        "INSERT INTO wanted
         (view, object, key, observable, stix_id, body, valid_from, valid_until, version,
          generation, change, kind, revoke)
         VALUES ($1, $2, $3, $3, $4, $5, $6, $7, 0, $8, 0, 'indicator', $9)
         ON CONFLICT (view, object) DO NOTHING";
    RAISE_LEVEL(Text, Bytes, Integer) =
        "UPDATE wanted SET tlp = $3 WHERE view = $1 AND object = $2 AND version = 0 AND tlp < $3";
    WITHDRAWN_AFTER(Text, Bytes, Integer) =
        "SELECT object FROM wanted
         WHERE view = $1 AND version = 0 AND object > $2 ORDER BY object LIMIT $3";
    /// A revoked object is kept, because its row says that the id is used up. It may go if the row of a later
    /// generation says the same.
    FORGET_WITHDRAWN(Text, Bytes, Bytes, Integer) = concat!(
        "DELETE FROM wanted AS w
         WHERE w.view = $1 AND w.version = 0 AND w.object > $2 AND w.object <= $3
         AND NOT EXISTS (SELECT 1 FROM delivered d WHERE d.object = w.object
                         AND d.target IN ", its_targets!(), "
                         AND NOT COALESCE(", done!(), ", FALSE))
         AND NOT (", is_used_up!("w"), " AND (w.stix_id <> w.object OR NOT EXISTS
             (SELECT 1 FROM wanted b WHERE b.view = $1 AND b.key = w.key AND b.key <> b.object
              AND b.generation > w.generation AND ", is_used_up!("b"), ")))
         RETURNING object"
    );
}

/// Writes an indicator that is withdrawn, in no change, unless the view knows the object.
pub(in crate::ledger) fn note_withdrawn(
    tx: &Transaction<'_>,
    view: &str,
    indicator: &NewIndicator<'_>,
    revoke: bool,
) -> Result<()> {
    let NewIndicator { object, generation, stix_id, body, valid_from, valid_until, .. } =
        *indicator;
    let GenerationKey { key, number } = generation;
    let body = pack_body(body);
    let values = values![
        view,
        object,
        key,
        stix_id,
        body.as_slice(),
        valid_from,
        valid_until,
        number,
        revoke
    ];
    tx.execute(&NOTE_WITHDRAWN, &values).map(drop)
}

/// The strictest level that was seen on the claims of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) struct LevelOfObject {
    pub object: Uuid,
    pub tlp: Tlp,
}

/// Notes how strictly claims on withdrawn objects are marked, where that is stricter than what was seen before.
pub(in crate::ledger) fn raise_levels(
    tx: &Transaction<'_>,
    view: &str,
    levels: &[LevelOfObject],
) -> Result<()> {
    let each = levels.iter().map(|one| values![view, one.object, one.tlp.rank()]);
    tx.execute_each(&RAISE_LEVEL, each).map(drop)
}

/// Returns the next withdrawn objects after `after`.
pub(in crate::ledger) fn withdrawn_after(
    tx: &Transaction<'_>,
    view: &str,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>> {
    tx.rows(&WITHDRAWN_AFTER, &values![view, after, limit])
}

/// Deletes the withdrawn objects after `after` and up to `last` with which every target of the view was done `before`
/// this time, Unix milliseconds. Returns them.
pub(in crate::ledger) fn forget_withdrawn(
    tx: &Transaction<'_>,
    view: &str,
    after: Uuid,
    last: Uuid,
    before: i64,
) -> Result<Vec<Uuid>> {
    tx.rows(&FORGET_WITHDRAWN, &values![view, after, last, before])
}
