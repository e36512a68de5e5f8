//! Sightings: false positives and expirations that users of MISP report of attributes. They are kept
//! beside the claims, whether or not the attribute claims anything yet, and outlive publications.

use std::collections::HashSet;

use uuid::Uuid;

use super::change::Change;
use super::judgement::Origin;
use super::wanted::refresh;
use super::{Ledger, Writer, Writing};
use crate::pure::misp::{Sighting, SightingKind};

/// The date of the newest expiration of a row of `claims`, Unix milliseconds.
pub(super) const EXPIRES_AT: &str = "(SELECT s.at * 1000 FROM sightings s
    WHERE s.source = claims.source AND s.attribute = claims.attribute AND s.kind = 2
    AND s.value IN (claims.value, '') ORDER BY s.number DESC, s.at DESC LIMIT 1)";

/// How many false positives were reported of a row of `claims`.
pub(super) const FALSE_POSITIVES: &str = "(SELECT count(*) FROM sightings s
    WHERE s.source = claims.source AND s.attribute = claims.attribute AND s.kind = 1
    AND s.value IN (claims.value, ''))";

/// A sighting of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sighted {
    pub attribute: Uuid,
    pub sighting: Sighting,
    /// Of the observables that were sighted; empty: whatever the attribute claims.
    pub values: Vec<String>,
}

/// Takes in sightings of an event's attributes, and merges anew what they change; how many were news.
pub(super) async fn take_in(
    tx: &mut Writing,
    event: (&str, Uuid),
    sighted: &[Sighted],
    change: &mut Change<'_>,
) -> sqlx::Result<usize> {
    let mut touched = HashSet::new();
    let mut news = 0;
    for one in sighted {
        if store(tx, event, one, change.opened_at).await? {
            touched.insert(one.attribute);
            news += 1;
        }
    }
    merge_anew(tx, event, &touched, change).await?;
    Ok(news)
}

/// MISP has deleted a sighting. Whether it was known.
pub(super) async fn take_back(
    tx: &mut Writing,
    event: (&str, Uuid),
    (attribute, sighting): (Uuid, Uuid),
    change: &mut Change<'_>,
) -> sqlx::Result<bool> {
    let known = delete(tx, event.0, (attribute, sighting)).await?;
    if known {
        merge_anew(tx, event, &HashSet::from([attribute]), change).await?;
    }
    Ok(known)
}

/// Takes back the event's sightings that a read of all of them does not show; it `began` after they
/// were heard of.
async fn take_back_unshown(
    tx: &mut Writing,
    event: (&str, Uuid),
    (shown, began): (&HashSet<Uuid>, i64),
    change: &mut Change<'_>,
) -> sqlx::Result<()> {
    let known: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "SELECT DISTINCT attribute, sighting FROM sightings
         WHERE source = $1 AND event = $2 AND heard_at < $3",
    )
    .bind(event.0)
    .bind(event.1)
    .bind(began)
    .fetch_all(&mut **tx)
    .await?;
    let mut touched = HashSet::new();
    for (attribute, sighting) in known.into_iter().filter(|(_, one)| !shown.contains(one)) {
        delete(tx, event.0, (attribute, sighting)).await?;
        touched.insert(attribute);
    }
    merge_anew(tx, event, &touched, change).await
}

pub(super) async fn merge_anew(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
    attributes: &HashSet<Uuid>,
    change: &mut Change<'_>,
) -> sqlx::Result<()> {
    let mut objects = Vec::new();
    for attribute in attributes {
        let claimed: Vec<Uuid> = sqlx::query_scalar(
            "SELECT object FROM claims WHERE source = $1 AND event = $2 AND attribute = $3",
        )
        .bind(source)
        .bind(event)
        .bind(attribute)
        .fetch_all(&mut **tx)
        .await?;
        objects.extend(claimed);
    }
    objects.sort_unstable();
    objects.dedup();
    refresh(tx, &objects, change).await
}

#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
struct Row {
    value: String,
    kind: i16,
    number: i64,
    at: i64,
}

