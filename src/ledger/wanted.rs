//! From claims to wanted objects: what policy admits is merged, and a version that differs from the
//! wanted one becomes part of a change.

use std::collections::{HashMap, HashSet};

use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use super::generations::{self, Newest, Place, newest, taken};
use super::{Lane, View, Writing, push_uuids};
use crate::convert::{ClaimFacts, EventFacts};
use crate::stix::{Admitted, ClaimTimes, Indicator, Observable, Withdraw};

/// Objects judged at a time: 500 ids a statement.
const CHUNK: usize = 500;

/// The version of a withdrawn object.
pub const WITHDRAWN: i64 = 0;

/// What one transaction alters, in at most two lanes. A change gets its number, and its place in
/// each target's queue, when the first object joins it.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub view: &'a View,
    pub event: Option<Uuid>,
    /// When the notice arrived, Unix milliseconds.
    pub opened_at: i64,
    /// The lane of what is added or altered; what is withdrawn has its own.
    pub lane: Lane,
    numbers: [Option<i64>; 2],
    pub altered: usize,
    pub withdrawn: usize,
}

impl<'a> Change<'a> {
    pub(super) fn new(view: &'a View, event: Option<Uuid>, opened_at: i64) -> Self {
        Self {
            view,
            event,
            opened_at,
            lane: Lane::Live,
            numbers: [None; 2],
            altered: 0,
            withdrawn: 0,
        }
    }

    pub(super) fn in_lane(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.altered + self.withdrawn == 0
    }

    /// Puts the words for the event's log line beside its places in the queues.
    pub(super) async fn summarise(&self, tx: &mut Writing, summary: &str) -> sqlx::Result<()> {
        for number in self.numbers.iter().flatten() {
            sqlx::query("UPDATE queue SET summary = $1 WHERE change = $2")
                .bind(summary)
                .bind(number)
                .execute(&mut **tx)
                .await?;
        }
        Ok(())
    }

    async fn number(&mut self, tx: &mut Writing, lane: Lane) -> sqlx::Result<i64> {
        let slot = usize::from(lane != Lane::Withdrawals);
        if let Some(number) = self.numbers.get(slot).copied().flatten() {
            return Ok(number);
        }
        let number: i64 = sqlx::query_scalar(
            "UPDATE counters SET value = value + 1 WHERE name = 'change' RETURNING value",
        )
        .fetch_one(&mut **tx)
        .await?;
        for target in &self.view.targets {
            sqlx::query(
                "INSERT INTO queue (target, change, lane, event, opened_at, summary)
                 VALUES ($1, $2, $3, $4, $5, '{}')",
            )
            .bind(target)
            .bind(number)
            .bind(lane.number())
            .bind(self.event)
            .bind(self.opened_at)
            .execute(&mut **tx)
            .await?;
        }
        if let Some(kept) = self.numbers.get_mut(slot) {
            *kept = Some(number);
        }
        Ok(number)
    }
}

/// Judges and merges anew everything that counts for these objects.
pub(super) async fn refresh(
    tx: &mut Writing,
    objects: &[Uuid],
    change: &mut Change<'_>,
) -> sqlx::Result<()> {
    let mut events = HashMap::new();
    for objects in objects.chunks(CHUNK) {
        let claims = claims_of(tx, objects).await?;
        load_events(tx, &claims, &mut events).await?;
        let newest = newest(tx, &change.view.name, objects).await?;
        let taken = taken(tx, change.view, &claims, &newest).await?;
        let place = |first: &ClaimRow| {
            let is_taken = taken.contains(&first.object);
            generations::place(change.view, first, newest.get(&first.object), is_taken)
        };
        let merged = merge(change.view, &claims, &events, place);
        let (altered, withdrawn) = compare(merged, &newest);
        store(tx, &altered, change).await?;
        withdraw(tx, &withdrawn, change).await?;
    }
    Ok(())
}

pub(super) type EventsByKey = HashMap<(String, Uuid), EventFacts>;

#[derive(Debug, sqlx::FromRow)]
pub(super) struct ClaimRow {
    pub source: String,
    pub event: Uuid,
    pub attribute: Uuid,
    pub part: i16,
    pub object: Uuid,
    pub path: String,
    pub value: String,
    claimed_at: i64,
    expires_at: Option<i64>,
    pub facts: String,
}

impl ClaimRow {
    pub(super) fn observable(&self) -> Observable {
        Observable { path: self.path.clone().into(), value: self.value.clone() }
    }
}

/// In the order of objects.
pub(super) async fn claims_of(tx: &mut Writing, objects: &[Uuid]) -> sqlx::Result<Vec<ClaimRow>> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT source, event, attribute, part, object, path, value, claimed_at, expires_at, facts
         FROM claims WHERE",
    );
    push_uuids(&mut query, " object IN ", objects);
    query.push(" ORDER BY object");
    query.build_query_as().fetch_all(&mut **tx).await
}

pub(super) async fn load_events(
    tx: &mut Writing,
    claims: &[ClaimRow],
    events: &mut EventsByKey,
) -> sqlx::Result<()> {
    for claim in claims {
        let key = (claim.source.clone(), claim.event);
        if events.contains_key(&key) {
            continue;
        }
        let facts: Option<String> =
            sqlx::query_scalar("SELECT facts FROM events WHERE source = $1 AND event = $2")
                .bind(&claim.source)
                .bind(claim.event)
                .fetch_optional(&mut **tx)
                .await?;
        // A claim whose event is not there is not admitted.
        let Some(facts) = facts else { continue };
        events.insert(key, decode(&facts)?);
    }
    Ok(())
}

