//! What targets were sent, and what became of it.

use sqlx::{AssertSqlSafe, QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::queue::TRIED_AGAIN;
use super::sending::Before;
use super::verify::{FOREIGN, ON_ITS_WAY};
use super::{Ledger, Sending, Writing, push_uuids};

/// How a request ended for its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement<'a> {
    Accepted(&'a [Uuid]),
    /// With Sentinel's words.
    Rejected(&'a [(Uuid, String)]),
    /// Withdrawals that the target took and whose end lies in its future: it is sent once more, with an
    /// end that is over there.
    NotOver(&'a [Uuid]),
    /// Surely not processed: as before this attempt.
    Returned(&'a [Sending]),
}

impl Ledger {
    /// Stores how a request ended. `resend_at`: when the final version of an object goes once more
    /// whose older version may still arrive.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn settle(
        &self,
        target: &str,
        settlements: &[Settlement<'_>],
        now: i64,
        resend_at: i64,
    ) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        for settlement in settlements {
            match settlement {
                Settlement::Accepted(objects) => {
                    accept(&mut tx, target, objects, (now, resend_at)).await?;
                }
                Settlement::NotOver(objects) => not_over(&mut tx, target, objects).await?,
                Settlement::Rejected(objects) => reject(&mut tx, target, objects).await?,
                Settlement::Returned(objects) => give_back(&mut tx, target, objects).await?,
            }
        }
        tx.commit().await
    }

    /// Rejects versions of objects that were found to be bad when they were in no request any more.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn reject_versions(
        &self,
        target: &str,
        versions: &[(Uuid, i64)],
        words: &str,
    ) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        for (object, version) in versions {
            sqlx::query(AssertSqlSafe(format!(
                "UPDATE delivered SET words = $1, resend_at = NULL, rejected = $4,
                     rejected_in = {CHANGE} WHERE target = $2 AND object = $3"
            )))
            .bind(words)
            .bind(target)
            .bind(object)
            .bind(version)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await
    }

    /// Puts what a target (or every target) rejected back into the queue; returns how many objects. The
    /// rejected versions stay known: that they are refused again says nothing about the target.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn retry_rejected(&self, target: Option<&str>, now: i64) -> sqlx::Result<u64> {
        let mut tx = self.begin().await?;
        let targets: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT target FROM delivered
             WHERE rejected IS NOT NULL AND rejected_in IS NOT $2 AND ($1 IS NULL OR target = $1)",
        )
        .bind(target)
        .bind(TRIED_AGAIN)
        .fetch_all(&mut *tx)
        .await?;
        let retried = sqlx::query(
            "UPDATE delivered SET rejected_in = $2, words = NULL
             WHERE rejected IS NOT NULL AND rejected_in IS NOT $2 AND ($1 IS NULL OR target = $1)",
        )
        .bind(target)
        .bind(TRIED_AGAIN)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        for target in targets {
            queue_everything(&mut tx, &target, now).await?;
        }
        tx.commit().await?;
        self.shared.changed.notify_waiters();
        Ok(retried)
    }

    /// Takes back the rejection of objects of a target that turned out to be misconfigured.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn unreject(&self, target: &str, objects: &[Uuid], now: i64) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        for object in objects {
            sqlx::query(
                "UPDATE delivered SET rejected = NULL, words = NULL
                 WHERE target = $1 AND object = $2",
            )
            .bind(target)
            .bind(object)
            .execute(&mut *tx)
            .await?;
        }
        queue_everything(&mut tx, target, now).await?;
        tx.commit().await
    }
}

/// Change 0 in the backlog lane: whatever the target does not hold is sent. An open one is marked as
/// opened anew, so that who is about to close it looks again.
pub(super) async fn queue_everything(
    tx: &mut SqliteConnection,
    target: &str,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO queue (target, change, lane, opened_at, summary)
         VALUES ($1, 0, 2, $2, '{}')
         ON CONFLICT (target, change) DO UPDATE SET opened_at = queue.opened_at + 1",
    )
    .bind(target)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

