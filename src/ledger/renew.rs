//! `expiry.renew`: what MISP still claims at half of its life lives on. A claim's `claimed_at` moves on
//! by whole half-lives, so that the same moment gives the same date, whenever it is looked at.

use uuid::Uuid;

use super::change::Change;
use super::claims::{ClaimKey, behind};
use super::sightings::EXPIRES_AT;
use super::wanted::{decode, refresh};
use super::{Lane, Ledger, Views};
use crate::pure::convert::ClaimFacts;
use crate::pure::stix::{ClaimTimes, Observable, Sight};

/// Claims looked at in a step.
const STEP: i64 = 2_500;

#[derive(Debug, sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    key: ClaimKey,
    object: Uuid,
    path: String,
    value: String,
    claimed_at: i64,
    heard_at: i64,
    expires_at: Option<i64>,
    facts: String,
}

impl Row {
    fn renewed(&self, views: &Views, now: i64) -> sqlx::Result<i64> {
        let facts: ClaimFacts = decode(&self.facts)?;
        let Self { claimed_at, heard_at, expires_at, .. } = *self;
        let times = ClaimTimes::of(&facts, Sight { claimed_at, heard_at }, expires_at);
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
        let place = after.unwrap_or_else(ClaimKey::least);
        let columns =
            format!("object, path, value, claimed_at, heard_at, facts, {EXPIRES_AT} AS expires_at");
        let rows: Vec<Row> = behind(&self.readers, &place, &columns, STEP).await?;
        let next = rows.last().map(|row| row.key.clone());
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
            .bind(&row.key.source)
            .bind(row.key.event)
            .bind(row.key.attribute)
            .bind(row.key.part)
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
}