#[derive(Debug)]
pub(super) struct Merged {
    /// Of the claims.
    pub key: Uuid,
    pub place: Place,
    pub indicator: Indicator,
}

/// The indicators of the admitted claims, each for the object that `place` says.
pub(super) fn merge(
    view: &View,
    claims: &[ClaimRow],
    events: &EventsByKey,
    place: impl Fn(&ClaimRow) -> Place,
) -> Vec<Merged> {
    claims
        .chunk_by(|a, b| a.object == b.object)
        .filter_map(|claims| merge_one(view, claims, events, &place))
        .collect()
}

fn merge_one(
    view: &View,
    claims: &[ClaimRow],
    events: &EventsByKey,
    place: impl Fn(&ClaimRow) -> Place,
) -> Option<Merged> {
    let first = claims.first()?;
    let observable = first.observable();
    let facts: Vec<(&ClaimRow, ClaimFacts)> = claims
        .iter()
        .filter_map(|row| Some((row, serde_json::from_str(&row.facts).ok()?)))
        .collect();
    let admitted: Vec<Admitted<'_>> = facts
        .iter()
        .filter_map(|(row, claim)| {
            let event = events.get(&(row.source.clone(), row.event))?;
            view.judge.admit(event, claim, &observable).ok()?;
            Some(Admitted {
                event,
                attribute: row.attribute,
                claim,
                times: ClaimTimes::of(claim, row.claimed_at, row.expires_at),
            })
        })
        .collect();
    let place = place(first);
    let indicator = view.merger.merge(place.stix_id, &observable, &admitted)?;
    Some(Merged { key: first.object, place, indicator })
}

/// What differs from what was wanted so far: altered objects, and those that nothing claims.
fn compare(merged: Vec<Merged>, newest: &HashMap<Uuid, Newest>) -> (Vec<Merged>, Vec<Uuid>) {
    let claimed: HashSet<Uuid> = merged.iter().map(|one| one.key).collect();
    let is_new = |one: &Merged| {
        newest.get(&one.key).is_none_or(|known| {
            known.object != one.place.object || known.version != one.indicator.fingerprint
        })
    };
    let altered = merged.into_iter().filter(is_new).collect();
    let unclaimed = newest.values().filter(|known| !claimed.contains(&known.key));
    let mut withdrawn: Vec<Uuid> =
        unclaimed.filter(|known| known.is_live()).map(|known| known.object).collect();
    withdrawn.sort_unstable();
    (altered, withdrawn)
}

async fn store(tx: &mut Writing, altered: &[Merged], change: &mut Change<'_>) -> sqlx::Result<()> {
    if altered.is_empty() {
        return Ok(());
    }
    let number = change.number(tx, change.lane).await?;
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO wanted
         (view, object, kind, stix_id, body, valid_from, valid_until, version, change, generation,
          claimed) ",
    );
    query.push_values(altered, |mut row, one| {
        row.push_bind(change.view.name.as_str())
            .push_bind(one.place.object)
            .push_bind("indicator")
            .push_bind(one.place.stix_id)
            .push_bind(one.indicator.body.as_str())
            .push_bind(one.indicator.valid_from)
            .push_bind(one.indicator.valid_until)
            .push_bind(one.indicator.fingerprint)
            .push_bind(number)
            .push_bind(one.place.generation)
            .push_bind((one.place.object != one.key).then_some(one.key));
    });
    query.push(
        " ON CONFLICT (view, object) DO UPDATE SET body = excluded.body,
          valid_from = excluded.valid_from, valid_until = excluded.valid_until,
          version = excluded.version, change = excluded.change, revoke = FALSE",
    );
    query.build().execute(&mut **tx).await?;
    change.altered += altered.len();
    Ok(())
}

/// What no target was ever sent is forgotten; the rest keeps its body, which the withdrawal repeats.
async fn withdraw(tx: &mut Writing, objects: &[Uuid], change: &mut Change<'_>) -> sqlx::Result<()> {
    for object in objects {
        let forgotten = sqlx::query(
            "DELETE FROM wanted WHERE view = $1 AND object = $2
             AND NOT EXISTS (SELECT 1 FROM delivered WHERE delivered.object = $2
                             AND delivered.target IN (SELECT target FROM targets WHERE view = $1))",
        )
        .bind(&change.view.name)
        .bind(object)
        .execute(&mut **tx)
        .await?
        .rows_affected();
        if forgotten > 0 {
            continue;
        }
        let number = change.number(tx, Lane::Withdrawals).await?;
        let withdraw = "UPDATE wanted SET version = 0, change = $1, revoke = $4
             WHERE view = $2 AND object = $3";
        sqlx::query(withdraw)
            .bind(number)
            .bind(&change.view.name)
            .bind(object)
            .bind(change.view.merger.withdraw() == Withdraw::Revoke)
            .execute(&mut **tx)
            .await?;
        change.withdrawn += 1;
    }
    Ok(())
}

/// Reads a JSON column of ours.
pub(super) fn decode<T: serde::de::DeserializeOwned>(json: &str) -> sqlx::Result<T> {
    serde_json::from_str(json).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Writes a JSON column of ours.
pub(super) fn encode<T: serde::Serialize>(value: &T) -> sqlx::Result<String> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}
