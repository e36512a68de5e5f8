//! What targets were sent. `created` and `modified` are assigned when a version is first sent and
//! stored before sending, so that a repeat after a crash or a lost answer is byte-identical.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::verify::ON_ITS_WAY;
use super::wanted::WITHDRAWN;
use super::{Ledger, Pending, Writing, push_uuids};
use crate::stix;

/// An object on its way to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    pub object: Uuid,
    pub stix_id: Uuid,
    /// 0: a withdrawal.
    pub version: i64,
    /// The STIX object as it goes over the wire.
    pub json: String,
    before: Before,
}

impl Sending {
    /// Whether it ends the indicator.
    #[must_use]
    pub fn is_withdrawal(&self) -> bool {
        self.version == WITHDRAWN
    }
}

/// Versions whose outcome was unknown already before this attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Before {
    sending: Option<i64>,
    doubt: Option<i64>,
}

/// How a request ended for its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement<'a> {
    Accepted(&'a [Uuid]),
    /// With Sentinel's words.
    Rejected(&'a [(Uuid, String)]),
    /// Surely not processed: as before this attempt.
    Returned(&'a [Sending]),
}

impl Ledger {
    /// Stores that these objects are being sent and renders them. Those that changed since they
    /// were picked are left out: their new version is in another change.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn mark_sending(
        &self,
        target: &str,
        picked: &[Pending],
        now: i64,
    ) -> sqlx::Result<Vec<Sending>> {
        let mut tx = self.begin().await?;
        let before = in_doubt(&mut tx, target, picked).await?;
        let times = mark(&mut tx, target, picked, now).await?;
        tx.commit().await?;
        self.note_written();
        let render = |pending: &Pending| {
            let before = before.get(&pending.object).copied().unwrap_or_default();
            Some(sending(pending, *times.get(&pending.object)?, before))
        };
        Ok(picked.iter().filter_map(render).collect())
    }

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

    /// Puts what a target (or every target) rejected back into the queue; returns how many objects.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn retry_rejected(&self, target: Option<&str>, now: i64) -> sqlx::Result<u64> {
        let mut tx = self.begin().await?;
        let targets: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT target FROM delivered
             WHERE rejected IS NOT NULL AND ($1 IS NULL OR target = $1)",
        )
        .bind(target)
        .fetch_all(&mut *tx)
        .await?;
        let retried = sqlx::query(
            "UPDATE delivered SET rejected = NULL, words = NULL
             WHERE rejected IS NOT NULL AND ($1 IS NULL OR target = $1)",
        )
        .bind(target)
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

/// `created` and `modified` of each object that is still wanted as it was picked.
async fn mark(
    tx: &mut Writing,
    target: &str,
    picked: &[Pending],
    now: i64,
) -> sqlx::Result<HashMap<Uuid, (i64, i64)>> {
    let mut times = HashMap::with_capacity(picked.len());
    for pending in picked {
        let row: Option<(i64, i64)> = sqlx::query_as(
            "INSERT INTO delivered
                 (target, object, created, modified, sending, valid_until, revoked, context)
             SELECT $1, object, $2, $2, version, CASE version WHEN 0 THEN 0 ELSE valid_until END,
                 version = 0 AND revoke, kind <> 'indicator'
             FROM wanted WHERE object = $3 AND version = $4
                 AND view = (SELECT view FROM targets WHERE target = $1)
             ON CONFLICT (target, object) DO UPDATE SET
                 doubt = CASE WHEN delivered.sending <> excluded.sending
                           OR delivered.doubt IS NULL
                         THEN delivered.sending ELSE delivered.doubt END,
                 modified = CASE WHEN delivered.sending = excluded.sending
                                   OR delivered.accepted = excluded.sending
                            THEN delivered.modified
                            WHEN excluded.modified > delivered.modified THEN excluded.modified
                            ELSE delivered.modified + 1 END,
                 valid_until = CASE WHEN delivered.valid_until > excluded.valid_until
                               THEN delivered.valid_until ELSE excluded.valid_until END,
                 sending = excluded.sending,
                 revoked = CASE WHEN excluded.revoked = 0 THEN delivered.revoked
                           WHEN delivered.revoked = 0 THEN 1 ELSE 2 END
             RETURNING created, modified",
        )
        .bind(target)
        .bind(now)
        .bind(pending.object)
        .bind(pending.version)
        .fetch_optional(&mut **tx)
        .await?;
        times.extend(row.map(|row| (pending.object, row)));
    }
    Ok(times)
}

/// Those of the picked objects that a request of unknown outcome holds.
async fn in_doubt(
    tx: &mut Writing,
    target: &str,
    picked: &[Pending],
) -> sqlx::Result<HashMap<Uuid, Before>> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT object, sending, doubt FROM delivered
         WHERE (sending IS NOT NULL OR doubt IS NOT NULL) AND target = ",
    );
    query.push_bind(target);
    let objects: Vec<Uuid> = picked.iter().map(|pending| pending.object).collect();
    push_uuids(&mut query, " AND object IN ", &objects);
    let rows: Vec<(Uuid, Option<i64>, Option<i64>)> =
        query.build_query_as().fetch_all(&mut **tx).await?;
    let before = |(object, sending, doubt)| (object, Before { sending, doubt });
    Ok(rows.into_iter().map(before).collect())
}

fn sending(pending: &Pending, (created, modified): (i64, i64), before: Before) -> Sending {
    let json = rendered(pending, created, modified);
    let Pending { object, stix_id, version, .. } = *pending;
    Sending { object, stix_id, version, json, before }
}

/// The object as it goes over the wire.
pub(super) fn rendered(pending: &Pending, created: i64, modified: i64) -> String {
    match (pending.version, pending.revoke) {
        (version, _) if pending.context => {
            stix::context(&pending.body, version == WITHDRAWN, created, modified)
        }
        (WITHDRAWN, true) => stix::revoked(&pending.body, pending.valid_until, created, modified),
        (WITHDRAWN, false) => stix::withdrawn(&pending.body, pending.valid_from, modified, created),
        _ => stix::live(&pending.body, pending.valid_until, created, modified),
    }
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
