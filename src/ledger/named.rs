//! What an operator names: the uuid of an event or an attribute, or a value, found in the ledger.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use uuid::Uuid;

use super::Writing;
use super::wanted::decode;
use crate::pure::convert;
use crate::pure::count::Count;
use crate::pure::explain::time;
use crate::pure::policy;
use crate::pure::stix::Observable;

/// An attribute that claims something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, sqlx::FromRow)]
pub(super) struct Place {
    pub source: String,
    pub event: Uuid,
    pub attribute: Uuid,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub places: Vec<Place>,
    /// What a value may spell.
    pub observables: BTreeSet<Observable>,
    /// What there is to say besides.
    pub notes: Vec<String>,
}

/// The attributes that `what` names and that claim something, and what there is to say besides.
pub(super) async fn find(tx: &mut Writing, what: &str) -> sqlx::Result<Found> {
    if let Ok(uuid) = Uuid::parse_str(what) {
        let (places, notes) = find_uuid(tx, uuid).await?;
        if !places.is_empty() || !notes.is_empty() {
            return Ok(Found { places, notes, observables: BTreeSet::new() });
        }
    }
    let observables: BTreeSet<Observable> =
        convert::types().iter().flat_map(|row| convert::said(row.name, what)).collect();
    let mut places = Vec::new();
    for Observable { path, value } in &observables {
        let found: Vec<Place> = sqlx::query_as(
            "SELECT DISTINCT source, event, attribute FROM claims
             WHERE lower(value) = lower($1) AND value = $1 AND path = $2
             ORDER BY timestamp DESC, attribute",
        )
        .bind(value)
        .bind(path.as_ref())
        .fetch_all(&mut **tx)
        .await?;
        places.extend(found);
    }
    let mut seen = HashSet::new();
    places.retain(|place| seen.insert(place.clone()));
    let notes = suppressions(tx, what).await?;
    Ok(Found { places, observables, notes })
}

async fn suppressions(tx: &mut Writing, value: &str) -> sqlx::Result<Vec<String>> {
    let mut notes = Vec::new();
    for spelling in policy::spellings(value) {
        let found: Vec<(String, i64, Option<i64>, String)> = sqlx::query_as(
            "SELECT s.value, s.since, s.until, s.reason FROM suppressed s
             JOIN suppressed_spellings p ON p.value = s.value WHERE p.spelling = $1",
        )
        .bind(spelling)
        .fetch_all(&mut **tx)
        .await?;
        notes.extend(found.iter().map(|(value, since, until, reason)| {
            let end = until.map(|until| format!(" until {}", time(until))).unwrap_or_default();
            let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            format!("{value} is suppressed since {}{end}{reason}", time(*since))
        }));
    }
    notes.sort_unstable();
    notes.dedup();
    Ok(notes)
}

async fn find_uuid(tx: &mut Writing, uuid: Uuid) -> sqlx::Result<(Vec<Place>, Vec<String>)> {
    let of_event: Vec<Place> = sqlx::query_as(
        "SELECT DISTINCT source, event, attribute FROM claims WHERE event = $1
         ORDER BY attribute_id, attribute",
    )
    .bind(uuid)
    .fetch_all(&mut **tx)
    .await?;
    let mut notes = event_notes(tx, uuid).await?;
    notes.extend(vain_reads(tx, uuid).await?);
    if !of_event.is_empty() || !notes.is_empty() {
        return Ok((of_event, notes));
    }
    let of_attribute: Vec<Place> =
        sqlx::query_as("SELECT DISTINCT source, event, attribute FROM claims WHERE attribute = $1")
            .bind(uuid)
            .fetch_all(&mut **tx)
            .await?;
    let buried: Vec<(i64, bool)> = sqlx::query_as(
        "SELECT withdrawn_at, ids_only FROM tombstones WHERE attribute = $1 ORDER BY withdrawn_at",
    )
    .bind(uuid)
    .fetch_all(&mut **tx)
    .await?;
    notes.extend(buried.iter().map(|(at, ids_only)| {
        let what = if *ids_only { "switched its to_ids off" } else { "deleted or edited it" };
        format!("attribute {uuid}: MISP {what} {}", time(*at))
    }));
    Ok((of_attribute, notes))
}

/// What there is to say of an event, known or not, that MISP was asked for in vain.
async fn vain_reads(tx: &mut Writing, event: Uuid) -> sqlx::Result<Vec<String>> {
    let found: Vec<(i64, String, i64)> =
        sqlx::query_as("SELECT vain, why, due_at FROM reads WHERE event = $1 AND vain > 0")
            .bind(event)
            .fetch_all(&mut **tx)
            .await?;
    let told = found.iter().map(|(times, why, next)| {
        format!(
            "event {event} cannot be read ({} so far, again {}): {why}",
            Count(*times, "try"),
            time(*next)
        )
    });
    Ok(told.collect())
}

#[derive(Debug, sqlx::FromRow)]
struct EventNotes {
    deleted_at: Option<i64>,
    skipped: String,
    due_at: Option<i64>,
}

/// What is to be said of a known event besides its claims.
async fn event_notes(tx: &mut Writing, event: Uuid) -> sqlx::Result<Vec<String>> {
    let rows: Vec<EventNotes> = sqlx::query_as(
        "SELECT e.deleted_at, e.skipped, r.due_at FROM events e
         LEFT JOIN reads r ON r.source = e.source AND r.event = e.event WHERE e.event = $1",
    )
    .bind(event)
    .fetch_all(&mut **tx)
    .await?;
    let mut notes = Vec::new();
    for row in rows {
        let skipped: BTreeMap<String, u64> = decode(&row.skipped)?;
        let skipped: Vec<String> =
            skipped.iter().map(|(reason, count)| format!("{reason}={count}")).collect();
        let skipped = if skipped.is_empty() { "none".to_owned() } else { skipped.join(" ") };
        notes.push(format!("event {event}: skipped attributes: {skipped}"));
        let deleted =
            row.deleted_at.map(|at| format!("event {event}: deleted in MISP {}", time(at)));
        notes.extend(deleted);
        let read = row
            .due_at
            .map(|at| format!("event {event}: MISP is to be asked about it, {}", time(at)));
        notes.extend(read);
    }
    Ok(notes)
}
