//! Stores what MISP says about attributes apart from the attributes themselves: sightings, and scores of decaying
//! models. It stores a sighting even if the attribute makes no claim yet.

use std::collections::HashSet;

use uuid::Uuid;

use super::Ledger;
use super::change::Change;
use super::judgement::Origin;
use super::refresh::refresh;
use super::sql::{Result, Transaction};
use super::tables::keys::EventKey;
use super::tables::sightings::{self, SightedValue, SightingKey};
use super::tables::{claims, decay};
use super::writing::Context;
use crate::pure::misp::{Decay, Sighting, SightingKind};

/// A sighting of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sighted {
    pub attribute: Uuid,
    pub sighting: Sighting,
    /// The values that were sighted. Empty: everything that the attribute claims.
    pub values: Vec<String>,
}

/// What MISP's decaying models say of an attribute.
#[derive(Debug, Clone, Copy)]
pub(super) struct DecayTold {
    pub attribute: Uuid,
    /// `None`: no model applies.
    pub decay: Option<Decay>,
}

/// Stores sightings of an event's attributes, and merges again the objects that they change. Returns how many were new.
pub(super) fn take_in_sightings(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    sighted: &[Sighted],
    change: &mut Change<'_>,
) -> Result<usize> {
    let mut touched = HashSet::new();
    let mut news = 0;
    for one in sighted {
        if store(tx, event, one, change.opened_at)? {
            touched.insert(one.attribute);
            news += 1;
        }
    }
    merge_anew(tx, event, &touched, change)?;
    Ok(news)
}

/// Removes a sighting that MISP has deleted. Returns whether it was known.
pub(super) fn take_back_sighting(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    key: SightingKey<'_>,
    change: &mut Change<'_>,
) -> Result<bool> {
    let known = sightings::delete(tx, key)?;
    if known {
        merge_anew(tx, event, &HashSet::from([key.attribute]), change)?;
    }
    Ok(known)
}

/// Stores the sightings and scores that a read shows of an event's attributes, and merges again the objects that they
/// change.
pub(super) fn take_in_decay(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    told: &[DecayTold],
    change: &mut Change<'_>,
) -> Result<()> {
    let mut touched = HashSet::new();
    for DecayTold { attribute, decay } in told {
        if decay::of_attribute(tx, event.source, *attribute)? != *decay {
            decay::replace(tx, event.source, *attribute, *decay)?;
            touched.insert(*attribute);
        }
    }
    merge_anew(tx, event, &touched, change)
}

fn merge_anew(
    tx: &Transaction<'_>,
    event: EventKey<'_>,
    attributes: &HashSet<Uuid>,
    change: &mut Change<'_>,
) -> Result<()> {
    if attributes.is_empty() {
        return Ok(());
    }
    let attributes = attributes.iter().copied();
    // A sighting counts for the attribute, whichever source shows it.
    let objects = match change.sources(tx)?.are_several() {
        true => claims::objects_anywhere(tx, attributes)?,
        false => claims::objects_of(tx, event, attributes)?,
    };
    refresh(tx, &objects, change)
}

/// Whether it is news.
fn store(tx: &Transaction<'_>, event: EventKey<'_>, sighted: &Sighted, now: i64) -> Result<bool> {
    let Sighted { attribute, sighting, .. } = *sighted;
    let Sighting { uuid: sighting, number, kind, at } = sighting;
    let key = SightingKey { source: event.source, attribute, sighting };
    let known = sightings::values_of(tx, key)?;
    let mut values = sighted.values.clone();
    if values.is_empty() {
        // The frame names no value, so it says no more than is known.
        if !known.is_empty() {
            return Ok(false);
        }
        values = claims::values_of(tx, event, attribute)?;
        if values.is_empty() {
            // Whatever the attribute will claim.
            values.push(String::new());
        }
    }
    values.sort_unstable();
    values.dedup();
    let kind = code(kind);
    let row = |value| SightedValue { value, kind, number, at };
    let rows: Vec<SightedValue> = values.into_iter().map(row).collect();
    if rows == known {
        return Ok(false);
    }
    sightings::replace(tx, key, &rows, event.event, now)?;
    Ok(true)
}

fn code(kind: SightingKind) -> i16 {
    match kind {
        SightingKind::FalsePositive => 1,
        SightingKind::Expiration => 2,
    }
}

/// Sightings looked at in a step of forgetting.
const STEP: i64 = 1_000;

/// A read that began less than this many milliseconds after a sighting may not show it.
const JUST: i64 = 2_000;

impl Context {
    /// Takes back the event's sightings that a read of all of them does not show, unless the key may not see
    /// all: they were deleted, if they were heard of before the read began.
    pub(super) fn take_back_unshown(
        &self,
        tx: &Transaction<'_>,
        event: Uuid,
        origin: Origin,
        shown: &HashSet<Uuid>,
        change: &mut Change<'_>,
    ) -> Result<()> {
        let key = self.rest().map(|rest| &rest.key);
        let sees_all = key.is_some_and(|key| key.sees_all() && key.is_accepted());
        let (Origin::Read(read), true) = (origin, sees_all) else { return Ok(()) };
        let event = self.key(event);
        let known = sightings::heard_before(tx, event, read.began.saturating_sub(JUST))?;
        let mut touched = HashSet::new();
        // Some stand there several times, with a value each.
        for one in known.into_iter().filter(|one| !shown.contains(&one.sighting)) {
            let (attribute, sighting) = (one.attribute, one.sighting);
            sightings::delete(tx, SightingKey { source: event.source, attribute, sighting })?;
            touched.insert(attribute);
        }
        merge_anew(tx, event, &touched, change)
    }
}

impl Ledger {
    /// Forgets sightings from before `before` of attributes that claim nothing, among the next ones
    /// heard of after `after` (Unix milliseconds); returns where to go on, and how many.
    pub(super) async fn forget_sightings(&self, after: i64, before: i64) -> Result<(i64, u64)> {
        let slice = self.read(move |tx| sightings::heard_between(tx, after, before, STEP)).await?;
        let Some(last) = slice.last().copied() else { return Ok((0, 0)) };
        let forgotten =
            self.write(move |unit| sightings::forget_unclaimed(unit, after, last)).await?;
        let is_end = i64::try_from(slice.len()).is_ok_and(|rows| rows < STEP);
        Ok((if is_end { 0 } else { last }, forgotten as u64))
    }
}
