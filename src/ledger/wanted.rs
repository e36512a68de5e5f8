//! From claims to wanted objects: what policy admits is merged, and a version that differs from the
//! wanted one becomes part of a change.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::change::Change;
use super::claimed::{ClaimRow, Claimed, EventsByKey, claims_of, load_events};
use super::context::{self, Need};
use super::generations::{self, Newest, Place, newest, taken};
use super::sql::{Result, Transaction, statements, values};
use super::{Lane, View};
use crate::pure::convert::Reason;
use crate::pure::stix::{Indicator, Memo, Withdraw};

statements! {
    STORE(Text, Bytes, Bytes, Text, Integer, Integer, Integer, Integer, Integer, Bytes, Bytes) =
        "INSERT INTO wanted
         (view, object, kind, stix_id, body, valid_from, valid_until, version, change, generation,
          claimed, observable)
         VALUES ($1, $2, 'indicator', $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (view, object) DO UPDATE SET body = excluded.body,
             valid_from = excluded.valid_from, valid_until = excluded.valid_until,
             version = excluded.version, change = excluded.change, revoke = FALSE,
             observable = excluded.observable";
    FORGET(Text, Bytes) = "DELETE FROM wanted WHERE view = $1 AND object = $2
         AND NOT EXISTS (SELECT 1 FROM delivered WHERE delivered.object = $2
                         AND delivered.target IN (SELECT target FROM targets WHERE view = $1))";
    WITHDRAW(Integer, Text, Bytes, Boolean) = "UPDATE wanted
         SET version = 0, change = $1, revoke = $4 WHERE view = $2 AND object = $3";
}

/// Objects judged at a time.
const CHUNK: usize = 500;

/// The version of a withdrawn object.
pub const WITHDRAWN: i64 = 0;

/// Judges and merges anew everything that counts for these objects, in every view.
pub(super) fn refresh(
    tx: &Transaction<'_>,
    objects: &[Uuid],
    change: &mut Change<'_>,
) -> Result<()> {
    let mut events = HashMap::new();
    let views = change.views;
    for objects in objects.chunks(CHUNK) {
        let claims = claims_of(tx, objects, views)?;
        load_events(tx, &claims, &mut events)?;
        for view in views.iter() {
            refresh_view(tx, view, (objects, &claims, &events), change)?;
        }
    }
    Ok(())
}

fn refresh_view<'a>(
    tx: &Transaction<'_>,
    view: &'a View,
    (objects, claims, events): (&[Uuid], &[Claimed], &EventsByKey),
    change: &mut Change<'a>,
) -> Result<()> {
    let mut newest = newest(tx, view, (objects, claims))?;
    let taken = taken(tx, view, claims, &newest)?;
    let place = |key: Uuid, first: &ClaimRow| {
        generations::place(view, first, newest.get(&key), taken.contains(&key))
    };
    let outcome = merge(view, claims, events, place);
    newest.retain(|key, _| !outcome.waiting.contains(key));
    context::refresh(tx, view, (&newest, &outcome.merged), change)?;
    let withdrawn = outcome.withdrawn(&newest);
    store(tx, view, &outcome.altered(&newest), change)?;
    withdraw(tx, view, &withdrawn, change)
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

fn store<'a>(
    tx: &Transaction<'_>,
    view: &'a View,
    altered: &[Merged],
    change: &mut Change<'a>,
) -> Result<()> {
    if altered.is_empty() {
        return Ok(());
    }
    let number = change.number(tx, view, change.lane)?;
    let rows = altered.iter().map(|one| {
        values![
            &view.name,
            one.place.object,
            one.place.stix_id,
            &one.indicator.body,
            one.indicator.valid_from,
            one.indicator.valid_until,
            one.indicator.fingerprint,
            number,
            one.place.generation,
            (one.place.object != one.key).then_some(one.key),
            view.is_by_attribute().then_some(one.observable),
        ]
    });
    tx.execute_each(&STORE, rows)?;
    change.altered += altered.len();
    Ok(())
}

/// What was sent to a target keeps its body, which the withdrawal repeats.
fn withdraw<'a>(
    tx: &Transaction<'_>,
    view: &'a View,
    objects: &[Uuid],
    change: &mut Change<'a>,
) -> Result<()> {
    for object in objects {
        if forget(tx, view, *object)? {
            continue;
        }
        let number = change.number(tx, view, Lane::Withdrawals)?;
        let revoke = view.merger.withdraw() == Withdraw::Revoke;
        tx.execute(&WITHDRAW, &values![number, &view.name, object, revoke])?;
        change.withdrawn += 1;
    }
    Ok(())
}

/// What no target was ever sent is forgotten. Whether it was.
pub(super) fn forget(tx: &Transaction<'_>, view: &View, object: Uuid) -> Result<bool> {
    Ok(tx.execute(&FORGET, &values![&view.name, object])? > 0)
}

/// Reads a JSON column of ours.
pub(super) fn decode<T: serde::de::DeserializeOwned>(json: &str) -> Result<T> {
    Ok(serde_json::from_str(json)?)
}

/// Writes a JSON column of ours.
pub(super) fn encode<T: serde::Serialize>(value: &T) -> Result<String> {
    Ok(serde_json::to_string(value)?)
}
