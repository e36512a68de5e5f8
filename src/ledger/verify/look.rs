//! How objects stand at a target.

use std::collections::HashMap;

use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use super::super::sending::rendered;
use super::super::wanted::WITHDRAWN;
use super::super::{Ledger, Pending, push_uuids};
use crate::pure::verify::{AcceptedCount as Count, Stand};

/// An object that the ledger knows, and how it stands at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub object: Uuid,
    pub stix_id: Uuid,
    pub stand: Stand,
    /// To be named again in a [`super::Mending`].
    pub accepted_at: Option<i64>,
}

/// Something that a target must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Delivered {
    pub object: Uuid,
    pub stix_id: Uuid,
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    pending: Pending,
    created: Option<i64>,
    modified: Option<i64>,
    accepted: Option<i64>,
    accepted_at: Option<i64>,
    held_until: Option<i64>,
    ended_at: Option<i64>,
    moves: bool,
}

/// A request of unknown outcome, or one that must go once more.
const MOVES: &str = "(d.sending IS NOT NULL OR d.doubt IS NOT NULL OR d.resend_at IS NOT NULL)";

impl Ledger {
    /// How these STIX ids of a kind stand at a target, those that the ledger knows. Of several objects
    /// with one id the live one counts, else the newest.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn accepted_of(
        &self,
        target: &str,
        kind: &str,
        ids: &[Uuid],
        now: i64,
    ) -> sqlx::Result<HashMap<Uuid, Accepted>> {
        let mut rows: Vec<Row> = Vec::with_capacity(ids.len());
        // Each by its own index.
        for (column, which) in
            [("object", "w.stix_id = w.object"), ("stix_id", "w.stix_id <> w.object")]
        {
            let mut query = QueryBuilder::<Sqlite>::new(format!(
                "SELECT w.object, w.stix_id, w.body, w.valid_from, w.valid_until, w.version, w.revoke,
                     w.kind <> 'indicator' AS context, FALSE AS retried,
                     d.created, d.modified, d.accepted,
                     d.accepted_at, d.valid_until AS held_until, d.ended_at,
                     COALESCE({MOVES}, FALSE) AS moves
                 FROM wanted w LEFT JOIN delivered d ON d.object = w.object AND d.target = "
            ));
            query.push_bind(target);
            query.push(" WHERE w.view = (SELECT view FROM targets WHERE target = ");
            query.push_bind(target).push(") AND w.kind = ").push_bind(kind);
            query.push(format!(" AND {which}"));
            push_uuids(&mut query, &format!(" AND w.{column} IN "), ids);
            rows.extend(query.build_query_as::<Row>().fetch_all(&self.readers).await?);
        }
        rows.sort_by_key(|row| (row.pending.version != WITHDRAWN, row.modified));
        Ok(rows.iter().map(|row| (row.pending.stix_id, row.accepted(now))).collect())
    }

    /// What a target accepted of a kind as it is wanted, and is not over, in the order of the objects,
    /// those after `after`.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn delivered_after(
        &self,
        target: &str,
        kind: &str,
        after: Uuid,
        now: i64,
        limit: i64,
    ) -> sqlx::Result<Vec<Delivered>> {
        sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "SELECT w.object, w.stix_id FROM delivered d
             JOIN wanted w ON w.view = (SELECT view FROM targets WHERE target = $1)
                 AND w.object = d.object
             WHERE d.target = $1 AND d.object > $2 AND w.kind = $3 AND w.version <> 0
                 AND d.accepted = w.version AND NOT {MOVES} AND w.valid_until > $4
             ORDER BY d.object LIMIT $5"
        )))
        .bind(target)
        .bind(after)
        .bind(kind)
        .bind(now)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
    }

    /// How many objects of a kind a target accepted, and how many of them are over.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn delivered_count(&self, target: &str, kind: &str, now: i64) -> sqlx::Result<Count> {
        let (live, ended): (i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE is_live), count(*) FILTER (WHERE NOT is_live)
             FROM (SELECT d.accepted <> 0 AND (d.valid_until IS NULL OR d.valid_until > $3) AS is_live
                 FROM delivered d
                 JOIN wanted w ON w.view = (SELECT view FROM targets WHERE target = $1)
                     AND w.object = d.object
                 WHERE d.target = $1 AND w.kind = $2 AND d.accepted IS NOT NULL) AS held",
        )
        .bind(target)
        .bind(kind)
        .bind(now)
        .fetch_one(&self.readers)
        .await?;
        Ok(Count { live: live.unsigned_abs(), ended: ended.unsigned_abs() })
    }
}

impl Row {
    fn accepted(&self, now: i64) -> Accepted {
        let Pending { object, stix_id, .. } = self.pending;
        Accepted { object, stix_id, stand: self.stand(now), accepted_at: self.accepted_at }
    }

    fn stand(&self, now: i64) -> Stand {
        let Self { pending, accepted_at, .. } = self;
        let (Some(created), Some(modified)) = (self.created, self.modified) else {
            return if pending.version == WITHDRAWN { Stand::NeverSent } else { Stand::Moving };
        };
        let Some(accepted_at) = accepted_at.filter(|_| !self.moves) else { return Stand::Moving };
        if self.is_over(now) {
            return Stand::Expired;
        }
        match pending.version {
            version if self.accepted != Some(version) => Stand::Moving,
            WITHDRAWN => Stand::Ended { accepted_at, modified, ended_at: self.ended_at },
            _ => Stand::Live { json: rendered(pending, created, modified), accepted_at },
        }
    }

    /// What the target accepted is over, and so is what is wanted: nothing of it is to be sent.
    fn is_over(&self, now: i64) -> bool {
        let Self { pending, accepted, held_until, .. } = self;
        let is_held = *accepted != Some(WITHDRAWN) && held_until.is_none_or(|until| until > now);
        let is_wanted = pending.version != WITHDRAWN && pending.valid_until > now;
        let ended = pending.version == WITHDRAWN && *accepted == Some(WITHDRAWN);
        !pending.context && !is_held && !is_wanted && !ended
    }
}
