//! Finds what an operator asks for in the ledger: by the uuid of an event or an attribute, by the id of an indicator, or
//! by a value.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use uuid::Uuid;

use super::Views;
use super::sql::{Result, Transaction, decode};
use super::tables::claims::{self, ClaimingAttribute};
use super::tables::suppressed::{self, SuppressedValue};
use super::tables::{events, reads, tombstones, wanted};
use crate::pure::convert;
use crate::pure::count::Count;
use crate::pure::explain::time;
use crate::pure::policy;
use crate::pure::stix::Observable;

/// What stands before the uuid in the id of an indicator (STIX 2.1, 2.9 "Identifiers").
const INDICATOR: &str = "indicator--";

/// What the ledger knows of what an operator named.
#[derive(Debug, Default)]
pub(super) struct LookedUp {
    pub attributes: Vec<ClaimingAttribute>,
    /// The observables that the value may stand for.
    pub observables: BTreeSet<Observable>,
    /// Further lines for the operator.
    pub notes: Vec<String>,
}

/// Looks up the attributes that `what` names and that make claims, with further lines for the operator.
pub(super) fn look_up(tx: &Transaction<'_>, views: &Views, what: &str) -> Result<LookedUp> {
    if let Some(id) = what.strip_prefix(INDICATOR).and_then(|id| Uuid::parse_str(id).ok()) {
        return look_up_indicator(tx, views, id);
    }
    if let Ok(uuid) = Uuid::parse_str(what) {
        let looked_up = look_up_uuid(tx, uuid)?;
        // An attribute's value may have the form of a UUID: what names nothing is looked up as a value.
        if !looked_up.attributes.is_empty() || !looked_up.notes.is_empty() {
            return Ok(looked_up);
        }
    }
    let observables: BTreeSet<Observable> =
        // Nobody says of which type a value is, so every type reads it.
        convert::types().iter().flat_map(|row| convert::said(row.name, what)).collect();
    let mut attributes = Vec::new();
    for observable in &observables {
        attributes.extend(claims::claiming(tx, observable)?);
    }
    let notes = suppressions(tx, what)?;
    Ok(LookedUp { attributes: distinct(attributes), observables, notes })
}

/// Looks up the attributes that an indicator stands for, by its id in STIX and in Sentinel.
fn look_up_indicator(tx: &Transaction<'_>, views: &Views, id: Uuid) -> Result<LookedUp> {
    let mut objects = BTreeSet::new();
    for view in views.iter() {
        objects.extend(wanted::observables_of_id(tx, &view.name, id)?);
    }
    let mut attributes = Vec::new();
    for object in &objects {
        attributes.extend(claims::claiming_object(tx, *object)?);
    }
    let is_over = attributes.is_empty() && !objects.is_empty();
    let note = || format!("{INDICATOR}{id}: nothing claims what it stood for any more");
    let notes = is_over.then(note).into_iter().collect();
    Ok(LookedUp { attributes: distinct(attributes), notes, ..LookedUp::default() })
}

/// An attribute may claim several things.
fn distinct(mut attributes: Vec<ClaimingAttribute>) -> Vec<ClaimingAttribute> {
    let mut seen = HashSet::new();
    attributes.retain(|attribute| seen.insert(attribute.clone()));
    attributes
}

fn suppressions(tx: &Transaction<'_>, value: &str) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for spelling in policy::spellings(value) {
        let found = suppressed::spelled(tx, &spelling)?;
        notes.extend(found.iter().map(|SuppressedValue { value, since, until, reason }| {
            let end = until.map(|until| format!(" until {}", time(until))).unwrap_or_default();
            let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            format!("{value} is suppressed since {}{end}{reason}", time(*since))
        }));
    }
    // Several spellings of the value may lead to one suppression.
    notes.sort_unstable();
    notes.dedup();
    Ok(notes)
}

fn look_up_uuid(tx: &Transaction<'_>, uuid: Uuid) -> Result<LookedUp> {
    let attributes = distinct(claims::claiming_in_event(tx, uuid)?);
    let mut notes = event_notes(tx, uuid)?;
    notes.extend(vain_reads(tx, uuid)?);
    if !attributes.is_empty() || !notes.is_empty() {
        return Ok(LookedUp { attributes, notes, ..LookedUp::default() });
    }
    let attributes = claims::claiming_as(tx, uuid)?;
    let buried = tombstones::of_attribute(tx, uuid)?;
    notes.extend(buried.iter().map(|tombstone| {
        let what =
            if tombstone.ids_only { "switched its to_ids off" } else { "deleted or edited it" };
        format!("attribute {uuid}: MISP {what} {}", time(tombstone.withdrawn_at))
    }));
    Ok(LookedUp { attributes, notes, ..LookedUp::default() })
}

/// Returns a line about an event, known or not, whose reads have failed.
fn vain_reads(tx: &Transaction<'_>, event: Uuid) -> Result<Vec<String>> {
    let found = reads::in_vain_of(tx, event)?;
    let told = found.iter().map(|unread| {
        format!(
            "event {event} cannot be read ({} so far, again {}): {}",
            Count(unread.times, "try"),
            time(unread.next),
            unread.why
        )
    });
    Ok(told.collect())
}

/// Returns lines about a known event apart from its claims.
fn event_notes(tx: &Transaction<'_>, event: Uuid) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for row in events::notes(tx, event)? {
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