/// Whether it is news.
async fn store(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
    sighted: &Sighted,
    now: i64,
) -> sqlx::Result<bool> {
    let Sighted { attribute, sighting, .. } = *sighted;
    let Sighting { uuid: sighting, number, kind, at } = sighting;
    let known: Vec<Row> = sqlx::query_as(
        "SELECT value, kind, number, at FROM sightings
         WHERE source = $1 AND attribute = $2 AND sighting = $3 ORDER BY value",
    )
    .bind(source)
    .bind(attribute)
    .bind(sighting)
    .fetch_all(&mut **tx)
    .await?;
    let kind = code(kind);
    let row = |value| Row { value, kind, number, at };
    let mut values = sighted.values.clone();
    if values.is_empty() && !known.is_empty() {
        return Ok(false);
    }
    if values.is_empty() {
        values = claimed_values(tx, (source, event), attribute).await?;
    }
    values.sort_unstable();
    values.dedup();
    let rows: Vec<Row> = values.into_iter().map(row).collect();
    if rows == known {
        return Ok(false);
    }
    delete(tx, source, (attribute, sighting)).await?;
    for row in rows {
        sqlx::query(
            "INSERT INTO sightings
                 (source, attribute, sighting, value, kind, number, at, event, heard_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(source)
        .bind(attribute)
        .bind(sighting)
        .bind(row.value)
        .bind(row.kind)
        .bind(row.number)
        .bind(row.at)
        .bind(event)
        .bind(now)
        .execute(&mut **tx)
        .await?;
    }
    Ok(true)
}

/// What the attribute claims now; the empty value if that is nothing.
async fn claimed_values(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
    attribute: Uuid,
) -> sqlx::Result<Vec<String>> {
    let values: Vec<String> = sqlx::query_scalar(
        "SELECT value FROM claims WHERE source = $1 AND event = $2 AND attribute = $3",
    )
    .bind(source)
    .bind(event)
    .bind(attribute)
    .fetch_all(&mut **tx)
    .await?;
    Ok(if values.is_empty() { vec![String::new()] } else { values })
}

async fn delete(
    tx: &mut Writing,
    source: &str,
    (attribute, sighting): (Uuid, Uuid),
) -> sqlx::Result<bool> {
    let done =
        sqlx::query("DELETE FROM sightings WHERE source = $1 AND attribute = $2 AND sighting = $3")
            .bind(source)
            .bind(attribute)
            .bind(sighting)
            .execute(&mut **tx)
            .await?;
    Ok(done.rows_affected() > 0)
}

fn code(kind: SightingKind) -> i16 {
    match kind {
        SightingKind::FalsePositive => 1,
        SightingKind::Expiration => 2,
    }
}

/// Sightings looked at in a step of forgetting.
const STEP: i64 = 1_000;

/// A sighting of which a read that began so soon after it may not know, milliseconds.
const JUST: i64 = 2_000;

impl Writer {
    /// What a read does not show was deleted, unless the key may not see all.
    pub(super) async fn take_back_unshown(
        &self,
        tx: &mut Writing,
        (event, origin): (Uuid, Origin),
        shown: &HashSet<Uuid>,
        change: &mut Change<'_>,
    ) -> sqlx::Result<()> {
        let key = self.settings.rest.as_ref().map(|rest| &rest.key);
        let sees_all = key.is_some_and(|key| key.sees_all() && key.is_accepted());
        let (Origin::Read(read), true) = (origin, sees_all) else { return Ok(()) };
        let event = (self.settings.source.as_str(), event);
        let began = read.began.saturating_sub(JUST);
        take_back_unshown(tx, event, (shown, began), change).await
    }
}

impl Ledger {
    /// Forgets sightings from before `before` of attributes that claim nothing, among the next ones
    /// heard of after `after` (Unix milliseconds); returns where to go on, and how many.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub(super) async fn forget_sightings(
        &self,
        after: i64,
        before: i64,
    ) -> sqlx::Result<(i64, u64)> {
        let slice: Vec<i64> = sqlx::query_scalar(
            "SELECT heard_at FROM sightings WHERE heard_at > $1 AND heard_at < $2
             ORDER BY heard_at LIMIT $3",
        )
        .bind(after)
        .bind(before)
        .bind(STEP)
        .fetch_all(&self.readers)
        .await?;
        let Some(last) = slice.last().copied() else { return Ok((0, 0)) };
        let done = sqlx::query(
            "DELETE FROM sightings WHERE heard_at > $1 AND heard_at <= $2 AND NOT EXISTS
                 (SELECT 1 FROM claims c WHERE c.source = sightings.source
                  AND c.event = sightings.event AND c.attribute = sightings.attribute)",
        )
        .bind(after)
        .bind(last)
        .execute(&self.writer)
        .await?;
        let is_end = i64::try_from(slice.len()).is_ok_and(|rows| rows < STEP);
        Ok((if is_end { 0 } else { last }, done.rows_affected()))
    }
}
