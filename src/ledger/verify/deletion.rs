//! Deletions of withdrawn indicators. A deletion and an upload of the same id may overtake each other,
//! so a deletion is noted before it leaves: what is accepted while it is on its way goes once more.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::super::Ledger;

/// A withdrawn indicator that a target accepted the withdrawal of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Deletable {
    pub object: Uuid,
    pub stix_id: Uuid,
    /// How often its deletion was tried.
    pub deletions: i16,
}

/// How a deletion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is not there.
    Gone,
    /// To be looked at again, Unix milliseconds.
    Later { at: i64, tried: bool },
}

/// Nothing of it moves, nobody wants it, and no other object wants its id.
const RESTS: &str = "d.accepted = 0 AND NOT d.context AND d.sending IS NULL AND d.doubt IS NULL
    AND d.resend_at IS NULL AND w.version = 0
    AND NOT EXISTS (SELECT 1 FROM wanted o WHERE o.view = w.view AND o.stix_id = w.stix_id
                    AND o.stix_id <> o.object AND o.version <> 0)";

/// Never due again.
const DONE: i64 = i64::MAX;

/// A deletion is on its way.
pub(crate) const ON_ITS_WAY: i64 = -1;

impl Ledger {
    /// Indicators whose withdrawal a target accepted before `before`, and whose deletion is due.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn due_deletions(
        &self,
        target: &str,
        before: i64,
        now: i64,
        limit: i64,
    ) -> sqlx::Result<Vec<Deletable>> {
        sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "SELECT w.object, w.stix_id, d.deletions FROM delivered d
             JOIN targets t ON t.target = d.target
             JOIN wanted w ON w.view = t.view AND w.object = d.object
             WHERE d.target = $1 AND d.deletion <= $2 AND d.accepted_at <= $3 AND {RESTS}
             ORDER BY d.deletion LIMIT $4"
        )))
        .bind(target)
        .bind(now)
        .bind(before)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
    }

    /// Notes that a deletion leaves now; `false`: it must not.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn begin_deletion(&self, target: &str, object: Uuid) -> sqlx::Result<bool> {
        let begun = sqlx::query(sqlx::AssertSqlSafe(format!(
            "UPDATE delivered AS d SET deletion = $3 WHERE d.target = $1 AND d.object = $2
             AND EXISTS (SELECT 1 FROM wanted w WHERE w.object = d.object
                 AND w.view = (SELECT view FROM targets WHERE target = $1) AND {RESTS})"
        )))
        .bind(target)
        .bind(object)
        .bind(ON_ITS_WAY)
        .execute(&self.writer)
        .await?;
        Ok(begun.rows_affected() > 0)
    }

    /// Notes how a deletion ended. What came back under its id meanwhile goes once more.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn end_deletion(
        &self,
        target: &str,
        which: &Deletable,
        how: Deletion,
        now: i64,
    ) -> sqlx::Result<()> {
        let (due, tried) = match how {
            Deletion::Gone => (DONE, false),
            Deletion::Later { at, tried } => (at, tried),
        };
        let mut tx = self.begin().await?;
        sqlx::query(
            // Of an upload that is on its way nobody knows which came first.
            "UPDATE delivered SET deletions = deletions + $2,
                 deletion = CASE WHEN $2 > 0 AND sending IS NOT NULL THEN deletion ELSE $1 END
             WHERE target = $3 AND object = $4 AND accepted = 0",
        )
        .bind(due)
        .bind(i16::from(tried))
        .bind(target)
        .bind(which.object)
        .execute(&mut *tx)
        .await?;
        if tried {
            send_heirs_again(&mut tx, target, which, now).await?;
        }
        tx.commit().await
    }
}

/// Under `identity = "attribute"`: other objects that took the id over.
async fn send_heirs_again(
    tx: &mut SqliteConnection,
    target: &str,
    which: &Deletable,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE delivered SET resend_at = $1 WHERE target = $2 AND object IN
             (SELECT w.object FROM wanted w JOIN targets t ON t.view = w.view
              WHERE t.target = $2 AND w.stix_id = $3 AND w.stix_id <> w.object
                  AND w.object <> $4 AND w.version <> 0)",
    )
    .bind(now)
    .bind(target)
    .bind(which.stix_id)
    .bind(which.object)
    .execute(tx)
    .await?;
    Ok(())
}
