//! The guard: what MISP shows no longer, without saying that it was deleted, ends only within a
//! measure. Beyond it the claims stand until an operator releases them, so that a MISP that answers
//! wrongly never empties a SIEM.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use super::apply::STEP;
use super::change::Change;
use super::claims::{self, Place, ROWS, Stored};
use super::generations::by_column;
use super::wanted::{decode, refresh};
use super::withdraw::touch;
use super::writer::millis;
use super::{Ledger, View, Views, Writing, push_uuids};
use crate::config::Guard;
use crate::pure::convert::EventFacts;

/// Which of the absent claims stand: all of them, or those that an operator has not released yet.
pub(super) async fn hold(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
    (absent, measure): (&[(Place, Stored)], &Guard),
    change: &Change<'_>,
) -> sqlx::Result<Vec<Place>> {
    let held = held_of(tx, source, event).await?;
    let (mut kept, fresh): (Vec<_>, Vec<_>) =
        absent.iter().copied().partition(|(place, _)| held.contains(place));
    // By observable: how many attributes claim it no longer.
    let mut attributes: HashMap<Uuid, HashSet<Uuid>> = HashMap::new();
    for ((attribute, _), stored) in &fresh {
        attributes.entry(stored.object).or_default().insert(*attribute);
    }
    if !attributes.is_empty() {
        let mut going = Vec::new();
        for view in change.views.iter() {
            going.push((view.name.clone(), count_live(tx, view, &attributes).await?));
        }
        if !infer(tx, (source, &going), measure, change.opened_at).await? {
            kept.extend(fresh);
        }
    }
    let kept: Vec<Place> = kept.into_iter().map(|(place, _)| place).collect();
    if !(held.is_empty() && kept.is_empty()) {
        store_held(tx, (source, event), &kept, change.opened_at).await?;
    }
    if kept.len() > held.len() {
        tracing::error!(
            %event, claims = kept.len(),
            "MISP shows these claims no longer without having deleted them, more than guard.max and guard.percent allow: they stand; look with `held`, then `release` them or mend MISP"
        );
    }
    Ok(kept)
}

async fn held_of(tx: &mut Writing, source: &str, event: Uuid) -> sqlx::Result<HashSet<Place>> {
    let rows: Vec<Place> =
        sqlx::query_as("SELECT attribute, part FROM held WHERE source = $1 AND event = $2")
            .bind(source)
            .bind(event)
            .fetch_all(&mut **tx)
            .await?;
    Ok(rows.into_iter().collect())
}

/// Forgets that claims of the event are held which are no longer there.
pub(super) async fn forget_gone(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
) -> sqlx::Result<()> {
    sqlx::query(
        "DELETE FROM held WHERE source = $1 AND event = $2 AND NOT EXISTS (
             SELECT 1 FROM claims c WHERE c.source = held.source AND c.event = held.event
             AND c.attribute = held.attribute AND c.part = held.part)",
    )
    .bind(source)
    .bind(event)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether so many live objects may be withdrawn by inference now: in each view, with what went
/// before, no more than the measure. If so, they are counted.
pub(super) async fn infer(
    tx: &mut Writing,
    (source, going): (&str, &[(String, i64)]),
    measure: &Guard,
    now: i64,
) -> sqlx::Result<bool> {
    let since = now.saturating_sub(millis(measure.window));
    for (view, going) in going {
        if !allows(tx, (source, view), (*going, since), measure).await? {
            return Ok(false);
        }
    }
    for (view, objects) in going {
        sqlx::query("INSERT INTO inferred (source, view, at, objects) VALUES ($1, $2, $3, $4)")
            .bind(source)
            .bind(view)
            .bind(now)
            .bind(objects)
            .execute(&mut **tx)
            .await?;
    }
    Ok(true)
}

/// How many live indicators lose claims: of an observable, no more than attributes go.
async fn count_live(
    tx: &mut Writing,
    view: &View,
    attributes: &HashMap<Uuid, HashSet<Uuid>>,
) -> sqlx::Result<i64> {
    let objects: Vec<Uuid> = attributes.keys().copied().collect();
    let columns: &[&'static str] =
        if view.is_by_attribute() { &["observable"] } else { &["object", "claimed"] };
    let mut live = 0;
    for (column, objects) in by_column(columns, &objects) {
        let mut query = QueryBuilder::<Sqlite>::new(format!(
            "SELECT {column}, count(*) FROM wanted
             WHERE version <> 0 AND kind = 'indicator' AND view = "
        ));
        query.push_bind(&view.name);
        push_uuids(&mut query, &format!(" AND {column} IN "), objects);
        query.push(format!(" GROUP BY {column}"));
        let found: Vec<(Uuid, i64)> = query.build_query_as().fetch_all(&mut **tx).await?;
        for (object, count) in found {
            let most = attributes.get(&object).map_or(0, HashSet::len);
            live += count.min(i64::try_from(most).unwrap_or(i64::MAX));
        }
    }
    Ok(live)
}

async fn allows(
    tx: &mut Writing,
    (source, view): (&str, &str),
    (going, since): (i64, i64),
    measure: &Guard,
) -> sqlx::Result<bool> {
    let used: i64 = sqlx::query_scalar(
        "SELECT COALESCE(SUM(objects), 0) FROM inferred
         WHERE source = $1 AND view = $2 AND at > $3",
    )
    .bind(source)
    .bind(view)
    .bind(since)
    .fetch_one(&mut **tx)
    .await?;
    let wanted = used.saturating_add(going);
    if going == 0 || wanted <= i64::try_from(measure.max).unwrap_or(i64::MAX) {
        return Ok(true);
    }
    let live: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM wanted WHERE view = $1 AND version <> 0 AND kind = 'indicator'",
    )
    .bind(view)
    .fetch_one(&mut **tx)
    .await?;
    Ok(wanted <= live.saturating_mul(i64::from(measure.percent)) / 100)
}

