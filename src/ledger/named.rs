//! What an operator names: the uuid of an event or an attribute, or a value, found in the ledger.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use uuid::Uuid;

use super::sql::{Result, Transaction, row, statements, values};
use super::wanted::decode;
use crate::pure::convert;
use crate::pure::count::Count;
use crate::pure::explain::time;
use crate::pure::policy;
use crate::pure::stix::Observable;

statements! {
    CLAIMING(Text, Text) = "SELECT source, event, attribute FROM claims
         WHERE lower(value) = lower($1) AND value = $1 AND path = $2
         ORDER BY timestamp DESC, attribute";
    OF_EVENT(Bytes) = "SELECT source, event, attribute FROM claims WHERE event = $1
         ORDER BY attribute_id, attribute";
    OF_ATTRIBUTE(Bytes) = "SELECT DISTINCT source, event, attribute FROM claims
         WHERE attribute = $1";
    SUPPRESSIONS(Text) = "SELECT s.value, s.since, s.until, s.reason FROM suppressed s
         JOIN suppressed_spellings p ON p.value = s.value WHERE p.spelling = $1";
    TOMBSTONES(Bytes) = "SELECT withdrawn_at, ids_only FROM tombstones
         WHERE attribute = $1 ORDER BY withdrawn_at";
    VAIN_READS(Bytes) = "SELECT vain, why, due_at FROM reads WHERE event = $1 AND vain > 0";
    EVENT_NOTES(Bytes) = "SELECT e.deleted_at, e.skipped, r.due_at FROM events e
         LEFT JOIN reads r ON r.source = e.source AND r.event = e.event WHERE e.event = $1";
}

row! {
    /// An attribute that claims something.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub(super) struct Place {
        pub source: String,
        pub event: Uuid,
        pub attribute: Uuid,
    }
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
pub(super) fn find(tx: &Transaction<'_>, what: &str) -> Result<Found> {
    if let Ok(uuid) = Uuid::parse_str(what) {
        let (places, notes) = find_uuid(tx, uuid)?;
        if !places.is_empty() || !notes.is_empty() {
            return Ok(Found { places, notes, observables: BTreeSet::new() });
        }
    }
    let observables: BTreeSet<Observable> =
        convert::types().iter().flat_map(|row| convert::said(row.name, what)).collect();
    let mut places = Vec::new();
    for Observable { path, value } in &observables {
        let found: Vec<Place> = tx.rows(&CLAIMING, &values![value, path.as_ref()])?;
        places.extend(found);
    }
    let notes = suppressions(tx, what)?;
    Ok(Found { places: distinct(places), observables, notes })
}

/// An attribute may claim several things.
fn distinct(mut places: Vec<Place>) -> Vec<Place> {
    let mut seen = HashSet::new();
    places.retain(|place| seen.insert(place.clone()));
    places
}

fn suppressions(tx: &Transaction<'_>, value: &str) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for spelling in policy::spellings(value) {
        let found: Vec<(String, i64, Option<i64>, String)> =
            tx.rows(&SUPPRESSIONS, &values![&spelling])?;
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

fn find_uuid(tx: &Transaction<'_>, uuid: Uuid) -> Result<(Vec<Place>, Vec<String>)> {
    let of_event = distinct(tx.rows(&OF_EVENT, &values![uuid])?);
    let mut notes = event_notes(tx, uuid)?;
    notes.extend(vain_reads(tx, uuid)?);
    if !of_event.is_empty() || !notes.is_empty() {
        return Ok((of_event, notes));
    }
    let of_attribute: Vec<Place> = tx.rows(&OF_ATTRIBUTE, &values![uuid])?;
    let buried: Vec<(i64, bool)> = tx.rows(&TOMBSTONES, &values![uuid])?;
    notes.extend(buried.iter().map(|(at, ids_only)| {
        let what = if *ids_only { "switched its to_ids off" } else { "deleted or edited it" };
        format!("attribute {uuid}: MISP {what} {}", time(*at))
    }));
    Ok((of_attribute, notes))
}

/// What there is to say of an event, known or not, that MISP was asked for in vain.
fn vain_reads(tx: &Transaction<'_>, event: Uuid) -> Result<Vec<String>> {
    let found: Vec<(i64, String, i64)> = tx.rows(&VAIN_READS, &values![event])?;
    let told = found.iter().map(|(times, why, next)| {
        format!(
            "event {event} cannot be read ({} so far, again {}): {why}",
            Count(*times, "try"),
            time(*next)
        )
    });
    Ok(told.collect())
}

row! {
    #[derive(Debug)]
    struct EventNotes {
        deleted_at: Option<i64>,
        skipped: String,
        due_at: Option<i64>,
    }
}

/// What is to be said of a known event besides its claims.
fn event_notes(tx: &Transaction<'_>, event: Uuid) -> Result<Vec<String>> {
    let rows: Vec<EventNotes> = tx.rows(&EVENT_NOTES, &values![event])?;
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
