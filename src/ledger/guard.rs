//! The guard: what MISP shows no longer, without saying that it was deleted, ends only within a
//! measure. Beyond it the claims stand until an operator releases them, so that a MISP that answers
//! wrongly never empties a SIEM.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::apply::STEP;
use super::change::Change;
use super::claims::{self, Place, Stored};
use super::owner::Unit;
use super::sql::{Result, SqlError, Statement, Transaction, row, statements, values};
use super::wanted::{decode, refresh};
use super::withdraw::touch;
use super::writer::millis;
use super::{Ledger, View, Views};
use crate::config::Guard;
use crate::pure::convert::EventFacts;

statements! {
    HELD_OF(Text, Bytes) = "SELECT attribute, part FROM held WHERE source = $1 AND event = $2";
    FORGET_GONE(Text, Bytes) =
        "DELETE FROM held WHERE source = $1 AND event = $2 AND NOT EXISTS (
             SELECT 1 FROM claims c WHERE c.source = held.source AND c.event = held.event
             AND c.attribute = held.attribute AND c.part = held.part)";
    INFER(Text, Text, Integer, Integer) =
        "INSERT INTO inferred (source, view, at, objects) VALUES ($1, $2, $3, $4)";
    LIVE_BY_OBSERVABLE(Text, Bytes) =
        "SELECT count(*) FROM wanted
         WHERE version <> 0 AND kind = 'indicator' AND view = $1 AND observable = $2";
    LIVE_BY_OBJECT(Text, Bytes) =
        "SELECT count(*) FROM wanted
         WHERE version <> 0 AND kind = 'indicator' AND view = $1 AND object = $2";
    LIVE_BY_CLAIMED(Text, Bytes) =
        "SELECT count(*) FROM wanted
         WHERE version <> 0 AND kind = 'indicator' AND view = $1 AND claimed = $2";
    USED(Text, Text, Integer) =
        "SELECT COALESCE(CAST(SUM(objects) AS BIGINT), 0) FROM inferred
         WHERE source = $1 AND view = $2 AND at > $3";
    LIVE(Text) =
        "SELECT count(*) FROM wanted WHERE view = $1 AND version <> 0 AND kind = 'indicator'";
    TAKE_HELD(Text, Bytes) =
        "DELETE FROM held WHERE source = $1 AND event = $2 RETURNING attribute, part, since";
    HOLD(Text, Bytes, Bytes, Integer, Integer) =
        "INSERT INTO held (source, event, attribute, part, since) VALUES ($1, $2, $3, $4, $5)";
    HELD() =
        "SELECT h.event, count(*), MIN(h.since) AS since, MIN(c.value), MIN(e.facts)
         FROM held h
         LEFT JOIN events e ON e.source = h.source AND e.event = h.event
         LEFT JOIN claims c ON c.source = h.source AND c.event = h.event
             AND c.attribute = h.attribute AND c.part = h.part
         GROUP BY h.event ORDER BY since";
    SOME_HELD(Integer) = "SELECT source, event, attribute, part FROM held LIMIT $1";
    SOME_HELD_OF(Bytes, Integer) =
        "SELECT source, event, attribute, part FROM held WHERE event = $1 LIMIT $2";
    RELEASE(Text, Bytes, Bytes, Integer) =
        "DELETE FROM held WHERE source = $1 AND event = $2 AND attribute = $3 AND part = $4";
}

/// Which of the absent claims stand: all of them, or those that an operator has not released yet.
pub(super) fn hold(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
    (absent, measure): (&[(Place, Stored)], &Guard),
    change: &Change<'_>,
) -> Result<Vec<Place>> {
    let held = held_of(tx, source, event)?;
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
            going.push((view.name.clone(), count_live(tx, view, &attributes)?));
        }
        if !infer(tx, (source, &going), measure, change.opened_at)? {
            kept.extend(fresh);
        }
    }
    let kept: Vec<Place> = kept.into_iter().map(|(place, _)| place).collect();
    if !(held.is_empty() && kept.is_empty()) {
        store_held(tx, (source, event), &kept, change.opened_at)?;
    }
    if kept.len() > held.len() {
        tracing::error!(
            %event, claims = kept.len(),
            "MISP shows these claims no longer without having deleted them, more than guard.max and guard.percent allow: they stand; look with `held`, then `release` them or mend MISP"
        );
    }
    Ok(kept)
}

fn held_of(tx: &Transaction<'_>, source: &str, event: Uuid) -> Result<HashSet<Place>> {
    let rows: Vec<Place> = tx.rows(&HELD_OF, &values![source, event])?;
    Ok(rows.into_iter().collect())
}

/// Forgets that claims of the event are held which are no longer there.
pub(super) fn forget_gone(tx: &Transaction<'_>, (source, event): (&str, Uuid)) -> Result<()> {
    tx.execute(&FORGET_GONE, &values![source, event])?;
    Ok(())
}

