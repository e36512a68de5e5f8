//! Judges and merges the claims on some observables again, and writes to `wanted` the objects that differ. These
//! objects become part of a change.

use std::collections::HashSet;
use std::rc::Rc;

use uuid::Uuid;

use super::change::Change;
use super::context;
use super::elsewhere;
use super::full_claims::{FullClaim, KnownEvents, claims_of};
use super::generations::Generations;
use super::merge::{MergeOutcome, Merged, merge};
use super::sql::{Result, Transaction};
use super::tables::keys::GenerationKey;
use super::tables::wanted::{self, LevelOfObject, NewIndicator};
use super::{Lane, View};
use crate::pure::policy::Tlp;
use crate::pure::stix::Withdraw;

/// Observables judged at a time.
// It bounds how many claims are in memory with their facts.
pub(super) const CHUNK: usize = 500;

/// Judges and merges again all claims on these observables, in every view.
pub(super) fn refresh(
    tx: &Transaction<'_>,
    objects: &[Uuid],
    change: &mut Change<'_>,
) -> Result<()> {
    let mut events = KnownEvents::default();
    let sources = if objects.is_empty() { Rc::default() } else { change.sources(tx)? };
    for objects in objects.chunks(CHUNK) {
        let claims = claims_of(tx, objects, change.views, &sources)?;
        refresh_claims(tx, objects, &claims, &mut events, change)?;
    }
    Ok(())
}

/// Judges and merges again the claims on these observables, and those that other sources make by these attributes of
/// `source`: what one source says of an attribute decides on its copies too.
pub(super) fn refresh_with_copies(
    tx: &Transaction<'_>,
    source: &str,
    mut objects: Vec<Uuid>,
    attributes: impl Iterator<Item = Uuid>,
    change: &mut Change<'_>,
) -> Result<()> {
    let sources = change.sources(tx)?;
    objects.extend(elsewhere::objects_beside(tx, &sources, source, attributes)?);
    objects.sort_unstable();
    objects.dedup();
    refresh(tx, &objects, change)
}

/// The same where the caller has all the claims on these observables, in [order](super::full_claims::sort).
pub(super) fn refresh_claims(
    tx: &Transaction<'_>,
    objects: &[Uuid],
    claims: &[FullClaim],
    events: &mut KnownEvents,
    change: &mut Change<'_>,
) -> Result<()> {
    events.load(tx, claims)?;
    let views = change.views;
    for view in views.iter() {
        let mut known = Generations::load(tx, view, objects)?;
        known.find_taken(tx, view, claims)?;
        let outcome = merge(view, &known, claims, events);
        // Nobody knows yet whether these claims are admitted, so their objects are neither stored nor withdrawn.
        known.leave_out(&outcome.waiting);
        context::refresh(tx, view, &known, &outcome.merged, change)?;
        let withdrawn = outcome.withdrawn(&known);
        let levels = levels_of_withdrawn(view, &known, &outcome, claims, events);
        store(tx, view, &outcome.altered(&known), change)?;
        withdraw(tx, view, &withdrawn, change)?;
        wanted::raise_levels(tx, &view.name, &levels)?;
    }
    Ok(())
}

/// The levels that claims on indicators say which no admitted claim holds, where they are no open ones. Whoever shows
/// such an indicator later may find no claim on it any more.
fn levels_of_withdrawn(
    view: &View,
    known: &Generations,
    outcome: &MergeOutcome,
    claims: &[FullClaim],
    events: &KnownEvents,
) -> Vec<LevelOfObject> {
    let merged: HashSet<Uuid> = outcome.merged.iter().map(|one| one.key).collect();
    let unmerged = claims.iter().filter(|claim| !merged.contains(&view.key(&claim.row)));
    let levels = unmerged.filter_map(|claim| {
        let object = known.newest(view.key(&claim.row))?.object;
        Some(LevelOfObject { object, tlp: claim.level(view, events) })
    });
    levels.filter(|one| one.tlp > Tlp::Clear).collect()
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
    let indicators = altered.iter().map(|one| NewIndicator {
        object: one.ids.object,
        generation: GenerationKey { key: one.key, number: one.ids.generation },
        observable: one.observable,
        stix_id: one.ids.stix_id,
        body: &one.indicator.body,
        valid_from: one.indicator.valid_from,
        valid_until: one.indicator.valid_until,
        version: one.indicator.fingerprint,
    });
    wanted::store_indicators(tx, &view.name, indicators, number)?;
    change.altered += altered.len();
    Ok(())
}

/// Withdraws objects. An object that no target was sent is deleted at once. An object that was sent keeps its body,
/// since the withdrawal repeats it.
fn withdraw<'a>(
    tx: &Transaction<'_>,
    view: &'a View,
    objects: &[Uuid],
    change: &mut Change<'a>,
) -> Result<()> {
    let revokes = view.merger.withdraw() == Withdraw::Revoke;
    for object in objects {
        if wanted::forget_unsent(tx, &view.name, *object)? {
            continue;
        }
        let number = change.number(tx, view, Lane::Withdrawals)?;
        wanted::withdraw(tx, &view.name, *object, revokes, number)?;
        change.withdrawn += 1;
    }
    Ok(())
}
