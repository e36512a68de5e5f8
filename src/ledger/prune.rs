//! Forgetting what is long over, a bounded number of rows at a time.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{Ledger, push_uuids};

/// Rows a transaction.
const STEP: i64 = 1_000;

/// What stands for something that MISP took back, and the notes about it.
const NOTES: [&str; 3] = [
    "DELETE FROM tag_changes WHERE (source, event, attribute, tag) IN
         (SELECT source, event, attribute, tag FROM tag_changes WHERE heard_at < $1 LIMIT $2)",
    "DELETE FROM tombstones WHERE (source, attribute, object) IN
         (SELECT source, attribute, object FROM tombstones WHERE withdrawn_at < $1 LIMIT $2)",
    "DELETE FROM events WHERE (source, event) IN
         (SELECT e.source, e.event FROM events e WHERE e.deleted_at < $1 AND e.unfinished = 0
          AND NOT EXISTS (SELECT 1 FROM claims c WHERE c.source = e.source AND c.event = e.event)
          AND NOT EXISTS (SELECT 1 FROM reads r WHERE r.source = e.source AND r.event = e.event)
          LIMIT $2)",
];

/// The oldest beyond so many: a flood of frames must not fill the disk.
const TOO_MANY: [&str; 2] = [
    "DELETE FROM tag_changes WHERE heard_at <=
         (SELECT heard_at FROM tag_changes ORDER BY heard_at DESC LIMIT 1 OFFSET 200000)",
    "DELETE FROM tombstones WHERE withdrawn_at <=
         (SELECT withdrawn_at FROM tombstones ORDER BY withdrawn_at DESC LIMIT 1 OFFSET 1000000)",
];

/// The targets that a row of `wanted` concerns, the absent ones among them.
const ITS_TARGETS: &str = "(SELECT target FROM targets WHERE view = $1)";

/// A target is done with a withdrawn object: it has accepted the withdrawal before $4, or what it
/// holds was over by then. (After an accepted withdrawal its `valid_until` is 0.)
const DONE: &str = "d.accepted = 0 AND d.accepted_at < $4
        AND d.sending IS NULL AND d.doubt IS NULL AND d.resend_at IS NULL
    OR COALESCE(d.accepted, 1) <> 0 AND d.valid_until < $4";

impl Ledger {
    /// Drops webhook publications that nothing has confirmed since `before`; returns how many.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(super) async fn drop_unconfirmed(&self, before: i64) -> sqlx::Result<u64> {
        let done = sqlx::query("DELETE FROM announced WHERE received_at < $1")
            .bind(before)
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected())
    }

    /// Forgets tombstones and deleted events from before `before`, and withdrawals by inference from
    /// before `inferred`.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(super) async fn forget_notes(&self, before: i64, inferred: i64) -> sqlx::Result<u64> {
        let mut forgotten = 0;
        for statement in NOTES {
            let done = sqlx::query(statement).bind(before).bind(STEP).execute(&self.writer).await?;
            forgotten += done.rows_affected();
        }
        for statement in TOO_MANY {
            forgotten += sqlx::query(statement).execute(&self.writer).await?.rows_affected();
        }
        sqlx::query("DELETE FROM inferred WHERE at < $1")
            .bind(inferred)
            .execute(&self.writer)
            .await?;
        Ok(forgotten)
    }

    /// Forgets withdrawn objects that every target was done with before `before`, among the next
    /// ones after `after`; returns where to go on, and how many. What was revoked is kept: its row is
    /// the memory that the id is used up, unless that of a later generation tells.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(super) async fn forget_withdrawn(
        &self,
        view: &str,
        after: Uuid,
        before: i64,
    ) -> sqlx::Result<(Uuid, u64)> {
        let slice: Vec<Uuid> = sqlx::query_scalar(
            "SELECT object FROM wanted WHERE view = $1 AND version = 0 AND object > $2
             ORDER BY object LIMIT $3",
        )
        .bind(view)
        .bind(after)
        .bind(STEP)
        .fetch_all(&self.readers)
        .await?;
        let Some(last) = slice.last().copied() else { return Ok((Uuid::nil(), 0)) };
        let statement = format!(
            "DELETE FROM wanted AS w
             WHERE w.view = $1 AND w.version = 0 AND w.object > $2 AND w.object <= $3
             AND NOT EXISTS (SELECT 1 FROM delivered d WHERE d.object = w.object
                             AND d.target IN {ITS_TARGETS} AND NOT COALESCE({DONE}, FALSE))
             AND NOT ({used_up} AND (w.stix_id <> w.object OR NOT EXISTS
                 (SELECT 1 FROM wanted b WHERE b.view = $1
                  AND b.claimed = COALESCE(w.claimed, w.object)
                  AND b.generation > w.generation AND {later_used_up})))
             RETURNING object",
            used_up = is_used_up("w"),
            later_used_up = is_used_up("b"),
        );
        let mut tx = self.begin().await?;
        let forgotten: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(view)
            .bind(after)
            .bind(last)
            .bind(before)
            .fetch_all(&mut *tx)
            .await?;
        if !forgotten.is_empty() {
            let mut query = sqlx::QueryBuilder::new(
                "DELETE FROM delivered WHERE target IN (SELECT target FROM targets WHERE view = ",
            );
            query.push_bind(view);
            push_uuids(&mut query, ") AND object IN ", &forgotten);
            query.build().execute(&mut *tx).await?;
        }
        tx.commit().await?;
        let is_end = i64::try_from(slice.len()).is_ok_and(|rows| rows < STEP);
        Ok((if is_end { Uuid::nil() } else { last }, forgotten.len() as u64))
    }
}

/// A revocation of the object has left, or may have.
fn is_used_up(row: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM delivered d WHERE d.object = {row}.object AND d.revoked > 0
                 AND d.target IN {ITS_TARGETS})"
    )
}
