//! `expiry.renew`: what MISP still claims at half of its life lives on. A claim's `claimed_at` moves on
//! by whole half-lives, so that the same moment gives the same date, whenever it is looked at.

use uuid::Uuid;

use super::change::Change;
use super::claims::{ClaimKey, behind};
use super::owner::Unit;
use super::sightings::expires_at;
use super::sql::{Columns, FromRow, Result, SqlError, statements, values};
use super::wanted::{decode, refresh};
use super::{Lane, Ledger, Views};
use crate::pure::convert::ClaimFacts;
use crate::pure::stix::{ClaimTimes, Observable, Sight};

statements! {
    /// See [`behind`].
    NEXT(Text, Bytes, Bytes, Integer, Integer) = concat!(
        "SELECT source, event, attribute, part, object, path, value, claimed_at, heard_at, ",
        expires_at!(), ", facts FROM claims
         WHERE (source, event, attribute, part) > ($1, $2, $3, $4)
         ORDER BY source, event, attribute, part LIMIT $5"
    );
    /// Unless the claim has become another since.
    RENEW(Integer, Text, Bytes, Bytes, Integer, Bytes, Integer) = "UPDATE claims SET claimed_at = $1
         WHERE source = $2 AND event = $3 AND attribute = $4 AND part = $5
         AND object = $6 AND claimed_at = $7";
}

/// Claims looked at in a step.
const STEP: i64 = 2_500;

#[derive(Debug)]
struct Row {
    key: ClaimKey,
    object: Uuid,
    path: String,
    value: String,
    claimed_at: i64,
    heard_at: i64,
    expires_at: Option<i64>,
    facts: String,
}

impl FromRow for Row {
    fn from_row(columns: &mut Columns<'_>) -> Result<Self, SqlError> {
        Ok(Self {
            key: ClaimKey::from_row(columns)?,
            object: columns.take()?,
            path: columns.take()?,
            value: columns.take()?,
            claimed_at: columns.take()?,
            heard_at: columns.take()?,
            expires_at: columns.take()?,
            facts: columns.take()?,
        })
    }
}

impl Row {
    fn renewed(&self, views: &Views, now: i64) -> Result<i64> {
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
    pub(super) async fn renew(
        &self,
        views: &Views,
        after: Option<ClaimKey>,
        now: i64,
    ) -> Result<(Option<ClaimKey>, u64)> {
        let place = after.unwrap_or_else(ClaimKey::least);
        let rows: Vec<Row> = self.read(move |tx| behind(tx, &NEXT, &place, STEP)).await?;
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
        let renewed = due.len() as u64;
        let views = views.clone();
        self.write(move |unit| write(unit, &views, &due, now)).await?;
        Ok((next, renewed))
    }
}

/// Writes from when these claims count now, and merges anew what that changes.
fn write(unit: &Unit<'_>, views: &Views, due: &[(Row, i64)], now: i64) -> Result<()> {
    let mut objects = Vec::with_capacity(due.len());
    for (row, from) in due {
        let ClaimKey { source, event, attribute, part } = &row.key;
        let values = values![from, source, event, attribute, *part, row.object, row.claimed_at];
        if unit.execute(&RENEW, &values)? > 0 {
            objects.push(row.object);
        }
    }
    objects.sort_unstable();
    objects.dedup();
    let mut change = Change::new(views, None, now);
    change.lane = Lane::Backlog;
    refresh(unit, &objects, &mut change)?;
    unit.wake(&change);
    Ok(())
}