/// Stores which claims of the event are held, and since when those that were not before.
async fn store_held(
    tx: &mut Writing,
    (source, event): (&str, Uuid),
    places: &[Place],
    now: i64,
) -> sqlx::Result<()> {
    let before: Vec<(Uuid, i16, i64)> = sqlx::query_as(
        "DELETE FROM held WHERE source = $1 AND event = $2 RETURNING attribute, part, since",
    )
    .bind(source)
    .bind(event)
    .fetch_all(&mut **tx)
    .await?;
    let since = |place: &Place| {
        let known = before.iter().find(|(attribute, part, _)| (*attribute, *part) == *place);
        known.map_or(now, |(.., since)| *since)
    };
    for places in places.chunks(ROWS) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO held (source, event, attribute, part, since) ",
        );
        query.push_values(places, |mut row, place| {
            row.push_bind(source)
                .push_bind(event)
                .push_bind(place.0)
                .push_bind(place.1)
                .push_bind(since(place));
        });
        query.build().execute(&mut **tx).await?;
    }
    Ok(())
}

/// Claims of an event that the guard keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub event: Uuid,
    pub info: String,
    pub claims: i64,
    /// Unix milliseconds.
    pub since: i64,
    /// One of the values.
    pub example: String,
}

#[derive(Debug, sqlx::FromRow)]
struct HeldRow {
    event: Uuid,
    claims: i64,
    since: i64,
    example: Option<String>,
    facts: Option<String>,
}

impl HeldRow {
    fn told(self) -> Held {
        let facts = self.facts.and_then(|facts| decode::<EventFacts>(&facts).ok());
        let Self { event, claims, since, example, .. } = self;
        let info = facts.unwrap_or_default().info;
        Held { event, info, claims, since, example: example.unwrap_or_default() }
    }
}

impl Ledger {
    /// Events with held claims, the oldest first.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn held(&self) -> sqlx::Result<Vec<Held>> {
        let rows: Vec<HeldRow> = sqlx::query_as(
            "SELECT h.event, count(*) AS claims, MIN(h.since) AS since, MIN(c.value) AS example,
                 MIN(e.facts) AS facts
             FROM held h
             LEFT JOIN events e ON e.source = h.source AND e.event = h.event
             LEFT JOIN claims c ON c.source = h.source AND c.event = h.event
                 AND c.attribute = h.attribute AND c.part = h.part
             GROUP BY h.event ORDER BY since",
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.into_iter().map(HeldRow::told).collect())
    }

    /// Ends the held claims, of one event or of all; returns how many.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub async fn release(
        &self,
        views: &Views,
        event: Option<Uuid>,
        now: i64,
    ) -> sqlx::Result<usize> {
        let mut released = 0;
        loop {
            let mut tx = self.begin().await?;
            let going: Vec<(String, Uuid, Uuid, i16)> = sqlx::query_as(
                "SELECT source, event, attribute, part FROM held
                 WHERE $1 IS NULL OR event = $1 LIMIT $2",
            )
            .bind(event)
            .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx)
            .await?;
            if going.is_empty() {
                return Ok(released);
            }
            released += going.len();
            let mut change = Change::new(views, event, now);
            end_held(&mut tx, &going, &mut change).await?;
            self.commit(tx, &change).await?;
        }
    }
}

async fn end_held(
    tx: &mut Writing,
    going: &[(String, Uuid, Uuid, i16)],
    change: &mut Change<'_>,
) -> sqlx::Result<()> {
    let mut objects = HashSet::new();
    for (source, event, attribute, part) in going {
        let (event, place) = ((source.as_str(), *event), (*attribute, *part));
        objects.extend(claims::object_of(tx, event, place).await?);
        claims::delete(tx, event, place).await?;
        touch(tx, event).await?;
        sqlx::query(
            "DELETE FROM held WHERE source = $1 AND event = $2 AND attribute = $3 AND part = $4",
        )
        .bind(event.0)
        .bind(event.1)
        .bind(place.0)
        .bind(place.1)
        .execute(&mut **tx)
        .await?;
    }
    refresh(tx, &objects.into_iter().collect::<Vec<_>>(), change).await
}