async fn accept(
    tx: &mut Writing,
    target: &str,
    objects: &[Uuid],
    (now, resend_at): (i64, i64),
) -> sqlx::Result<()> {
    if objects.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new("UPDATE delivered SET accepted_at = ");
    query.push_bind(now).push(
        ", accepted = COALESCE(sending, accepted), sending = NULL, rejected = NULL, words = NULL,
         valid_until = CASE WHEN sending = 0 THEN 0 ELSE valid_until END,
         revoked = CASE WHEN revoked = 1 THEN 2 ELSE revoked END,
         deletion = 0, deletions = 0,
         resend_at = CASE WHEN doubt <> sending OR deletion = ",
    );
    query.push_bind(ON_ITS_WAY).push(" THEN ");
    query.push_bind(resend_at).push(" WHEN resend_at > ").push_bind(now);
    query.push(" THEN resend_at END, doubt = NULL WHERE target = ").push_bind(target);
    push_uuids(&mut query, " AND object IN ", objects);
    query.build().execute(&mut **tx).await?;
    Ok(())
}

/// Sentinel holds the withdrawal, and its rules still match: what it holds is neither what is wanted nor
/// what was. The withdrawal stays pending and gets a later `modified` and another end. An id that was
/// revoked is used up.
async fn not_over(tx: &mut Writing, target: &str, objects: &[Uuid]) -> sqlx::Result<()> {
    if objects.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "UPDATE delivered SET sending = NULL, rejected = NULL, words = NULL, accepted = ",
    );
    query.push_bind(FOREIGN).push(
        ",
         valid_until = CASE WHEN ended_at > valid_until THEN ended_at ELSE valid_until END,
         revoked = CASE WHEN revoked = 1 THEN 2 ELSE revoked END, deletion = 0, deletions = 0
         WHERE sending = 0 AND target = ",
    );
    query.push_bind(target);
    push_uuids(&mut query, " AND object IN ", objects);
    query.build().execute(&mut **tx).await?;
    Ok(())
}

/// The change that the object of a delivery is part of now.
const CHANGE: &str = "(SELECT w.change FROM targets t JOIN wanted w ON w.view = t.view
    WHERE t.target = delivered.target AND w.object = delivered.object)";

/// A revocation that surely did not happen leaves the id as it was.
const NOT_REVOKED: &str = "revoked = CASE WHEN revoked = 1 THEN 0 ELSE revoked END";

async fn reject(tx: &mut Writing, target: &str, objects: &[(Uuid, String)]) -> sqlx::Result<()> {
    for (object, words) in objects {
        sqlx::query(AssertSqlSafe(format!(
            "UPDATE delivered SET words = $1, resend_at = NULL, rejected = sending,
                 rejected_in = {CHANGE}, sending = NULL, {NOT_REVOKED}
                 WHERE target = $2 AND object = $3 AND sending IS NOT NULL"
        )))
        .bind(words)
        .bind(target)
        .bind(object)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

async fn give_back(tx: &mut Writing, target: &str, objects: &[Sending]) -> sqlx::Result<()> {
    let (known, unknown): (Vec<&Sending>, Vec<&Sending>) =
        objects.iter().partition(|one| one.before == Before::default());
    if !known.is_empty() {
        let mut query = QueryBuilder::<Sqlite>::new(format!(
            "UPDATE delivered SET sending = NULL, doubt = NULL, {NOT_REVOKED} WHERE target = "
        ));
        query.push_bind(target);
        let known: Vec<Uuid> = known.iter().map(|one| one.object).collect();
        push_uuids(&mut query, " AND object IN ", &known);
        query.build().execute(&mut **tx).await?;
    }
    for one in unknown {
        sqlx::query(AssertSqlSafe(format!(
            "UPDATE delivered SET sending = $1, doubt = $2, {NOT_REVOKED}
             WHERE target = $3 AND object = $4"
        )))
        .bind(one.before.sending)
        .bind(one.before.doubt)
        .bind(target)
        .bind(one.object)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}