/// Whether so many live objects may be withdrawn by inference now: in each view, with what went
/// before, no more than the measure. If so, they are counted.
pub(super) fn infer(
    tx: &Transaction<'_>,
    (source, going): (&str, &[(String, i64)]),
    measure: &Guard,
    now: i64,
) -> Result<bool> {
    let since = now.saturating_sub(millis(measure.window));
    for (view, going) in going {
        if !allows(tx, (source, view), (*going, since), measure)? {
            return Ok(false);
        }
    }
    let rows = going.iter().map(|(view, objects)| values![source, view, now, objects]);
    tx.execute_each(&INFER, rows)?;
    Ok(true)
}

/// How many live indicators lose claims: of an observable, no more than attributes go.
fn count_live(
    tx: &Transaction<'_>,
    view: &View,
    attributes: &HashMap<Uuid, HashSet<Uuid>>,
) -> Result<i64> {
    let statements: &[&Statement] = match view.is_by_attribute() {
        true => &[&LIVE_BY_OBSERVABLE],
        false => &[&LIVE_BY_OBJECT, &LIVE_BY_CLAIMED],
    };
    let mut live = 0;
    for statement in statements {
        for (object, attributes) in attributes {
            let count: Option<i64> = tx.row(statement, &values![&view.name, object])?;
            let most = i64::try_from(attributes.len()).unwrap_or(i64::MAX);
            live += count.ok_or(SqlError::NoRow)?.min(most);
        }
    }
    Ok(live)
}

fn allows(
    tx: &Transaction<'_>,
    (source, view): (&str, &str),
    (going, since): (i64, i64),
    measure: &Guard,
) -> Result<bool> {
    let used: Option<i64> = tx.row(&USED, &values![source, view, since])?;
    let wanted = used.ok_or(SqlError::NoRow)?.saturating_add(going);
    if going == 0 || wanted <= i64::try_from(measure.max).unwrap_or(i64::MAX) {
        return Ok(true);
    }
    let live: Option<i64> = tx.row(&LIVE, &values![view])?;
    let live = live.ok_or(SqlError::NoRow)?;
    Ok(wanted <= live.saturating_mul(i64::from(measure.percent)) / 100)
}

/// Stores which claims of the event are held, and since when those that were not before.
fn store_held(
    tx: &Transaction<'_>,
    (source, event): (&str, Uuid),
    places: &[Place],
    now: i64,
) -> Result<()> {
    let before: Vec<(Uuid, i16, i64)> = tx.rows(&TAKE_HELD, &values![source, event])?;
    let since = |place: &Place| {
        let known = before.iter().find(|(attribute, part, _)| (*attribute, *part) == *place);
        known.map_or(now, |(.., since)| *since)
    };
    let rows = places.iter().map(|place| values![source, event, place.0, place.1, since(place)]);
    tx.execute_each(&HOLD, rows)?;
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

row! {
    #[derive(Debug)]
    struct HeldRow {
        event: Uuid,
        claims: i64,
        since: i64,
        example: Option<String>,
        facts: Option<String>,
    }
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
    pub async fn held(&self) -> Result<Vec<Held>> {
        let rows: Vec<HeldRow> = self.read(|tx| tx.rows(&HELD, &values![])).await?;
        Ok(rows.into_iter().map(HeldRow::told).collect())
    }

    /// Ends the held claims, of one event or of all; returns how many.
    pub async fn release(&self, views: &Views, event: Option<Uuid>, now: i64) -> Result<usize> {
        let mut released = 0;
        loop {
            let views = views.clone();
            let ended = self.write(move |unit| end_some(unit, &views, event, now)).await?;
            if ended == 0 {
                return Ok(released);
            }
            released += ended;
        }
    }
}

/// Ends at most [`STEP`] of the held claims; returns how many.
fn end_some(unit: &Unit<'_>, views: &Views, event: Option<Uuid>, now: i64) -> Result<usize> {
    let step = i64::try_from(STEP).unwrap_or(i64::MAX);
    let going: Vec<(String, Uuid, Uuid, i16)> = match event {
        Some(event) => unit.rows(&SOME_HELD_OF, &values![event, step])?,
        None => unit.rows(&SOME_HELD, &values![step])?,
    };
    let mut change = Change::new(views, event, now);
    end_held(unit, &going, &mut change)?;
    unit.wake(&change);
    Ok(going.len())
}

fn end_held(
    tx: &Transaction<'_>,
    going: &[(String, Uuid, Uuid, i16)],
    change: &mut Change<'_>,
) -> Result<()> {
    let mut objects = HashSet::new();
    for (source, event, attribute, part) in going {
        let (event, place) = ((source.as_str(), *event), (*attribute, *part));
        objects.extend(claims::object_of(tx, event, place)?);
        claims::delete(tx, event, place)?;
        touch(tx, event)?;
        tx.execute(&RELEASE, &values![event.0, event.1, place.0, place.1])?;
    }
    refresh(tx, &objects.into_iter().collect::<Vec<_>>(), change)
}
