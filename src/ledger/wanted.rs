//! From claims to wanted objects: what policy admits is merged, and a version that differs from the
//! wanted one becomes part of a change.

use std::collections::{HashMap, HashSet};

use sqlx::{QueryBuilder, Sqlite};
use uuid::Uuid;

use super::change::Change;
use super::claimed::{ClaimRow, Claimed, EventsByKey, claims_of, load_events};
use super::context::{self, Need};
use super::generations::{self, Newest, Place, newest, taken};
use super::{Lane, View, Writing};
use crate::pure::convert::Reason;
use crate::pure::stix::{Indicator, Memo, Withdraw};

/// Objects judged at a time: 500 ids a statement.
const CHUNK: usize = 500;

/// The version of a withdrawn object.
pub const WITHDRAWN: i64 = 0;

/// Judges and merges anew everything that counts for these objects, in every view.
pub(super) async fn refresh(
    tx: &mut Writing,
    objects: &[Uuid],
    change: &mut Change<'_>,
) -> sqlx::Result<()> {
    let mut events = HashMap::new();
    let views = change.views;
    for objects in objects.chunks(CHUNK) {
        let claims = claims_of(tx, objects, views).await?;
        load_events(tx, &claims, &mut events).await?;
        for view in views.iter() {
            refresh_view(tx, view, (objects, &claims, &events), change).await?;
        }
    }
    Ok(())
}

async fn refresh_view<'a>(
    tx: &mut Writing,
    view: &'a View,
    (objects, claims, events): (&[Uuid], &[Claimed], &EventsByKey),
    change: &mut Change<'a>,
) -> sqlx::Result<()> {
    let mut newest = newest(tx, view, (objects, claims)).await?;
    let taken = taken(tx, view, claims, &newest).await?;
    let place = |key: Uuid, first: &ClaimRow| {
        generations::place(view, first, newest.get(&key), taken.contains(&key))
    };
    let outcome = merge(view, claims, events, place);
    newest.retain(|key, _| !outcome.waiting.contains(key));
    context::refresh(tx, view, (&newest, &outcome.merged), change).await?;
    let withdrawn = outcome.withdrawn(&newest);
    let altered = outcome.altered(&newest);
    for altered in altered.chunks(CHUNK) {
        store(tx, view, altered, change).await?;
    }
    withdraw(tx, view, &withdrawn, change).await
}

#[derive(Debug)]
pub(super) struct Merged {
    /// See [`View::key`].
    pub key: Uuid,
    /// The key of the claims.
    observable: Uuid,
    pub place: Place,
    pub indicator: Indicator,
    pub needs: Vec<Need>,
}

/// What the claims of some objects come to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub merged: Vec<Merged>,
    /// Keys of which it is not known yet whether their claims are admitted: they stay as they are.
    pub waiting: HashSet<Uuid>,
    /// Of each claim, in their order: why it does not count.
    pub reasons: Vec<Option<Reason>>,
}

/// The indicators of the claims that the view admits, each for the object that `place` says.
pub(super) fn merge(
    view: &View,
    claims: &[Claimed],
    events: &EventsByKey,
    place: impl Fn(Uuid, &ClaimRow) -> Place,
) -> Outcome {
    let (mut outcome, mut memo) = (Outcome::default(), Memo::default());
    for claims in claims.chunk_by(|a, b| view.merges(&a.row, &b.row)) {
        let Some(Claimed { row: first, .. }) = claims.first() else { continue };
        let (key, observable) = (view.key(first), first.observable());
        let place = place(key, first);
        let known = claims.iter().map(|claim| claim.known(events)).collect();
        let verdict = view.merger.merge_observable(&mut memo, place.stix_id, &observable, known);
        if verdict.is_pending() {
            outcome.waiting.insert(key);
        }
        outcome.merged.extend(verdict.indicator.map(|indicator| {
            let needs = context::needs(view, place.stix_id, &verdict.admitted);
            Merged { key, observable: first.object, place, indicator, needs }
        }));
        outcome.reasons.extend(verdict.reasons);
    }
    outcome
}

impl Outcome {
    /// What differs from what was wanted so far.
    fn altered(self, newest: &HashMap<Uuid, Newest>) -> Vec<Merged> {
        let is_new = |one: &Merged| {
            newest.get(&one.key).is_none_or(|known| {
                known.object != one.place.object || known.version != one.indicator.fingerprint
            })
        };
        self.merged.into_iter().filter(is_new).collect()
    }

    /// Live objects that nothing claims, of those that do not wait.
    pub(super) fn withdrawn(&self, newest: &HashMap<Uuid, Newest>) -> Vec<Uuid> {
        let claimed: HashSet<Uuid> = self.merged.iter().map(|one| one.key).collect();
        let mut withdrawn: Vec<Uuid> = newest
            .values()
            .filter(|known| known.is_live() && !claimed.contains(&known.key))
            .map(|known| known.object)
            .collect();
        withdrawn.sort_unstable();
        withdrawn
    }
}

async fn store<'a>(
    tx: &mut Writing,
    view: &'a View,
    altered: &[Merged],
    change: &mut Change<'a>,
) -> sqlx::Result<()> {
    let number = change.number(tx, view, change.lane).await?;
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO wanted
         (view, object, kind, stix_id, body, valid_from, valid_until, version, change, generation,
          claimed, observable) ",
    );
    query.push_values(altered, |mut row, one| {
        row.push_bind(view.name.as_str())
            .push_bind(one.place.object)
            .push_bind("indicator")
            .push_bind(one.place.stix_id)
            .push_bind(one.indicator.body.as_str())
            .push_bind(one.indicator.valid_from)
            .push_bind(one.indicator.valid_until)
            .push_bind(one.indicator.fingerprint)
            .push_bind(number)
            .push_bind(one.place.generation)
            .push_bind((one.place.object != one.key).then_some(one.key))
            .push_bind(view.is_by_attribute().then_some(one.observable));
    });
    query.push(
        " ON CONFLICT (view, object) DO UPDATE SET body = excluded.body,
          valid_from = excluded.valid_from, valid_until = excluded.valid_until,
          version = excluded.version, change = excluded.change, revoke = FALSE,
          observable = excluded.observable",
    );
    query.build().execute(&mut **tx).await?;
    change.altered += altered.len();
    Ok(())
}

/// What no target was ever sent is forgotten; the rest keeps its body, which the withdrawal repeats.
async fn withdraw<'a>(
    tx: &mut Writing,
    view: &'a View,
    objects: &[Uuid],
    change: &mut Change<'a>,
) -> sqlx::Result<()> {
    for object in objects {
        let forgotten = sqlx::query(
            "DELETE FROM wanted WHERE view = $1 AND object = $2
             AND NOT EXISTS (SELECT 1 FROM delivered WHERE delivered.object = $2
                             AND delivered.target IN (SELECT target FROM targets WHERE view = $1))",
        )
        .bind(&view.name)
        .bind(object)
        .execute(&mut **tx)
        .await?
        .rows_affected();
        if forgotten > 0 {
            continue;
        }
        let number = change.number(tx, view, Lane::Withdrawals).await?;
        let withdraw = "UPDATE wanted SET version = 0, change = $1, revoke = $4
             WHERE view = $2 AND object = $3";
        sqlx::query(withdraw)
            .bind(number)
            .bind(&view.name)
            .bind(object)
            .bind(view.merger.withdraw() == Withdraw::Revoke)
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
