//! The queue of a target: the changes that it has not fully taken, and in them the objects whose
//! wanted version is not the delivered one. An index on the change finds them, so that picking a
//! batch costs the same among a hundred and a million objects.

use sqlx::{AssertSqlSafe, QueryBuilder, Sqlite};
use uuid::Uuid;

use super::{Lane, Ledger, clock, push_uuids};

/// A change that a target has not fully taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenChange {
    /// 0 stands for all that the view wants (a target that was added later).
    pub change: i64,
    pub lane: Lane,
    pub event: Option<Uuid>,
    /// When its notice arrived, Unix milliseconds.
    pub opened_at: i64,
    /// JSON for the log line of the event.
    pub summary: String,
}

/// An object to send.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Pending {
    pub object: Uuid,
    pub stix_id: Uuid,
    pub body: String,
    pub valid_from: i64,
    pub valid_until: i64,
    /// 0: a withdrawal.
    pub version: i64,
    /// Withdrawn by `revoked`.
    pub revoke: bool,
    /// No indicator: it has no validity.
    pub context: bool,
    /// This version was rejected, and is tried once more.
    pub retried: bool,
}

/// Objects of a change, and where the next ones begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub found: Vec<Pending>,
    /// To go on after; `None`: there is no more.
    pub next: Option<Uuid>,
}

/// A change is gone through in steps of so many objects, whether they are pending or not, so that no
/// look at it takes long.
const STRIDE: i64 = 500;

/// `rejected_in` of what is tried once more: no change has that number.
pub(super) const TRIED_AGAIN: i64 = -1;

/// Versions that differ from what the target holds or refused, and those whose outcome is unknown;
/// withdrawals also of what may have arrived before a refusal.
/// What has expired unsent is no longer sent, and what has expired at the target needs no upload.
pub(super) const UNSETTLED: &str = "
    (w.version <> COALESCE(d.accepted, 0) OR d.sending IS NOT NULL
     OR w.version = 0 AND d.doubt IS NOT NULL)
    AND (d.rejected IS NULL OR w.version <> d.rejected OR w.change <> d.rejected_in)
    AND (d.valid_until > $1 OR w.version <> 0 AND w.valid_until > $1)";

const PENDING: &str =
    "w.object, w.stix_id, w.body, w.valid_from, w.valid_until, w.version, w.revoke,
     w.kind <> 'indicator' AS context,
     COALESCE(d.rejected = w.version AND d.rejected_in = -1, 0) AS retried";

