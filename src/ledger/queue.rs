//! The queue of a target: the changes that it has not fully taken, and in them the objects whose
//! wanted version is not the delivered one. An index on the change finds them, so that picking a
//! batch costs the same among a hundred and a million objects.

use std::collections::HashSet;

use sqlx::{AssertSqlSafe, QueryBuilder, Sqlite};
use uuid::Uuid;

use super::{Lane, Ledger, push_uuids};

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
}

/// Versions that differ from what the target holds or refused, and those whose outcome is unknown.
/// What has expired unsent is no longer sent, and what has expired at the target needs no upload.
const UNSETTLED: &str = "
    (w.version <> COALESCE(d.accepted, 0) OR d.sending IS NOT NULL)
    AND w.version <> COALESCE(d.rejected, -1)
    AND (d.valid_until > $1 OR w.version <> 0 AND w.valid_until > $1)";

const PENDING: &str = "w.object, w.stix_id, w.body, w.valid_from, w.valid_until, w.version";

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

    /// Objects of a change that a target has to be sent, in the order of their keys, those after
    /// `after`. `now` is Unix milliseconds.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn pending(
        &self,
        view: &str,
        target: &str,
        change: i64,
        after: Option<Uuid>,
        (now, limit): (i64, i64),
    ) -> sqlx::Result<Vec<Pending>> {
        let which = if change == 0 { "w.view = $5" } else { "w.change = $5" };
        let sql = format!(
            "SELECT {PENDING} FROM wanted w
             LEFT JOIN delivered d ON d.target = $2 AND d.object = w.object
             WHERE {which} AND w.object > $3 AND ({UNSETTLED}) ORDER BY w.object LIMIT $4"
        );
        let query = sqlx::query_as(AssertSqlSafe(sql))
            .bind(now)
            .bind(target)
            .bind(after.unwrap_or(Uuid::nil()))
            .bind(limit);
        let query = if change == 0 { query.bind(view) } else { query.bind(change) };
        query.fetch_all(&self.readers).await
    }

    /// Objects whose final version is due to be sent once more.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn due_again(&self, target: &str, now: i64) -> sqlx::Result<Vec<Pending>> {
        let sql = format!(
            "SELECT {PENDING} FROM delivered d
             JOIN targets t ON t.target = d.target
             JOIN wanted w ON w.view = t.view AND w.object = d.object
             WHERE d.target = $1 AND d.resend_at <= $2 ORDER BY d.resend_at LIMIT 100"
        );
        sqlx::query_as(AssertSqlSafe(sql)).bind(target).bind(now).fetch_all(&self.readers).await
    }

    /// These objects as they are wanted now.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn wanted_now(
        &self,
        target: &str,
        objects: &HashSet<Uuid>,
    ) -> sqlx::Result<Vec<Pending>> {
        let mut query = QueryBuilder::<Sqlite>::new(format!(
            "SELECT {PENDING} FROM wanted w WHERE w.view = (SELECT view FROM targets WHERE target = "
        ));
        query.push_bind(target).push(")");
        let objects: Vec<Uuid> = objects.iter().copied().collect();
        push_uuids(&mut query, " AND w.object IN ", &objects);
        query.build_query_as().fetch_all(&self.readers).await
    }

    /// Takes those changes off a target's queue of which nothing is pending; returns them.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn close_changes(
        &self,
        view: &str,
        target: &str,
        changes: &[i64],
    ) -> sqlx::Result<HashSet<i64>> {
        let mut over = HashSet::new();
        for change in changes {
            let at = (Self::now(), 1);
            if self.pending(view, target, *change, None, at).await?.is_empty() {
                over.insert(*change);
            }
        }
        if over.is_empty() {
            return Ok(over);
        }
        let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM queue WHERE target = ");
        query.push_bind(target).push(" AND change IN (");
        let mut list = query.separated(", ");
        for change in &over {
            list.push_bind(*change);
        }
        query.push(")");
        query.build().execute(&self.writer).await?;
        Ok(over)
    }
}
