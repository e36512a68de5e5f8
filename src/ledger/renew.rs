//! `expiry.renew`: what MISP still claims at half of its life lives on. A claim's `claimed_at` moves on
//! by whole half-lives, so that the same moment gives the same date, whenever it is looked at.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::change::Change;
use super::sightings::EXPIRES_AT;
use super::wanted::{decode, refresh};
use super::{Lane, Ledger, Views};
use crate::convert::ClaimFacts;
use crate::stix::{ClaimTimes, Observable};

/// Claims looked at in a step.
const STEP: i64 = 2_500;

/// A claim's primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimKey {
    source: String,
    event: Uuid,
    attribute: Uuid,
    part: i16,
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    source: String,
    event: Uuid,
    attribute: Uuid,
    part: i16,
    object: Uuid,
    path: String,
    value: String,
    claimed_at: i64,
    expires_at: Option<i64>,
    facts: String,
}

impl Row {
    fn key(&self) -> ClaimKey {
        let Self { source, event, attribute, part, .. } = self;
        ClaimKey { source: source.clone(), event: *event, attribute: *attribute, part: *part }
    }

    fn renewed(&self, views: &Views, now: i64) -> sqlx::Result<i64> {
        let facts: ClaimFacts = decode(&self.facts)?;
        let times = ClaimTimes::of(&facts, self.claimed_at, self.expires_at);
        let observable = Observable { path: self.path.clone().into(), value: self.value.clone() };
        Ok(views.expiry().renewed(&times, &observable, now))
    }
}

impl Ledger {
    /// Renews what is due among the next claims after `after`, in the backlog lane; returns where to
    /// go on (`None`: from the beginning), and how many were renewed.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(super) async fn renew(
        &self,
        views: &Views,
        after: Option<ClaimKey>,
        now: i64,
    ) -> sqlx::Result<(Option<ClaimKey>, u64)> {
        let rows = self.claims_after(after).await?;
        let next = rows.last().map(Row::key);
        let next = next.filter(|_| i64::try_from(rows.len()).is_ok_and(|rows| rows >= STEP));
        let mut due = Vec::new();
        for row in rows {
            let from = row.renewed(views, now)?;
            if from != row.claimed_at {
                due.push((row, from));
            }
        }
        if due.is_empty() {
            return Ok((next, 0));
        }
        let mut tx = self.begin().await?;
        let mut objects = Vec::with_capacity(due.len());
        for (row, from) in &due {
            // Unless the claim has become another since.
            let renewed: Option<Uuid> = sqlx::query_scalar(
                "UPDATE claims SET claimed_at = $1
                 WHERE source = $2 AND event = $3 AND attribute = $4 AND part = $5
                 AND object = $6 AND claimed_at = $7 RETURNING object",
            )
            .bind(from)
            .bind(&row.source)
            .bind(row.event)
            .bind(row.attribute)
            .bind(row.part)
            .bind(row.object)
            .bind(row.claimed_at)
            .fetch_optional(&mut *tx)
            .await?;
            objects.extend(renewed);
        }
        objects.sort_unstable();
        objects.dedup();
        let mut change = Change::new(views, None, now);
        change.lane = Lane::Backlog;
        refresh(&mut tx, &objects, &mut change).await?;
        self.commit(tx, &change).await?;
        Ok((next, due.len() as u64))
    }

    async fn claims_after(&self, after: Option<ClaimKey>) -> sqlx::Result<Vec<Row>> {
        let after = after.unwrap_or(ClaimKey {
            source: String::new(),
            event: Uuid::nil(),
            attribute: Uuid::nil(),
            part: -1,
        });
        sqlx::query_as(AssertSqlSafe(format!(
            "SELECT source, event, attribute, part, object, path, value, claimed_at, facts,
                 {EXPIRES_AT} AS expires_at
             FROM claims WHERE (source, event, attribute, part) > ($1, $2, $3, $4)
             ORDER BY source, event, attribute, part LIMIT $5"
        )))
        .bind(&after.source)
        .bind(after.event)
        .bind(after.attribute)
        .bind(after.part)
        .bind(STEP)
        .fetch_all(&self.readers)
        .await
    }
}