impl Ledger {
    /// The oldest open changes of a target in a lane, those after `after`.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn open_changes(
        &self,
        target: &str,
        lane: Lane,
        after: i64,
        limit: i64,
    ) -> sqlx::Result<Vec<OpenChange>> {
        let rows: Vec<(i64, Option<Uuid>, i64, String)> = sqlx::query_as(
            "SELECT change, event, opened_at, summary FROM queue
             WHERE target = $1 AND lane = $2 AND change > $3 ORDER BY change LIMIT $4",
        )
        .bind(target)
        .bind(lane.number())
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let open = |(change, event, opened_at, summary)| OpenChange {
            change,
            lane,
            event,
            opened_at,
            summary,
        };
        Ok(rows.into_iter().map(open).collect())
    }

    /// Objects of a change that a target has to be sent, at most `limit`, in the order of their keys,
    /// those after `after`. `now` is Unix milliseconds.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn page(
        &self,
        view: &str,
        target: &str,
        change: i64,
        after: Option<Uuid>,
        now: i64,
        limit: i64,
    ) -> sqlx::Result<Page> {
        let after = after.unwrap_or(Uuid::nil());
        let end = self.stride(view, change, after).await?;
        let which = if change == 0 { "w.view = $6" } else { "w.change = $6" };
        let sql = format!(
            "SELECT {PENDING} FROM wanted w
             LEFT JOIN delivered d ON d.target = $2 AND d.object = w.object
             WHERE {which} AND w.object > $3 AND w.object <= $4 AND ({UNSETTLED})
             ORDER BY w.object LIMIT $5"
        );
        let query = sqlx::query_as(AssertSqlSafe(sql)).bind(now).bind(target).bind(after);
        let query = query.bind(end.unwrap_or(Uuid::max())).bind(limit);
        let query = if change == 0 { query.bind(view) } else { query.bind(change) };
        let found: Vec<Pending> = query.fetch_all(&self.readers).await?;
        let full = i64::try_from(found.len()).is_ok_and(|found| found >= limit);
        let last = found.last().map(|pending| pending.object);
        Ok(Page { found, next: if full { last } else { end } })
    }

    /// The same from as many pages as it takes.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn pending(
        &self,
        view: &str,
        target: &str,
        change: i64,
        mut after: Option<Uuid>,
        now: i64,
        limit: i64,
    ) -> sqlx::Result<Vec<Pending>> {
        let mut all = Vec::new();
        loop {
            let room = limit.saturating_sub(i64::try_from(all.len()).unwrap_or(i64::MAX));
            let page = self.page(view, target, change, after, now, room).await?;
            all.extend(page.found);
            after = page.next;
            if after.is_none() || i64::try_from(all.len()).is_ok_and(|found| found >= limit) {
                return Ok(all);
            }
        }
    }

    /// The key of the object at the end of a stride; `None` where fewer are left.
    async fn stride(&self, view: &str, change: i64, after: Uuid) -> sqlx::Result<Option<Uuid>> {
        let which = if change == 0 { "view = $3" } else { "change = $3" };
        let sql = format!(
            "SELECT object FROM wanted WHERE {which} AND object > $1
             ORDER BY object LIMIT 1 OFFSET $2"
        );
        let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(after).bind(STRIDE - 1);
        let query = if change == 0 { query.bind(view) } else { query.bind(change) };
        query.fetch_optional(&self.readers).await
    }

    /// Objects whose final version is due to be sent once more.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn due_again(
        &self,
        target: &str,
        now: i64,
        limit: i64,
    ) -> sqlx::Result<Vec<Pending>> {
        let sql = format!(
            "SELECT {PENDING} FROM delivered d
             JOIN targets t ON t.target = d.target
             JOIN wanted w ON w.view = t.view AND w.object = d.object
             WHERE d.target = $1 AND d.resend_at <= $2 ORDER BY d.resend_at LIMIT $3"
        );
        sqlx::query_as(AssertSqlSafe(sql))
            .bind(target)
            .bind(now)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
    }

    /// These objects as they are wanted now, as far as the target has still to be sent them.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn pending_of(
        &self,
        target: &str,
        objects: &[Uuid],
        now: i64,
    ) -> sqlx::Result<Vec<Pending>> {
        // A builder numbers its own values only.
        let unsettled = UNSETTLED.replace("$1", &now.to_string());
        let mut query = QueryBuilder::<Sqlite>::new(format!(
            "SELECT {PENDING} FROM targets t
             JOIN wanted w ON w.view = t.view
             LEFT JOIN delivered d ON d.target = t.target AND d.object = w.object
             WHERE ({unsettled}) AND t.target = "
        ));
        query.push_bind(target);
        push_uuids(&mut query, " AND w.object IN ", objects);
        query.build_query_as().fetch_all(&self.readers).await
    }

    /// Takes changes off a target's queue, unless they still have something to send or were opened
    /// anew. Change 0 is taken off unseen: who asks has gone through it. Returns those that are gone.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn close_changes(
        &self,
        view: &str,
        target: &str,
        changes: &[&OpenChange],
        now: i64,
    ) -> sqlx::Result<Vec<i64>> {
        let mut done: Vec<&OpenChange> = Vec::new();
        for open in changes.iter().copied() {
            let empty = open.change == 0
                || self.pending(view, target, open.change, None, now, 1).await?.is_empty();
            done.extend(empty.then_some(open));
        }
        if done.is_empty() {
            return Ok(Vec::new());
        }
        let mut gone = Vec::with_capacity(done.len());
        let mut tx = self.begin().await?;
        // Should this time turn out to be wrong, what had expired by it is looked at again.
        clock::note(&mut tx, now).await?;
        for open in done {
            let deleted = sqlx::query(
                "DELETE FROM queue
                 WHERE target = $1 AND change = $2 AND ($2 <> 0 OR opened_at = $3)",
            )
            .bind(target)
            .bind(open.change)
            .bind(open.opened_at)
            .execute(&mut *tx)
            .await?;
            gone.extend((open.change != 0 || deleted.rows_affected() > 0).then_some(open.change));
        }
        tx.commit().await?;
        Ok(gone)
    }
}
